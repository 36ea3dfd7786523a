/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the numbers of a merge say of its recipe: that nothing was taken from the models,
 * or from one of them. Warnings of the work, after the merge.
 */
#ifndef WW_MERGE_DOUBTS_H
#define WW_MERGE_DOUBTS_H

#include "merge/merge_work.h"
#include "merge/moved.h"

/** Before the merge is computed: have the plan note in `moved`, which outlives it, what
 * is written, where all of it will be seen. */
enum ww_err ww_doubts_watch(struct ww_work *work, struct ww_moved *moved,
                            struct ww_error *err) WW_MUST_USE;
/** After it, with what was noted. */
enum ww_err ww_doubts_tell(struct ww_work *work, const struct ww_moved *moved,
                           struct ww_error *err) WW_MUST_USE;
void ww_doubts_release(struct ww_moved *moved);

#endif
