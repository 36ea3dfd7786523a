/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Passes of tensors that are not asked for yet, on a second thread.
 *
 * What a whole-matrix method does between the reading and the writing of a tensor runs on
 * one thread, so that its bytes do not depend on how many there are. Two tensors do not
 * know of each other: side by side they take half the time, and give the same bytes.
 */
#ifndef WW_MERGE_AHEAD_H
#define WW_MERGE_AHEAD_H

#include "merge/engine.h"

struct ww_ahead;

/** *out is NULL where there is nothing to gain: one thread, or no such method. */
enum ww_err ww_ahead_new(struct ww_merge_engine *engine, struct ww_ahead **out,
                         struct ww_error *err) WW_MUST_USE;
/** Waits for the thread, and closes what was never asked for. */
void ww_ahead_free(struct ww_ahead *ahead);
/** The passes of a tensor are done when this returns; tensors are asked for in the order
 *  of the plan, each once. What failed is closed. */
enum ww_err ww_ahead_open(struct ww_ahead *ahead, uint32_t tensor,
                          struct ww_error *err) WW_MUST_USE;

#endif
