/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block allocated once, handed out first-fit from the low end. Fresh pages cost more
 * than copying them (the kernel clears each one), so the same low pages are used again
 * and again. Huge pages are not asked for: a virtual machine may have given free ones
 * back to its host, and getting 120 MiB again then takes up to 0.8 s of CPU in place of
 * 0.06, while those at hand save 0.05. The number of live ranges is small (a few per job
 * in flight), which is why a sorted array is enough.
 */
#include "stream/arena.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MAX_RANGES 4096

struct range {
    size_t start;
    size_t len;
};

struct ww_arena {
    uint8_t *block;
    size_t n_bytes;
    size_t in_use;
    size_t n_ranges;
    struct range ranges[MAX_RANGES]; /* sorted, disjoint */
};

enum ww_err ww_arena_new(size_t n_bytes, struct ww_arena **out, struct ww_error *err)
{
    *out = NULL;
    n_bytes -= n_bytes % WW_IO_PAGE;
    struct ww_arena *arena = ww_calloc(1, sizeof(*arena));
    uint8_t *block = ww_alloc_aligned(WW_IO_PAGE, n_bytes);
    if (!arena || !block) {
        ww_free(arena);
        ww_free(block);
        return WW_FAIL_MEMORY(err, "%zu bytes of buffers", n_bytes);
    }
    arena->block = block;
    arena->n_bytes = n_bytes;
    *out = arena;
    return WW_OK;
}

void ww_arena_free(struct ww_arena *arena)
{
    if (arena) {
        ww_free(arena->block);
        ww_free(arena);
    }
}

uint8_t *ww_arena_take(struct ww_arena *arena, size_t n)
{
    size_t start = 0;
    size_t i = 0;

    if (n > arena->n_bytes || arena->n_ranges == MAX_RANGES) {
        return NULL;
    }
    n = (size_t)ww_round_up(n ? n : 1, WW_IO_PAGE);
    for (; i < arena->n_ranges && arena->ranges[i].start - start < n; i++) {
        start = arena->ranges[i].start + arena->ranges[i].len;
    }
    if (i == arena->n_ranges && arena->n_bytes - start < n) {
        return NULL;
    }
    memmove(&arena->ranges[i + 1], &arena->ranges[i],
            (arena->n_ranges - i) * sizeof(arena->ranges[0]));
    arena->ranges[i] = (struct range){start, n};
    arena->n_ranges++;
    arena->in_use += n;
    return arena->block + start;
}

void ww_arena_give(struct ww_arena *arena, const uint8_t *p)
{
    size_t i = 0;

    if (!p) {
        return;
    }
    while (i < arena->n_ranges && arena->block + arena->ranges[i].start != p) {
        i++;
    }
    WW_INVARIANT(i < arena->n_ranges);
    arena->in_use -= arena->ranges[i].len;
    arena->n_ranges--;
    memmove(&arena->ranges[i], &arena->ranges[i + 1],
            (arena->n_ranges - i) * sizeof(arena->ranges[0]));
}

size_t ww_arena_in_use(const struct ww_arena *arena)
{
    return arena->in_use;
}
