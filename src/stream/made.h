/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The outputs of a plan as files that lie nowhere: bytes are made when they are read. A
 * locked model is read as the open one, a merge as a model to lock, and neither is ever
 * written. Memory: the sources of one tile per reading thread, a few tiles that were made
 * last, and what the kernels of up to eight open pieces hold.
 */
#ifndef WW_STREAM_MADE_H
#define WW_STREAM_MADE_H

#include "stream/stream.h"

struct ww_made;

/** plan is borrowed; its inputs may be made themselves. */
enum ww_err ww_made_new(const struct ww_plan *plan, struct ww_made **out,
                        struct ww_error *err) WW_MUST_USE;
void ww_made_free(struct ww_made *made);
/** Reads output `output`; borrowed from made. */
const struct ww_reader *ww_made_reader(const struct ww_made *made, uint32_t output);
/** Exactly n bytes of an input of the plan, whatever it is. */
enum ww_err ww_input_read(const struct ww_plan *plan, uint32_t input, void *out, size_t n,
                          uint64_t offset, struct ww_error *err) WW_MUST_USE;

#endif
