/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a whole tensor before it is merged. */
#ifndef WW_MERGE_PASS_H
#define WW_MERGE_PASS_H

#include "merge/walk.h"

/** Open the method for the tensor and run its passes; tiles are set. The method's close
 *  is the caller's, also after a failure. */
enum ww_err ww_merge_passes(struct ww_merge_item *item, unsigned threads, uint64_t memory,
                            struct ww_error *err) WW_MUST_USE;
/** One pass over one tensor, folded into the job. */
enum ww_err ww_merge_pass(struct ww_merge_item *item, unsigned pass, unsigned threads,
                          uint64_t memory, struct ww_error *err) WW_MUST_USE;

#endif
