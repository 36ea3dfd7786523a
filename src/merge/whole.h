/* SPDX-License-Identifier: Apache-2.0 */
/* What methods find out about the whole model before the first tensor is written. */
#ifndef WW_MERGE_WHOLE_H
#define WW_MERGE_WHOLE_H

#include "merge/select.h"
#include "merge/walk.h"

/** One method of a plan, after its passes. */
struct ww_whole {
    const struct ww_method *method;
    void *shared;
};

struct ww_wholes {
    struct ww_whole *items; /* own */
    size_t n;
};

/** Run the passes of every method that has some. All-zero is empty. */
enum ww_err ww_whole_run(const struct ww_merge_plan *plan, unsigned threads,
                         uint64_t memory, struct ww_wholes *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_whole_release(struct ww_wholes *wholes);
/** What a later merge needs to go on from this one: of the method that has something. */
void ww_whole_state(const struct ww_wholes *wholes, struct ww_merge_state *out);
/** ww_merge_job.shared of a method, NULL without. */
void *ww_whole_of(const struct ww_wholes *wholes, const struct ww_method *method);

/** The job's tensor in that plan. */
uint32_t ww_whole_index(const struct ww_merge_job *job);

/**
 * Cuts through the changes of the whole model: the elements of all tensors in the order
 * of the plan are one vector. Values only: equal elements are not told apart.
 */
struct ww_whole_cuts {
    struct ww_select select;
    uint64_t n; /* elements of the model */
    size_t acc_bytes;
    bool done;
};
enum ww_err ww_whole_cuts_init(struct ww_whole_cuts *cuts, struct ww_merge_job *job,
                               uint32_t n_cuts, uint64_t n,
                               struct ww_error *err) WW_MUST_USE;
/** A pass is done; cuts->done when all keys are known. */
enum ww_err ww_whole_cuts_passed(struct ww_whole_cuts *cuts,
                                 struct ww_error *err) WW_MUST_USE;
void ww_whole_cuts_release(struct ww_whole_cuts *cuts);

#endif
