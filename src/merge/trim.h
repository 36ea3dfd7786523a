/* SPDX-License-Identifier: Apache-2.0 */
/* Trimming over the whole model: which share of a model's kept changes each tensor has.
 */
#ifndef WW_MERGE_TRIM_H
#define WW_MERGE_TRIM_H

#include "merge/kernel.h"

/** Keeps the max(1, int(density n)) largest changes of each source, n elements of the
 * whole model; equal ones by tensor and index, or all with plan.order_free. */
extern const struct ww_whole_ops ww_trim_whole;
/** How many of the largest elements of the job's tensor are kept of a source. */
uint64_t ww_trim_rank(const struct ww_merge_job *job, uint32_t source);

#endif
