/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels are opened and closed under one lock, as they may expect; a piece stays open
 * until its place is needed.
 */
#include <string.h>

#include "stream/made_int.h"
#include "stream/plan.h"
#include "util/fail.h"
#include "util/num.h"

/* The lock is held. A place for a piece that is not open: a free one, or the one that was
 * not used for longest; NULL while all are in use. */
static struct ww_open_piece *place_for_piece(struct ww_made *m)
{
    struct ww_open_piece *best = NULL;

    for (unsigned i = 0; i < WW_MADE_OPEN; i++) {
        struct ww_open_piece *o = &m->open[i];
        if (o->users == 0 && (!best || o->used_at < best->used_at)) {
            best = o;
        }
    }
    return best;
}

/* Nobody says whether all tiles were made, and how often: never complete. */
enum ww_err ww_made_shut(struct ww_open_piece *o, struct ww_error *err)
{
    const struct ww_piece *piece = o->piece;
    void *state = o->state;

    memset(o, 0, sizeof(*o));
    return piece ? piece->kernel->close(state, false, err) : WW_OK;
}

/* A row map becomes addresses. */
static enum ww_err check_rows(const struct ww_open_piece *o, struct ww_error *err)
{
    for (uint64_t i = 0; o->row_map && i < o->piece->n_rows; i++) {
        if (o->row_map[i] >= o->piece->n_rows) {
            return WW_FAIL(err, WW_E_INTERNAL, "kernel '%s': a row beyond the source",
                           o->piece->kernel->name);
        }
    }
    return WW_OK;
}

static enum ww_err unfold(const struct ww_piece *piece, struct ww_open_piece *o,
                          struct ww_error *err)
{
    struct ww_open_piece fresh = {.piece = piece, .row_bytes = piece->source_row_bytes};
    enum ww_err rc = WW_OK;

    if (!fresh.row_bytes) {
        fresh.row_bytes = piece->row_bytes;
    }
    fresh.tile_rows = ww_piece_tile_rows(piece);
    fresh.n_tiles = ww_div_up(piece->n_rows, fresh.tile_rows);
    rc = piece->kernel->open(piece->params, piece->n_rows, piece->row_bytes,
                             fresh.n_tiles, &fresh.state, &fresh.row_map, err);
    if (rc) {
        return rc;
    }
    rc = check_rows(&fresh, err);
    if (rc) {
        const enum ww_err closed = piece->kernel->close(fresh.state, false, NULL);
        return closed ? closed : rc;
    }
    fresh.users = o->users;
    *o = fresh;
    return WW_OK;
}

static struct ww_open_piece *find_open(struct ww_made *m, const struct ww_piece *piece)
{
    for (unsigned i = 0; i < WW_MADE_OPEN; i++) {
        if (m->open[i].piece == piece) {
            m->open[i].users++;
            m->open[i].used_at = ++m->clock;
            return &m->open[i];
        }
    }
    return NULL;
}

/* With `opening` held; the kernel's own work is done without `lock`, so that readers of
 * other pieces go on. */
static enum ww_err open_new(struct ww_made *m, const struct ww_piece *piece,
                            struct ww_open_piece **out, struct ww_error *err)
{
    struct ww_open_piece *place = NULL;
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&m->lock);
    while ((place = place_for_piece(m)) == NULL) {
        pthread_cond_wait(&m->freed, &m->lock);
    }
    place->users = 1;
    struct ww_open_piece old = *place;
    place->piece = NULL;
    pthread_mutex_unlock(&m->lock);
    rc = ww_made_shut(&old, err);
    struct ww_open_piece fresh = {.users = 1};
    if (!rc) {
        rc = unfold(piece, &fresh, err);
    }
    pthread_mutex_lock(&m->lock);
    *place = rc ? (struct ww_open_piece){0} : fresh;
    place->used_at = ++m->clock;
    pthread_cond_signal(&m->freed);
    pthread_mutex_unlock(&m->lock);
    *out = place;
    return rc;
}

enum ww_err ww_made_take(struct ww_made *m, const struct ww_piece *piece,
                         struct ww_open_piece **out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&m->lock);
    *out = find_open(m, piece);
    pthread_mutex_unlock(&m->lock);
    if (*out) {
        return WW_OK;
    }
    pthread_mutex_lock(&m->opening);
    pthread_mutex_lock(&m->lock);
    *out = find_open(m, piece); /* someone else may have been faster */
    pthread_mutex_unlock(&m->lock);
    if (!*out) {
        rc = open_new(m, piece, out, err);
    }
    pthread_mutex_unlock(&m->opening);
    return rc;
}

void ww_made_give(struct ww_made *m, struct ww_open_piece *o)
{
    pthread_mutex_lock(&m->lock);
    o->users--;
    pthread_cond_signal(&m->freed);
    pthread_mutex_unlock(&m->lock);
}
