/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A piece being worked on: its kernel's state, how it is cut into tiles, its tree leaves.
 * Tile sizes come from the row length and the number of sources alone, so kernels that
 * sum per tile give the same bits for any number of threads and any memory limit.
 */
#include <inttypes.h>
#include <string.h>

#include "stream/engine.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

uint64_t ww_live_tile_bytes(const struct ww_live *live)
{
    return ww_min_u64(live->tile_rows, live->n_rows) * live->row_bytes;
}

uint64_t ww_piece_tile_rows(const struct ww_piece *piece)
{
    uint64_t bytes = WW_TILE_BYTES;
    uint64_t max_rows = WW_TILE_BYTES;
    uint64_t row_bytes = 1;

    if (piece->kind == WW_PIECE_KERNEL) {
        row_bytes = piece->row_bytes;
        max_rows = WW_TILE_POINTERS / ww_max_u64(1, piece->n_sources);
        if (piece->n_sources > 3) {
            bytes = 4 * WW_MIB / (piece->n_sources + 1);
        }
    }
    uint64_t rows = row_bytes ? bytes / row_bytes : max_rows;
    return ww_max_u64(1, ww_min_u64(rows, max_rows));
}

static void set_tiles(struct ww_live *live)
{
    const struct ww_piece *piece = live->piece;

    live->row_bytes = 1;
    live->n_rows = piece->n_bytes;
    if (piece->kind == WW_PIECE_KERNEL) {
        live->row_bytes = piece->row_bytes;
        live->n_rows = piece->n_rows;
    }
    live->source_row_bytes = live->row_bytes;
    if (piece->kind == WW_PIECE_KERNEL && piece->source_row_bytes) {
        live->source_row_bytes = piece->source_row_bytes;
    }
    live->tile_rows = ww_piece_tile_rows(piece);
    live->n_tiles = ww_div_up(live->n_rows, live->tile_rows);
    live->tiles_left = live->n_tiles;
}

/* A row map is the kernel's word, and it becomes addresses. */
static enum ww_err check_row_map(const struct ww_live *live, struct ww_error *err)
{
    if (live->row_map && live->source_row_bytes != live->row_bytes) {
        return WW_FAIL(err, WW_E_INTERNAL,
                       "kernel '%s': a row map over rows of another length",
                       live->piece->kernel->name);
    }
    for (uint64_t i = 0; live->row_map && i < live->n_rows; i++) {
        if (live->row_map[i] >= live->n_rows) {
            return WW_FAIL(err, WW_E_INTERNAL,
                           "kernel '%s': row %" PRIu64 " comes from row %u of %" PRIu64,
                           live->piece->kernel->name, i, live->row_map[i], live->n_rows);
        }
    }
    return WW_OK;
}

static enum ww_err set_leaves(struct ww_live *live, struct ww_error *err)
{
    if (live->piece->tree_index == WW_NONE) {
        return WW_OK;
    }
    live->n_leaves = ww_max_u64(1, ww_div_up(live->piece->n_bytes, WW_TREE_CHUNK));
    live->leaves_left = live->n_leaves;
    live->leaves = ww_calloc(live->n_leaves, WW_SHA256_BYTES);
    if (!live->leaves) {
        return WW_FAIL_MEMORY(err, "%" PRIu64 " tree leaves", live->n_leaves);
    }
    return WW_OK;
}

/* Tiles of all sources and the output must fit in half the buffers: see admission. */
static enum ww_err check_memory(const struct ww_engine *e, const struct ww_live *live,
                                struct ww_error *err)
{
    uint64_t pieces = live->piece->n_sources + 1;
    uint64_t rows = ww_min_u64(live->tile_rows, live->n_rows);
    uint64_t row_bytes = ww_max_u64(live->row_bytes, live->source_row_bytes);
    uint64_t each = rows * row_bytes + 2 * WW_IO_PAGE;

    if (each > e->arena_bytes / 2 / pieces) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "rows of %" PRIu64
                       " bytes from %u sources need more than the memory "
                       "limit of %" PRIu64 " bytes; raise the limit",
                       row_bytes, live->piece->n_sources, e->memory);
    }
    return WW_OK;
}

/* Rows from all over the tensor: with the source in memory each is read once, in order.
 * Beyond 3/8 of the buffers, and with several sources, rows are gathered from the disk,
 * tile by tile. One block at most is held across jobs, so a free range of 5/16 is left.
 */
static enum ww_err set_whole(struct ww_engine *e, struct ww_live *live,
                             struct ww_error *err)
{
    const struct ww_piece *piece = live->piece;
    uint64_t limit = e->arena_bytes / 8 * 3 - 2 * WW_IO_PAGE;

    if (live->n_whole || !live->row_map || piece->n_sources != 1 || piece->n_bytes == 0 ||
        piece->n_bytes > limit) {
        return WW_OK;
    }
    live->whole = ww_calloc(1, sizeof(struct ww_load *));
    struct ww_load *load =
        ww_load_new(e, piece->sources[0].input, piece->sources[0].offset, piece->n_bytes);
    if (!live->whole || !load) {
        return WW_FAIL_MEMORY(err, "a piece");
    }
    load->whole = true;
    load->refs = 1;
    live->whole[0] = load;
    live->n_whole = 1;
    return WW_OK;
}

/* The piece's own from here on, also when something fails. */
static enum ww_err take_early(struct ww_live *live, struct ww_early *early,
                              struct ww_error *err)
{
    if (early->n == 0) {
        return WW_OK;
    }
    live->whole = ww_calloc(early->n, sizeof(struct ww_load *));
    if (!live->whole) {
        return WW_FAIL_MEMORY(err, "a piece");
    }
    memcpy(live->whole, early->loads, early->n * sizeof(struct ww_load *));
    live->n_whole = early->n;
    early->n = 0;
    return WW_OK;
}

static enum ww_err open_kernel(struct ww_live *live, struct ww_error *err)
{
    const struct ww_piece *piece = live->piece;
    const uint8_t *sources[WW_MAX_SOURCES];

    for (uint32_t s = 0; s < live->n_whole; s++) {
        sources[s] = live->whole[s]->data;
    }
    if (live->n_whole) {
        piece->lend(piece->params, sources);
    }
    enum ww_err rc =
        piece->kernel->open(piece->params, piece->n_rows, piece->row_bytes, live->n_tiles,
                            &live->state, &live->row_map, err);
    if (live->n_whole) {
        piece->lend(piece->params, NULL);
    }
    live->opened = !rc;
    return rc;
}

enum ww_err ww_live_open(struct ww_engine *e, const struct ww_piece *piece,
                         struct ww_early *early, struct ww_live **out,
                         struct ww_error *err)
{
    *out = NULL;
    struct ww_live *live = ww_calloc(1, sizeof(*live));
    if (!live) {
        return WW_FAIL_MEMORY(err, "a piece");
    }
    live->piece = piece;
    set_tiles(live);
    pthread_mutex_lock(&e->lock);
    ww_list_push(&e->all_lives, &live->all_node, live);
    e->lives_open++;
    pthread_mutex_unlock(&e->lock);
    /* From here on the list owns it, also when something fails. */
    enum ww_err rc = check_memory(e, live, err);
    if (!rc) {
        rc = take_early(live, early, err);
    }
    if (!rc && piece->kind == WW_PIECE_KERNEL) {
        rc = open_kernel(live, err);
    }
    if (rc) {
        return rc;
    }
    rc = check_row_map(live, err);
    if (rc) {
        return rc;
    }
    rc = set_leaves(live, err);
    if (rc) {
        return rc;
    }
    rc = set_whole(e, live, err);
    if (rc) {
        return rc;
    }
    *out = live;
    return WW_OK;
}

static enum ww_err give_root(const struct ww_engine *e, const struct ww_live *live,
                             struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    uint8_t folded[WW_SHA256_BYTES];
    uint32_t slot = live->piece->tree_index;

    if (slot == WW_NONE) {
        return WW_OK;
    }
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    ww_tree_fold(h, live->leaves, live->n_leaves, folded);
    rc = ww_tree_tensor_root(h, e->plan->tree[slot].tensor, folded,
                             e->result->tensor_root[slot], err);
    ww_sha256_free(h);
    return rc;
}

enum ww_err ww_live_close(struct ww_engine *e, struct ww_live *live, bool complete,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (live->opened) {
        rc = live->piece->kernel->close(live->state, complete, err);
    }
    if (!rc && complete) {
        rc = give_root(e, live, err);
    }
    pthread_mutex_lock(&e->lock);
    ww_list_remove(&live->closing_node);
    ww_list_remove(&live->all_node);
    e->lives_open--;
    pthread_mutex_unlock(&e->lock);
    ww_free(live->leaves);
    ww_free(live->whole);
    ww_free(live);
    return rc;
}
