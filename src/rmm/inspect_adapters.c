/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <B A, B' A'> = tr((B^T B') (A' A^T)): lengths, cosines and singular values of products
 * that are never multiplied out.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rmm/inspect.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

struct work {
    struct ww_inspecting *x;
    size_t n; /* members */
    struct ww_inspect_pair **pairs;
    size_t *n_pairs;
    struct ww_inspect_side *sides;
    double *gram;
    double *norms;  /* [n * errors] squared, of what rates were measured on */
    double *errors; /* the same */
    double *bits;
    double *numbers;
};

static enum ww_err read_side(struct work *w, size_t i, const char *module,
                             struct ww_error *err)
{
    const struct ww_inspect_pair *pair =
        ww_inspect_find(w->pairs[i], w->n_pairs[i], module);
    struct ww_inspect_side *s = &w->sides[i];
    enum ww_err rc = WW_OK;

    memset(s, 0, sizeof(*s));
    if (pair) {
        rc = ww_inspect_read(&w->x->peeks[i], pair, s, err);
        w->x->report->members[i].numbers += (uint64_t)s->r * (s->m + s->d);
    }
    return rc;
}

static struct ww_own_factors factors_of(const struct ww_inspect_side *s)
{
    return (struct ww_own_factors){
        .m = s->m, .r = s->r, .d = s->d, .b = s->b, .a = s->a, .type = s->type};
}

static enum ww_err spectrum(struct work *w, size_t i, struct ww_error *err)
{
    const struct ww_own_factors f = factors_of(&w->sides[i]);
    double squares[WW_OWN_MAX_RANK];
    enum ww_err rc = ww_own_spectrum(&f, squares, err);

    if (!rc) {
        ww_inspect_spectrum(&w->x->report->members[i], squares, f.r);
    }
    return rc;
}

static enum ww_err coded_bytes(struct work *w, const int16_t *integers, size_t n,
                               struct ww_chunk_scales *s, struct ww_chunk_type type,
                               double *bytes, struct ww_error *err)
{
    const size_t most = WW_CHUNK_BYTES / type.width;
    enum ww_err rc = WW_OK;

    for (size_t at = 0; at < n && !rc; at += most) {
        ww_buf_clear(&w->x->coded);
        s->first = at;
        rc = ww_chunk_own_encode(w->x->room, integers + at, n - at < most ? n - at : most,
                                 s, &w->x->coded, err);
        *bytes += (double)w->x->coded.len;
    }
    return rc;
}

/* What codec own makes of the pair within one error. */
static enum ww_err rate(struct work *w, size_t i, size_t e, struct ww_error *err)
{
    const struct ww_own_factors f = factors_of(&w->sides[i]);
    const double norm2 = w->gram[i * w->n + i];
    const size_t at = i * WW_INSPECT_ERRORS + e;
    struct ww_own own;
    double bytes = 0;
    enum ww_err rc = ww_own_fit(&f, ww_inspect_errors[e], &own, err);

    if (rc || !own.fits) {
        return rc;
    }
    struct ww_chunk_scales s = {.axis = 1,
                                .rank = (uint32_t)f.r,
                                .row = f.d,
                                .scales = own.scales,
                                .classes = own.classes_b};
    rc = coded_bytes(w, own.b, f.m * f.r, &s, f.type, &bytes, err);
    s.axis = 0;
    s.classes = own.classes_a;
    if (!rc) {
        rc = coded_bytes(w, own.a, f.r * f.d, &s, f.type, &bytes, err);
    }
    w->bits[at] += 8 * bytes;
    w->numbers[at] += (double)(f.r * (f.m + f.d));
    w->norms[at] += norm2;
    w->errors[at] += own.error * own.error * norm2;
    ww_own_release(&own);
    return rc;
}

static enum ww_err member_of_module(struct work *w, size_t i, bool sampled,
                                    struct ww_error *err)
{
    enum ww_err rc = w->sides[i].a ? spectrum(w, i, err) : WW_OK;

    for (size_t e = 0; e < WW_INSPECT_ERRORS && !rc && w->sides[i].a && sampled; e++) {
        rc = rate(w, i, e, err);
    }
    return rc;
}

static enum ww_err module(struct work *w, const char *name, bool sampled,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(w->gram, 0, w->n * w->n * sizeof(*w->gram));
    for (size_t i = 0; i < w->n && !rc; i++) {
        rc = read_side(w, i, name, err);
    }
    for (size_t i = 0; i < w->n && !rc; i++) {
        for (size_t j = 0; j <= i; j++) {
            if (w->sides[i].a && w->sides[j].a) {
                w->gram[i * w->n + j] = ww_inspect_inner(&w->sides[i], &w->sides[j]);
                w->gram[j * w->n + i] = w->gram[i * w->n + j];
            }
        }
    }
    for (size_t i = 0; i < w->n && !rc; i++) {
        rc = member_of_module(w, i, sampled, err);
    }
    if (!rc) {
        rc = ww_inspect_add(w->x, name, w->gram, err);
    }
    for (size_t i = 0; i < w->n; i++) {
        ww_inspect_side_release(&w->sides[i]);
    }
    return rc ? rc : ww_pace_step(&w->x->pace, 1, err);
}

static enum ww_err all_modules(struct work *w, const struct ww_strlist *names,
                               struct ww_error *err)
{
    const size_t step = (names->n + WW_INSPECT_SAMPLE - 1) / WW_INSPECT_SAMPLE;
    enum ww_err rc = WW_OK;

    for (size_t k = 0; k < names->n && !rc; k++) {
        rc = module(w, names->items[k], k % step == 0, err);
    }
    for (size_t i = 0; i < w->n && !rc; i++) {
        struct ww_inspect_member *m = &w->x->report->members[i];
        for (size_t e = 0; e < WW_INSPECT_ERRORS; e++) {
            const size_t at = i * WW_INSPECT_ERRORS + e;
            if (w->numbers[at] > 0 && w->norms[at] > 0) {
                m->rates[m->n_rates++] = (struct ww_inspect_rate){
                    w->bits[at] / w->numbers[at], sqrt(w->errors[at] / w->norms[at])};
            }
        }
    }
    return rc;
}

static enum ww_err find_modules(struct work *w, struct ww_strlist *names,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < w->n && !rc; i++) {
        if (!w->x->peeks[i].open || !w->x->peeks[i].adapter) {
            continue;
        }
        rc = ww_inspect_pairs(&w->x->peeks[i], &w->pairs[i], &w->n_pairs[i], err);
        for (size_t k = 0; k < w->n_pairs[i] && !rc; k++) {
            if (!ww_strlist_has(names, w->pairs[i][k].module)) {
                rc = ww_strlist_add(names, w->pairs[i][k].module, err);
            }
        }
    }
    ww_strlist_sort(names);
    return rc;
}

enum ww_err ww_inspect_adapters(struct ww_inspecting *x, struct ww_error *err)
{
    const size_t n = x->report->n_members;
    const size_t points = n * WW_INSPECT_ERRORS;
    struct work w = {.x = x,
                     .n = n,
                     .pairs = ww_calloc(n, sizeof(*w.pairs)),
                     .n_pairs = ww_calloc(n, sizeof(*w.n_pairs)),
                     .sides = ww_calloc(n, sizeof(*w.sides)),
                     .gram = ww_calloc(n, n * sizeof(*w.gram)),
                     .norms = ww_calloc(points, sizeof(double)),
                     .errors = ww_calloc(points, sizeof(double)),
                     .bits = ww_calloc(points, sizeof(double)),
                     .numbers = ww_calloc(points, sizeof(double))};
    struct ww_strlist names = {0};
    enum ww_err rc = WW_OK;

    if (!w.pairs || !w.n_pairs || !w.sides || !w.gram || !w.norms || !w.errors ||
        !w.bits || !w.numbers) {
        rc = WW_FAIL_MEMORY(err, "looking into adapters");
    }
    if (!rc) {
        rc = find_modules(&w, &names, err);
    }
    if (!rc) {
        rc = all_modules(&w, &names, err);
    }
    for (size_t i = 0; w.pairs && i < n; i++) {
        ww_free(w.pairs[i]);
    }
    ww_strlist_release(&names);
    void *const all[] = {w.pairs, w.n_pairs, w.sides, w.gram,
                         w.norms, w.errors,  w.bits,  w.numbers};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ww_free(all[i]);
    }
    return rc;
}
