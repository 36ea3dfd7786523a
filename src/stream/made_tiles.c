/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels work on whole tiles, readers ask for any range: the tiles made last are kept,
 * so that a reader who goes on where it stopped makes no tile twice.
 */
#include <string.h>

#include "stream/made_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define ALIGN 64u

/* What the kernel reads for one tile. */
struct gathered {
    uint8_t *bytes;
    const uint8_t **rows; /* n_rows of each source */
    const uint8_t *const *of[WW_MAX_SOURCES];
};

/* Rows [first, first + n) of the output from one source; rows that follow each other are
 * one read. */
static enum ww_err gather(const struct ww_made *m, const struct ww_open_piece *o,
                          uint32_t s, uint64_t first, uint64_t n, uint8_t *to,
                          struct ww_error *err)
{
    const struct ww_piece_source *source = &o->piece->sources[s];
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < n && !rc;) {
        const uint64_t row = o->row_map ? o->row_map[first + i] : first + i;
        uint64_t run = o->row_map ? 1 : n;
        while (o->row_map && i + run < n && o->row_map[first + i + run] == row + run) {
            run++;
        }
        rc = ww_input_read(m->plan, source->input, to + i * o->row_bytes,
                           (size_t)(run * o->row_bytes),
                           source->offset + row * o->row_bytes, err);
        i += run;
    }
    return rc;
}

static enum ww_err gather_all(const struct ww_made *m, const struct ww_open_piece *o,
                              uint64_t first, uint64_t n, struct gathered *g,
                              struct ww_error *err)
{
    const uint32_t n_sources = o->piece->n_sources;
    const uint64_t each = n * o->row_bytes;
    enum ww_err rc = WW_OK;

    g->bytes = ww_alloc_aligned(ALIGN, ww_max_u64(1, n_sources * each));
    g->rows = ww_calloc(ww_max_u64(1, n_sources * n), sizeof(*g->rows));
    if (!g->bytes || !g->rows) {
        return WW_FAIL_MEMORY(err, "a tile");
    }
    for (uint32_t s = 0; s < n_sources && !rc; s++) {
        rc = gather(m, o, s, first, n, g->bytes + s * each, err);
        for (uint64_t i = 0; i < n; i++) {
            g->rows[s * n + i] = g->bytes + s * each + i * o->row_bytes;
        }
        g->of[s] = g->rows + s * n;
    }
    return rc;
}

/* One tile into out, which is aligned. */
static enum ww_err make_tile(const struct ww_made *m, const struct ww_open_piece *o,
                             uint64_t index, uint8_t *out, struct ww_error *err)
{
    const uint64_t first = index * o->tile_rows;
    const uint64_t n = ww_min_u64(o->tile_rows, o->piece->n_rows - first);
    struct gathered g = {0};
    enum ww_err rc = gather_all(m, o, first, n, &g, err);

    if (!rc) {
        const struct ww_tile tile = {.first_row = first,
                                     .n_rows = n,
                                     .row_bytes = o->piece->row_bytes,
                                     .rows = g.of,
                                     .n_sources = o->piece->n_sources,
                                     .tile_index = index,
                                     .n_tiles = o->n_tiles,
                                     .out = out};
        rc = o->piece->kernel->run(o->state, &tile, err);
    }
    ww_free(g.bytes);
    ww_free(g.rows);
    return rc;
}

/* A kept tile, or the place for it (made false), busy from now on; NULL while none is
 * free, and then the tile is made beside. */
static struct ww_kept_tile *take_tile(struct ww_made *m, const struct ww_piece *piece,
                                      uint64_t index, bool *made)
{
    struct ww_kept_tile *best = NULL;

    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < WW_MADE_TILES; i++) {
        struct ww_kept_tile *t = &m->tiles[i];
        if (t->busy) {
            continue;
        }
        if (t->piece == piece && t->index == index) {
            best = t;
            break;
        }
        if (!best || t->used_at < best->used_at) {
            best = t;
        }
    }
    *made = best && best->piece == piece && best->index == index;
    if (best) {
        best->busy = true;
        best->piece = *made ? piece : NULL;
        best->used_at = ++m->clock;
    }
    pthread_mutex_unlock(&m->lock);
    return best;
}

static void give_tile(struct ww_made *m, struct ww_kept_tile *t,
                      const struct ww_piece *piece, uint64_t index)
{
    pthread_mutex_lock(&m->lock);
    t->piece = piece;
    t->index = index;
    t->busy = false;
    pthread_mutex_unlock(&m->lock);
}

static enum ww_err make_room(struct ww_kept_tile *t, uint64_t n, struct ww_error *err)
{
    if (n <= t->capacity) {
        return WW_OK;
    }
    ww_free(t->bytes);
    t->bytes = ww_alloc_aligned(ALIGN, n);
    t->capacity = t->bytes ? n : 0;
    return t->bytes ? WW_OK : WW_FAIL_MEMORY(err, "a tile");
}

/* Bytes [at, at + n) of a tile. */
static enum ww_err read_tile(struct ww_made *m, const struct ww_open_piece *o,
                             uint64_t index, uint64_t at, uint8_t *out, uint64_t n,
                             struct ww_error *err)
{
    const uint64_t rows =
        ww_min_u64(o->tile_rows, o->piece->n_rows - index * o->tile_rows);
    const uint64_t size = rows * o->piece->row_bytes;
    struct ww_kept_tile beside = {0};
    struct ww_kept_tile *t = NULL;
    bool made = false;
    enum ww_err rc = WW_OK;

    if (n == size && (uintptr_t)out % ALIGN == 0) {
        return make_tile(m, o, index, out, err);
    }
    t = take_tile(m, o->piece, index, &made);
    struct ww_kept_tile *use = t ? t : &beside;
    if (!made) {
        rc = make_room(use, size, err);
        if (!rc) {
            rc = make_tile(m, o, index, use->bytes, err);
        }
    }
    if (!rc) {
        memcpy(out, use->bytes + at, n);
    }
    if (t) {
        give_tile(m, t, rc ? NULL : o->piece, index);
    }
    ww_free(beside.bytes);
    return rc;
}

/* Bytes [at, at + n) of a piece that a kernel makes. */
enum ww_err ww_made_read(struct ww_made *m, const struct ww_piece *piece, uint64_t at,
                         uint8_t *out, uint64_t n, struct ww_error *err)
{
    struct ww_open_piece *o = NULL;
    enum ww_err rc = ww_made_take(m, piece, &o, err);

    if (rc) {
        return rc;
    }
    const uint64_t tile_bytes = o->tile_rows * piece->row_bytes;
    while (n > 0 && !rc) {
        const uint64_t index = at / tile_bytes;
        const uint64_t in_tile = at % tile_bytes;
        const uint64_t step = ww_min_u64(n, tile_bytes - in_tile);
        rc = read_tile(m, o, index, in_tile, out, step, err);
        at += step;
        out += step;
        n -= step;
    }
    ww_made_give(m, o);
    return rc;
}
