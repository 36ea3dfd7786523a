/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEFT 0.21.2's way by A and B apart: sqrt(|weight scaling|) on both, the sign on A. With
 * "ties" its trimming keeps int(density n) entries, none of them when that is 0, elects by
 * the unweighted sums and divides by the number of adapters that agree.
 */
#include <math.h>

#include "merge/frame_ties.h"
#include "merge/lora_pair.h"
#include "util/alloc.h"
#include "util/fail.h"

static double root_of(const struct ww_lora_set *set, uint32_t i)
{
    return sqrt(fabs(set->parts[i].weight * set->parts[i].scaling));
}

static double weight_of(const struct ww_lora_set *set, uint32_t i, bool left)
{
    const double w = set->parts[i].weight * set->parts[i].scaling;
    return !left && w < 0 ? -root_of(set, i) : root_of(set, i);
}

static double *side_of(const struct ww_lora_set *set, uint32_t i, bool left)
{
    return left ? set->parts[i].pair.b : set->parts[i].pair.a;
}

/* One side of all parts, n entries each, into out. */
static enum ww_err combine(const struct ww_lora_set *set, bool left, bool ties, size_t n,
                           double *out, struct ww_error *err)
{
    struct ww_frame_part *parts = ww_calloc(set->n, sizeof(*parts));
    enum ww_err rc = WW_OK;

    if (!parts) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for an adapter");
    }
    for (uint32_t i = 0; i < set->n; i++) {
        parts[i] = (struct ww_frame_part){side_of(set, i, left), set->parts[i].density,
                                          weight_of(set, i, left)};
    }
    if (ties) {
        rc = ww_frame_ties(parts, set->n, n, 0, err);
    }
    for (size_t k = 0; k < n && !rc; k++) {
        out[k] = ties ? parts[0].x[k] : 0;
        for (uint32_t i = 0; i < set->n && !ties; i++) {
            out[k] += parts[i].weight * parts[i].x[k];
        }
    }
    ww_free(parts);
    return rc;
}

enum ww_err ww_lora_factors(const struct ww_lora_set *set, bool ties,
                            struct ww_lora_pair *out, struct ww_error *err)
{
    const size_t rank = set->parts[0].pair.rank;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 1; i < set->n; i++) {
        if (set->parts[i].pair.rank != rank) {
            return WW_FAIL(err, WW_E_SHAPE,
                           "factors of ranks %zu and %zu do not add up entry by entry; "
                           "'combine: sum' takes any",
                           rank, set->parts[i].pair.rank);
        }
    }
    out->rank = rank;
    out->a = ww_calloc(rank * set->n_in + 1, sizeof(*out->a));
    out->b = ww_calloc(set->m * rank + 1, sizeof(*out->b));
    if (!out->a || !out->b) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for an adapter");
    }
    rc = combine(set, false, ties, rank * set->n_in, out->a, err);
    return rc ? rc : combine(set, true, ties, set->m * rank, out->b, err);
}
