/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/pool.h"

#include "util/alloc.h"

void *ww_pool_keep(struct ww_pool *pool, void *block)
{
    if (block && pool->n == pool->capacity) {
        const size_t capacity = pool->capacity ? 2 * pool->capacity : 256;
        void **items = ww_realloc_array(pool->items, capacity, sizeof(*items));
        if (!items) {
            ww_free(block);
            return NULL;
        }
        pool->items = items;
        pool->capacity = capacity;
    }
    if (block) {
        pool->items[pool->n++] = block;
    }
    return block;
}

void *ww_pool_calloc(struct ww_pool *pool, size_t n, size_t size)
{
    return ww_pool_keep(pool, ww_calloc(n, size));
}

void ww_pool_release(struct ww_pool *pool)
{
    for (size_t i = 0; i < pool->n; i++) {
        ww_free(pool->items[i]);
    }
    ww_free(pool->items);
    *pool = (struct ww_pool){0};
}
