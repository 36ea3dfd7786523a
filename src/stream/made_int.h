/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that are open and tiles that are kept, of a plan that is read. */
#ifndef WW_STREAM_MADE_INT_H
#define WW_STREAM_MADE_INT_H

#include <pthread.h>

#include "stream/made.h"

#define WW_MADE_OPEN 8u
#define WW_MADE_TILES 8u

struct ww_made_file;

struct ww_open_piece {
    const struct ww_piece *piece; /* NULL: free */
    void *state;
    const uint32_t *row_map;
    uint64_t row_bytes; /* of a source */
    uint64_t tile_rows;
    uint64_t n_tiles;
    unsigned users;
    uint64_t used_at;
};

struct ww_kept_tile {
    const struct ww_piece *piece; /* NULL: free */
    uint64_t index;
    uint8_t *bytes;
    uint64_t capacity;
    bool busy; /* someone copies from it or into it */
    uint64_t used_at;
};

struct ww_made {
    const struct ww_plan *plan;
    struct ww_made_file *files;
    pthread_mutex_t opening; /* one kernel is opened or closed at a time */
    pthread_mutex_t lock;    /* the rest */
    pthread_cond_t freed;
    struct ww_open_piece open[WW_MADE_OPEN];
    struct ww_kept_tile tiles[WW_MADE_TILES];
    uint64_t clock;
};

/** An open piece, used from now on and given back; waits while all are in use. */
enum ww_err ww_made_take(struct ww_made *m, const struct ww_piece *piece,
                         struct ww_open_piece **out, struct ww_error *err) WW_MUST_USE;
void ww_made_give(struct ww_made *m, struct ww_open_piece *o);
/** Close its kernel, if there is one: nobody uses it. */
enum ww_err ww_made_shut(struct ww_open_piece *o, struct ww_error *err) WW_MUST_USE;

/** Bytes [at, at + n) of a piece that a kernel makes. */
enum ww_err ww_made_read(struct ww_made *m, const struct ww_piece *piece, uint64_t at,
                         uint8_t *out, uint64_t n, struct ww_error *err) WW_MUST_USE;

#endif
