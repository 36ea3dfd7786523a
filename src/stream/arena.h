/* SPDX-License-Identifier: Apache-2.0 */
/* The executor's buffers: ranges of one block, so that the memory bound is a fact. */
#ifndef WW_STREAM_ARENA_H
#define WW_STREAM_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_IO_PAGE 4096u

struct ww_arena;

/** n_bytes is rounded down to pages; pages are touched only when first used. */
enum ww_err ww_arena_new(size_t n_bytes, struct ww_arena **out,
                         struct ww_error *err) WW_MUST_USE;
void ww_arena_free(struct ww_arena *arena);

/** A page-aligned range (n rounded up to pages, at least one), NULL when none is free.
 *  Not safe for threads: the executor's lock is held around it. */
uint8_t *ww_arena_take(struct ww_arena *arena, size_t n) WW_MUST_USE;
/** Give a range back; NULL is fine. */
void ww_arena_give(struct ww_arena *arena, const uint8_t *p);

size_t ww_arena_in_use(const struct ww_arena *arena);

#endif
