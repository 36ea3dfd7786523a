/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors a recipe is tried on. */
#include "lineage/contest_work.h"

#include <string.h>

#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b > 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* An order of all n that begins where the seed says and soon has been everywhere: steps
 * of the golden section. */
struct order {
    uint64_t from;
    uint64_t step;
    uint64_t n;
};

static struct order draw_order(uint64_t seed, uint64_t n)
{
    uint64_t state = seed;
    struct order o = {.step = (uint64_t)(0.618 * (double)n) + 1, .n = n};

    o.from = n ? ww_draw(&state) % n : 0;
    while (n > 1 && gcd(o.step, n) != 1) {
        o.step++;
    }
    return o;
}

static uint32_t place(const struct order *o, uint32_t i)
{
    return (uint32_t)((o->from + i * o->step) % o->n);
}

/* Takes tensors of the order as long as there is room; vectors are the small change that
 * comes after all matrices. */
static bool fill(const struct ww_contest_ask *ask, const struct order *o, bool matrices,
                 uint64_t *room, const uint32_t *tensor, bool *taken)
{
    bool any = false;

    for (uint32_t i = 0; i < o->n; i++) {
        const uint32_t t = place(o, i);
        const struct ww_tensor *of =
            tensor[t] == WW_NONE ? NULL : &ask->suspect->tensors[tensor[t]];
        if (of && (of->rank >= 2) == matrices && of->n_elements <= *room) {
            taken[t] = any = true;
            *room -= of->n_elements;
        }
    }
    return any;
}

static uint32_t smallest(const struct ww_contest_ask *ask, uint32_t n,
                         const uint32_t *tensor)
{
    uint32_t best = WW_NONE;
    uint64_t least = UINT64_MAX;

    for (uint32_t t = 0; t < n; t++) {
        const struct ww_tensor *of =
            tensor[t] == WW_NONE ? NULL : &ask->suspect->tensors[tensor[t]];
        if (of && of->rank >= 2 && of->n_elements < least) {
            least = of->n_elements;
            best = t;
        }
    }
    return best;
}

enum ww_err ww_contest_sample(const struct ww_contest_ask *ask, uint64_t room,
                              const struct ww_merge_plan *plan, uint32_t *tensor,
                              struct ww_error *err)
{
    const struct order o = draw_order(ask->seed, plan->n_tensors);
    bool *taken = ww_calloc(plan->n_tensors + (size_t)1, sizeof(*taken));

    if (!taken) {
        return WW_FAIL_MEMORY(err, "a contest of recipes");
    }
    for (uint32_t t = 0; t < plan->n_tensors && ask->half; t++) {
        tensor[t] = tensor[t] != WW_NONE && ask->half[tensor[t]] ? tensor[t] : WW_NONE;
    }
    if (!fill(ask, &o, true, &room, tensor, taken)) {
        const uint32_t t = smallest(ask, plan->n_tensors, tensor);
        if (t != WW_NONE) {
            taken[t] = true;
        }
    }
    (void)fill(ask, &o, false, &room, tensor, taken);
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        tensor[t] = taken[t] ? tensor[t] : WW_NONE;
    }
    ww_free(taken);
    return WW_OK;
}

char *ww_contest_sample_of(const struct ww_sketch *sketch)
{
    char *text = NULL;

    if (sketch->slices || sketch->weights_over || sketch->value_over) {
        return NULL;
    }
    text = ww_asprintf("%s\n%s", sketch->method, sketch->base ? sketch->base : "");
    for (size_t i = 0; i < sketch->n && text; i++) {
        char *more = ww_asprintf("%s\n%s", text, sketch->models[i]);
        ww_free(text);
        text = more;
    }
    return text;
}

bool ww_contest_has_sample(const struct ww_contesting *c, const char *of)
{
    return of && c->kept.of && c->kept.room == c->room && strcmp(of, c->kept.of) == 0;
}

void ww_contest_drop_sample(struct ww_contesting *c)
{
    ww_free(c->kept.of);
    ww_free(c->kept.tensors);
    c->kept = (struct ww_contest_kept){0};
}

enum ww_err ww_contest_keep_sample(struct ww_contesting *c, char *of,
                                   const uint32_t *tensor, uint32_t n,
                                   struct ww_error *err)
{
    ww_contest_drop_sample(c);
    if (!of) {
        return WW_OK;
    }
    c->kept.of = of;
    c->kept.room = c->room;
    c->kept.tensors =
        ww_calloc(c->ask->suspect->n_tensors + (size_t)1, sizeof(*c->kept.tensors));
    if (!c->kept.tensors) {
        return WW_FAIL_MEMORY(err, "a contest of recipes");
    }
    for (uint32_t t = 0; t < n; t++) {
        if (tensor[t] != WW_NONE) {
            c->kept.tensors[tensor[t]] = true;
        }
    }
    return WW_OK;
}
