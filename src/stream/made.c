/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels work on whole tiles, readers ask for any range: the tiles made last are kept,
 * so that a reader who goes on where it stopped makes no tile twice. Kernels are opened
 * and closed under one lock, as they may expect; a piece stays open until its place is
 * needed.
 */
#include "stream/made.h"

#include <pthread.h>
#include <string.h>

#include "stream/plan.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define N_OPEN 8u
#define N_TILES 8u
#define ALIGN 64u

struct made_file {
    struct ww_made *made;
    const struct ww_output *output;
    uint64_t *starts; /* [n_pieces] */
    struct ww_reader reader;
};

struct open_piece {
    const struct ww_piece *piece; /* NULL: free */
    void *state;
    const uint32_t *row_map;
    uint64_t row_bytes; /* of a source */
    uint64_t tile_rows;
    uint64_t n_tiles;
    unsigned users;
    uint64_t used_at;
};

struct kept_tile {
    const struct ww_piece *piece; /* NULL: free */
    uint64_t index;
    uint8_t *bytes;
    uint64_t capacity;
    bool busy; /* someone copies from it or into it */
    uint64_t used_at;
};

struct ww_made {
    const struct ww_plan *plan;
    struct made_file *files;
    pthread_mutex_t opening; /* one kernel is opened or closed at a time */
    pthread_mutex_t lock;    /* the rest */
    pthread_cond_t freed;
    struct open_piece open[N_OPEN];
    struct kept_tile tiles[N_TILES];
    uint64_t clock;
};

enum ww_err ww_input_read(const struct ww_plan *plan, uint32_t input, void *out, size_t n,
                          uint64_t offset, struct ww_error *err)
{
    const struct ww_input *file = &plan->inputs[input];
    const struct ww_reader *reader = plan->readers ? plan->readers[input] : NULL;

    return reader ? reader->read(reader->payload, offset, out, n, err)
                  : ww_pread_full(file->fd, out, n, offset, file->name, err);
}

/* The lock is held. A place for a piece that is not open: a free one, or the one that was
 * not used for longest; NULL while all are in use. */
static struct open_piece *place_for_piece(struct ww_made *m)
{
    struct open_piece *best = NULL;

    for (unsigned i = 0; i < N_OPEN; i++) {
        struct open_piece *o = &m->open[i];
        if (o->users == 0 && (!best || o->used_at < best->used_at)) {
            best = o;
        }
    }
    return best;
}

/* Nobody says whether all tiles were made, and how often: never complete. */
static enum ww_err shut(struct open_piece *o, struct ww_error *err)
{
    const struct ww_piece *piece = o->piece;
    void *state = o->state;

    memset(o, 0, sizeof(*o));
    return piece ? piece->kernel->close(state, false, err) : WW_OK;
}

/* A row map becomes addresses. */
static enum ww_err check_rows(const struct open_piece *o, struct ww_error *err)
{
    for (uint64_t i = 0; o->row_map && i < o->piece->n_rows; i++) {
        if (o->row_map[i] >= o->piece->n_rows) {
            return WW_FAIL(err, WW_E_INTERNAL, "kernel '%s': a row beyond the source",
                           o->piece->kernel->name);
        }
    }
    return WW_OK;
}

static enum ww_err unfold(const struct ww_piece *piece, struct open_piece *o,
                          struct ww_error *err)
{
    struct open_piece fresh = {.piece = piece, .row_bytes = piece->source_row_bytes};
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

static struct open_piece *find_open(struct ww_made *m, const struct ww_piece *piece)
{
    for (unsigned i = 0; i < N_OPEN; i++) {
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
                            struct open_piece **out, struct ww_error *err)
{
    struct open_piece *place = NULL;
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&m->lock);
    while ((place = place_for_piece(m)) == NULL) {
        pthread_cond_wait(&m->freed, &m->lock);
    }
    place->users = 1;
    struct open_piece old = *place;
    place->piece = NULL;
    pthread_mutex_unlock(&m->lock);
    rc = shut(&old, err);
    struct open_piece fresh = {.users = 1};
    if (!rc) {
        rc = unfold(piece, &fresh, err);
    }
    pthread_mutex_lock(&m->lock);
    *place = rc ? (struct open_piece){0} : fresh;
    place->used_at = ++m->clock;
    pthread_cond_signal(&m->freed);
    pthread_mutex_unlock(&m->lock);
    *out = place;
    return rc;
}

static enum ww_err take_piece(struct ww_made *m, const struct ww_piece *piece,
                              struct open_piece **out, struct ww_error *err)
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

static void give_piece(struct ww_made *m, struct open_piece *o)
{
    pthread_mutex_lock(&m->lock);
    o->users--;
    pthread_cond_signal(&m->freed);
    pthread_mutex_unlock(&m->lock);
}

/* What the kernel reads for one tile. */
struct gathered {
    uint8_t *bytes;
    const uint8_t **rows; /* n_rows of each source */
    const uint8_t *const *of[WW_MAX_SOURCES];
};

/* Rows [first, first + n) of the output from one source; rows that follow each other are
 * one read. */
static enum ww_err gather(const struct ww_made *m, const struct open_piece *o, uint32_t s,
                          uint64_t first, uint64_t n, uint8_t *to, struct ww_error *err)
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

static enum ww_err gather_all(const struct ww_made *m, const struct open_piece *o,
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
static enum ww_err make_tile(const struct ww_made *m, const struct open_piece *o,
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
static struct kept_tile *take_tile(struct ww_made *m, const struct ww_piece *piece,
                                   uint64_t index, bool *made)
{
    struct kept_tile *best = NULL;

    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < N_TILES; i++) {
        struct kept_tile *t = &m->tiles[i];
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

static void give_tile(struct ww_made *m, struct kept_tile *t,
                      const struct ww_piece *piece, uint64_t index)
{
    pthread_mutex_lock(&m->lock);
    t->piece = piece;
    t->index = index;
    t->busy = false;
    pthread_mutex_unlock(&m->lock);
}

static enum ww_err make_room(struct kept_tile *t, uint64_t n, struct ww_error *err)
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
static enum ww_err read_tile(struct ww_made *m, const struct open_piece *o,
                             uint64_t index, uint64_t at, uint8_t *out, uint64_t n,
                             struct ww_error *err)
{
    const uint64_t rows =
        ww_min_u64(o->tile_rows, o->piece->n_rows - index * o->tile_rows);
    const uint64_t size = rows * o->piece->row_bytes;
    struct kept_tile beside = {0};
    struct kept_tile *t = NULL;
    bool made = false;
    enum ww_err rc = WW_OK;

    if (n == size && (uintptr_t)out % ALIGN == 0) {
        return make_tile(m, o, index, out, err);
    }
    t = take_tile(m, o->piece, index, &made);
    struct kept_tile *use = t ? t : &beside;
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
static enum ww_err read_kernel(struct ww_made *m, const struct ww_piece *piece,
                               uint64_t at, uint8_t *out, uint64_t n,
                               struct ww_error *err)
{
    struct open_piece *o = NULL;
    enum ww_err rc = take_piece(m, piece, &o, err);

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
    give_piece(m, o);
    return rc;
}

static enum ww_err read_piece(struct ww_made *m, const struct ww_piece *piece,
                              uint64_t at, uint8_t *out, uint64_t n, struct ww_error *err)
{
    switch (piece->kind) {
    case WW_PIECE_BYTES:
        memcpy(out, piece->bytes + at, n);
        return WW_OK;
    case WW_PIECE_COPY:
        return ww_input_read(m->plan, piece->sources[0].input, out, n,
                             piece->sources[0].offset + at, err);
    case WW_PIECE_KERNEL:
        break;
    }
    return read_kernel(m, piece, at, out, n, err);
}

/* The last piece that begins at or before the offset. */
static uint32_t find_piece(const struct made_file *f, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = f->output->n_pieces;

    while (high - low > 1) {
        const uint32_t mid = low + (high - low) / 2;
        if (f->starts[mid] <= offset) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static enum ww_err read_file(void *payload, uint64_t offset, void *out, size_t len,
                             struct ww_error *err)
{
    const struct made_file *f = payload;
    uint8_t *to = out;
    uint64_t left = len;
    enum ww_err rc = WW_OK;

    if (offset > f->output->size_bytes || len > f->output->size_bytes - offset) {
        return WW_FAIL(err, WW_E_INTERNAL, "a read beyond the end of '%s'",
                       f->output->path);
    }
    for (uint32_t p = left ? find_piece(f, offset) : 0; left > 0 && !rc; p++) {
        const struct ww_piece *piece = &f->output->pieces[p];
        const uint64_t at = offset - f->starts[p];
        const uint64_t n = ww_min_u64(left, piece->n_bytes - at);
        if (n > 0) {
            rc = read_piece(f->made, piece, at, to, n, err);
        }
        to += n;
        offset += n;
        left -= n;
    }
    return rc;
}

static enum ww_err set_file(struct ww_made *m, uint32_t i, struct ww_error *err)
{
    struct made_file *f = &m->files[i];
    uint64_t at = 0;

    f->made = m;
    f->output = &m->plan->outputs[i];
    f->reader = (struct ww_reader){read_file, f};
    f->starts = ww_calloc(ww_max_u64(1, f->output->n_pieces), sizeof(*f->starts));
    if (!f->starts) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t p = 0; p < f->output->n_pieces; p++) {
        f->starts[p] = at;
        at += f->output->pieces[p].n_bytes;
    }
    return WW_OK;
}

enum ww_err ww_made_new(const struct ww_plan *plan, struct ww_made **out,
                        struct ww_error *err)
{
    struct ww_made *m = NULL;
    enum ww_err rc = ww_plan_check(plan, err);

    *out = NULL;
    if (rc) {
        return rc;
    }
    m = ww_calloc(1, sizeof(*m));
    if (!m) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    m->plan = plan;
    pthread_mutex_init(&m->opening, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->freed, NULL);
    m->files = ww_calloc(ww_max_u64(1, plan->n_outputs), sizeof(*m->files));
    if (!m->files) {
        rc = WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t i = 0; i < plan->n_outputs && !rc; i++) {
        rc = set_file(m, i, err);
    }
    if (rc) {
        ww_made_free(m);
        return rc;
    }
    *out = m;
    return WW_OK;
}

void ww_made_free(struct ww_made *m)
{
    if (!m) {
        return;
    }
    for (unsigned i = 0; i < N_OPEN; i++) {
        (void)!shut(&m->open[i], NULL); /* kernels that made bytes for readers only */
    }
    for (unsigned i = 0; i < N_TILES; i++) {
        ww_free(m->tiles[i].bytes);
    }
    for (uint32_t i = 0; m->files && i < m->plan->n_outputs; i++) {
        ww_free(m->files[i].starts);
    }
    ww_free(m->files);
    pthread_mutex_destroy(&m->opening);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->freed);
    ww_free(m);
}

const struct ww_reader *ww_made_reader(const struct ww_made *made, uint32_t output)
{
    return &made->files[output].reader;
}
