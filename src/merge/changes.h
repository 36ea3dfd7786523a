/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a merge did to the weights, for pictures: lengths and cosines of the sources'
 * changes against the base (of the weights themselves without one), how often their signs
 * agree, how many elements the merge changed. Summed over a sample of the blocks that are
 * merged anyway; small tensors whole. Shown to people, never signed.
 */
#ifndef WW_MERGE_CHANGES_H
#define WW_MERGE_CHANGES_H

#include "merge/kernel.h"
#include "weightward/merge.h"

struct ww_changes;

enum ww_err ww_changes_new(const struct ww_merge_plan *plan, struct ww_changes **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_changes_free(struct ww_changes *changes);
/** Is this block in the sample? Depends on its place alone. */
bool ww_changes_wants(const struct ww_merge_job *job, const struct ww_merge_block *block);
/** Before the method has seen the block, whose sources it may overwrite, and after. From
 *  any thread. */
void ww_changes_before(struct ww_changes *changes, const struct ww_merge_job *job,
                       const struct ww_merge_block *block);
void ww_changes_after(struct ww_changes *changes, const struct ww_merge_job *job,
                      const struct ww_merge_block *block);
/** By layers, in order, into the report; names: of the plan's models. */
enum ww_err ww_changes_report(const struct ww_changes *changes, const char *const *names,
                              struct ww_merge_report *report,
                              struct ww_error *err) WW_MUST_USE;

#endif
