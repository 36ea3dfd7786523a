/* SPDX-License-Identifier: Apache-2.0 */
/* A merge that is one weighted sum, and what it says of each of its sources. */
#ifndef WW_MERGE_SUM_H
#define WW_MERGE_SUM_H

#include "crypto/hash.h"
#include "merge/plan.h"
#include "weightward/merge.h"

/** of_merged * m = sum of weights[i] * models[i], the same in all tensors. */
struct ww_merge_sum {
    double of_merged;
    double *weights; /* [plan->n_models] */
};

/** out is zeroed; `merged` is for error texts. WW_E_UNSUPPORTED when the merge is none.
 */
enum ww_err ww_merge_sum_find(const struct ww_merge_plan *plan, const char *merged,
                              struct ww_merge_sum *out, struct ww_error *err) WW_MUST_USE;
void ww_merge_sum_release(struct ww_merge_sum *sum);

/** Folders of sources in the caller's order, and which models of the plan they are. */
struct ww_merge_sum_sources {
    const char *merged; /* for error texts */
    const char *const *folders;
    size_t n;
    const uint32_t *place;                   /* [n] */
    const uint8_t (*trees)[WW_SHA256_BYTES]; /* [n] */
};
/** One of them out of the merge and the others. The caller releases *out, also after a
 *  failure. WW_E_UNSUPPORTED when it has no weight. */
enum ww_err ww_merge_sum_solve(const struct ww_merge_sum *sum,
                               const struct ww_merge_sum_sources *from, size_t wanted,
                               struct ww_merge_inverse *out,
                               struct ww_error *err) WW_MUST_USE;

#endif
