/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a contest share. */
#ifndef WW_LINEAGE_CONTEST_WORK_H
#define WW_LINEAGE_CONTEST_WORK_H

#include "lineage/contest.h"

#define WW_CONTEST_EVEN 0.02   /* shares that differ by less are equal */
#define WW_CONTEST_REACH 0.004 /* of a number of SLERP */

struct ww_contesting {
    const struct ww_contest_ask *ask;
    struct ww_sketch sketch; /* what all have in common */
    struct ww_contest *out;
    const char *tried[WW_CONTEST_MOST];
    double matches[WW_CONTEST_MOST];
    size_t n_tried;
    uint64_t *bytes_read;
};

/** One recipe of one method takes part. */
enum ww_err ww_contest_enter(struct ww_contesting *c, const struct ww_sketch *sketch,
                             struct ww_error *err) WW_MUST_USE;
/** Layers of several models, as they are. */
enum ww_err ww_contest_stack(struct ww_contesting *c, struct ww_error *err) WW_MUST_USE;
/** Sums and paths whose numbers run over the layers. */
enum ww_err ww_contest_gradients(struct ww_contesting *c,
                                 struct ww_error *err) WW_MUST_USE;

#endif
