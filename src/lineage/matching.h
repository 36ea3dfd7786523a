/* SPDX-License-Identifier: Apache-2.0 */
/* Bits of a suspect against those that recipes predict. */
#ifndef WW_LINEAGE_MATCHING_H
#define WW_LINEAGE_MATCHING_H

#include "lineage/arithmetic.h"
#include "lineage/drawn.h"
#include "merge/predict.h"

#define WW_MATCH_MOST 64 /* predictors of one reading */

struct ww_match_job {
    const struct ww_model *suspect;
    const struct ww_merge_plan *plan;             /* of the recipe */
    const struct ww_predictor *const *predictors; /* [0]: of the recipe as it is */
    unsigned n_predictors;
    const struct ww_predictor *kept; /* of the recipe, with both rules for ties; NULL: */
    const struct ww_predictor *dropped; /* ties do not matter */
    const struct ww_predictor *peer;    /* in mergekit's arithmetic; NULL: not known */
    bool arithmetics;                   /* weighted sums in other arithmetic too */
    const uint32_t
        *tensor; /* per tensor of the plan: the suspect's; WW_NONE: not compared */
    const enum ww_dtype *dtypes; /* per tensor of the plan: in which bits are compared */
    struct ww_drawn *drawn;      /* per tensor of the plan: beside what predictor 0 draws;
                                    NULL:      nothing is */
    const char *phase;
    const struct ww_run_options *run;
};

/** Of one tensor, or added up. An element moved when not all inputs have one value there,
 *  or there is one input only. */
struct ww_match {
    uint64_t moved;                 /* less those undecided */
    uint64_t undecided;             /* elements that the rule for ties decides */
    uint64_t same[WW_ARITHMETICS];  /* [0]: the merge engine's */
    uint64_t fits[WW_ARITHMETICS];  /* moved elements that the kind was computed for */
    uint64_t agree[WW_ARITHMETICS]; /* of those: it has the bits of kind 0 */
    uint64_t *others;               /* [n_predictors - 1] */
};

struct ww_matches {
    struct ww_match *tensors; /* [n] as the plan's */
    uint32_t n;
    unsigned n_others;
    uint64_t *memory;
};
enum ww_err ww_match_run(const struct ww_match_job *job, struct ww_matches *out,
                         uint64_t *bytes_read, struct ww_error *err) WW_MUST_USE;
void ww_matches_release(struct ww_matches *matches);

/** The suspect's tensors by the plan's names; dtypes: those of the suspect's grids there
 * (grid.h), for predictors. Both are [plan->n_tensors]. n: how many there are of one
 * shape in both. */
void ww_match_align(const struct ww_model *suspect, const enum ww_dtype *grids,
                    const struct ww_merge_plan *plan, uint32_t *tensor,
                    enum ww_dtype *dtypes, uint32_t *n);

#endif
