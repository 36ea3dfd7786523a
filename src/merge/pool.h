/* SPDX-License-Identifier: Apache-2.0 */
/* Many small blocks that live and die together: what a plan points to. */
#ifndef WW_MERGE_POOL_H
#define WW_MERGE_POOL_H

#include <stddef.h>

#include "weightward/error.h"

/** All-zero is empty. */
struct ww_pool {
    void **items;
    size_t n;
    size_t capacity;
};

/** Zeroed memory that ww_pool_release frees; NULL when memory is out. */
void *ww_pool_calloc(struct ww_pool *pool, size_t n, size_t size) WW_MUST_USE;
/** The pool owns a block from now on, which may be NULL (then NULL comes back); when
 * memory is out the block is freed and NULL comes back. */
void *ww_pool_keep(struct ww_pool *pool, void *block) WW_MUST_USE;
void ww_pool_release(struct ww_pool *pool);

#endif
