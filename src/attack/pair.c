/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An anchor is of use when it has the same tensors: then every space of the locked model
 * has its counterpart, and the lock is what lies between the two.
 */
#include "attack/pair.h"

#include <math.h>
#include <string.h>

#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

static enum ww_err same_kind(const struct ww_layout *a, const struct ww_layout *b,
                             struct ww_error *err)
{
    if (!ww_str_eq(a->descriptor, b->descriptor)) {
        return WW_FAIL(err, WW_E_UNRELATED,
                       "the anchor is of architecture '%s', the locked model of '%s'; "
                       "an anchor is the base model or a sibling",
                       b->descriptor, a->descriptor);
    }
    if (a->n_spaces != b->n_spaces || a->n_attentions != b->n_attentions ||
        a->n_mlps != b->n_mlps || a->n_moes != b->n_moes || a->n_stacks != b->n_stacks) {
        return WW_FAIL(
            err, WW_E_UNRELATED,
            "the anchor has %u attentions and %u MLPs, the locked model %u and "
            "%u; an anchor is the base model or a sibling",
            b->n_attentions, b->n_mlps, a->n_attentions, a->n_mlps);
    }
    for (uint32_t s = 0; s < a->n_spaces; s++) {
        if (a->spaces[s].kind != b->spaces[s].kind ||
            a->spaces[s].size != b->spaces[s].size) {
            return WW_FAIL(err, WW_E_UNRELATED,
                           "'%s' has %llu indices in the anchor, %llu in the locked "
                           "model; an anchor is the base model or a sibling",
                           a->spaces[s].name, (unsigned long long)b->spaces[s].size,
                           (unsigned long long)a->spaces[s].size);
        }
    }
    return WW_OK;
}

/* Tables may have more rows in one model than in the other, as where words were added:
 * nothing moves along them, and the rows that both have tell all that does. */
static bool same_shape(const struct ww_layout *layout, uint32_t t,
                       const struct ww_tensor *b)
{
    const struct ww_tensor *a = &layout->model->tensors[t];
    const bool table =
        a->rank > 0 && layout->bindings[t].axis[0].n_segments == 0 && b->n_elements > 0;
    const unsigned first = table ? 1 : 0;

    return a->rank == b->rank && memcmp(a->shape + first, b->shape + first,
                                        (a->rank - first) * sizeof(a->shape[0])) == 0;
}

static void count_alone(struct ww_pair *pair, uint32_t t)
{
    const struct ww_tensor *tensor = &pair->locked->model->tensors[t];
    const uint64_t both = ww_pair_elements(pair, t);

    if (both < tensor->n_elements) {
        pair->found.rows_alone +=
            tensor->shape[0] - both / (tensor->n_elements / tensor->shape[0]);
    }
}

static enum ww_err same_tensors(struct ww_pair *pair, struct ww_error *err)
{
    const struct ww_layout *a = pair->locked;

    for (uint32_t t = 0; t < a->model->n_tensors; t++) {
        const struct ww_tensor *tensor = &a->model->tensors[t];
        const uint32_t other = ww_pair_tensor(pair, t);
        if (a->bindings[t].ignored) {
            continue;
        }
        if (other == WW_NONE || !same_shape(a, t, &pair->anchor->model->tensors[other])) {
            return WW_FAIL(err, WW_E_UNRELATED,
                           "tensor '%s' %s in the anchor; an anchor is the base model or "
                           "a sibling",
                           tensor->name,
                           other == WW_NONE ? "is missing" : "has another shape");
        }
        if (!ww_dtype_is_plain_float(pair->anchor->model->tensors[other].dtype)) {
            return WW_FAIL(
                err, WW_E_QUANTISED,
                "tensor '%s' of the anchor is stored as %s; an anchor in BF16, "
                "F16, F32 or F64 is needed",
                tensor->name, ww_dtype_name(pair->anchor->model->tensors[other].dtype));
        }
        count_alone(pair, t);
    }
    return WW_OK;
}

static bool source_has(const void *payload, uint32_t space)
{
    const struct ww_pair *pair = payload;
    return pair->cells[space].n_cells > 0;
}

static enum ww_err source_get(void *payload, uint32_t space, bool shape_only,
                              struct ww_cells *out, struct ww_error *err)
{
    const struct ww_pair *pair = payload;
    (void)shape_only;
    return ww_cells_copy(&pair->cells[space], out, err);
}

static enum ww_err first_heads(struct ww_pair *pair, struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;

    for (uint32_t a = 0; a < layout->n_attentions; a++) {
        const uint64_t n = layout->attentions[a].n_heads;
        pair->heads[a] = ww_calloc((size_t)n, sizeof(**pair->heads));
        if (!pair->heads[a]) {
            return WW_FAIL_MEMORY(err, "an attack");
        }
        for (uint64_t h = 0; h < n; h++) {
            pair->heads[a][h] = (uint32_t)h;
        }
    }
    return WW_OK;
}

enum ww_err ww_pair_init(struct ww_pair *pair, const struct ww_layout *locked,
                         const struct ww_layout *anchor, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(pair, 0, sizeof(*pair));
    pair->frame_cosine = 1;
    pair->locked = locked;
    pair->anchor = anchor;
    rc = same_kind(locked, anchor, err);
    if (!rc) {
        rc = same_tensors(pair, err);
    }
    if (rc) {
        return rc;
    }
    pair->given.spaces = ww_calloc(locked->n_spaces + 1, sizeof(*pair->given.spaces));
    pair->given.neurons = ww_calloc(locked->n_mlps + 1, sizeof(*pair->given.neurons));
    pair->heads = ww_calloc(locked->n_attentions + 1, sizeof(*pair->heads));
    pair->cells = ww_calloc(locked->n_spaces + 1, sizeof(*pair->cells));
    pair->source = (struct ww_cell_source){source_has, source_get, pair};
    pair->gauge = (struct ww_gauge){.layout = locked, .given = &pair->given};
    if (!pair->given.spaces || !pair->given.neurons || !pair->heads || !pair->cells) {
        rc = WW_FAIL_MEMORY(err, "an attack");
    }
    if (!rc) {
        rc = first_heads(pair, err);
    }
    if (rc) {
        ww_pair_release(pair);
    }
    return rc;
}

void ww_pair_release(struct ww_pair *pair)
{
    const struct ww_layout *layout = pair->locked;

    for (uint32_t s = 0; pair->given.spaces && s < layout->n_spaces; s++) {
        ww_element_release(&pair->given.spaces[s]);
    }
    for (uint32_t m = 0; pair->given.neurons && m < layout->n_mlps; m++) {
        ww_element_release(&pair->given.neurons[m]);
    }
    for (uint32_t a = 0; pair->heads && a < layout->n_attentions; a++) {
        ww_free(pair->heads[a]);
    }
    for (uint32_t i = 0; pair->cells && i < layout->n_spaces; i++) {
        ww_cells_release(&pair->cells[i]);
    }
    ww_free(pair->given.spaces);
    ww_free(pair->given.neurons);
    ww_free(pair->heads);
    ww_free(pair->cells);
    memset(pair, 0, sizeof(*pair));
}

enum ww_err ww_pair_progress(const struct ww_pair *pair, const char *phase, uint64_t done,
                             uint64_t total, struct ww_error *err)
{
    return ww_run_progress(pair->run, phase, done, total, err);
}

uint32_t ww_pair_tensor(const struct ww_pair *pair, uint32_t locked)
{
    return ww_model_find(pair->anchor->model, pair->locked->model->tensors[locked].name);
}

uint64_t ww_pair_elements(const struct ww_pair *pair, uint32_t locked)
{
    const uint32_t at = ww_pair_tensor(pair, locked);

    return at == WW_NONE ? 0
                         : ww_min_u64(pair->locked->model->tensors[locked].n_elements,
                                      pair->anchor->model->tensors[at].n_elements);
}

double ww_likeness_cosine(const struct ww_likeness *like)
{
    const double norms = sqrt(like->locked * like->anchor);
    return norms > 0 ? like->dot / norms : 0;
}
