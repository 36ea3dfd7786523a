/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writing pass of mode invariant. What a tensor's locked bytes become through the
 * inverse of what was found is averaged with the anchor's bytes, which go through
 * matrices of their own where heads were merged by products. Both sides stay double until
 * the one rounding at the end: dense maps run on widened copies of the rows.
 */
#include "attack/blend_kernel.h"

#include <inttypes.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define CHUNK 4096

struct blend_state {
    const struct ww_attack_piece *piece;
    void *base; /* of the kernel that undoes exact moves; NULL: none does */
    bool dense;
    struct ww_dense_map locked; /* with dense, on doubles */
    struct ww_dense_map anchor; /* n_units 0: the anchor's rows stay as they are */
};

static const struct ww_tensor *tensor_of(const struct blend_state *state)
{
    const struct ww_attack_piece *piece = state->piece;
    return &piece->job->pair->locked->model->tensors[piece->output];
}

static enum ww_err close_state(struct blend_state *state, bool complete,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!state) {
        return WW_OK;
    }
    if (state->base) {
        rc = ww_lock_kernel.close(state->base, complete, err);
    }
    ww_dense_map_release(&state->locked);
    ww_dense_map_release(&state->anchor);
    ww_free(state);
    return rc;
}

static enum ww_err open_map(const struct ww_dense_job *job, uint32_t tensor,
                            struct ww_dense_map *map, struct ww_error *err)
{
    enum ww_err rc =
        ww_dense_map_init(map, job->gauge, job->source, tensor, true, false, err);

    map->dtype = WW_DTYPE_F64;
    map->row_bytes = map->n_cols * sizeof(double);
    return rc;
}

static enum ww_err open_dense(struct blend_state *state, struct ww_error *err)
{
    const struct ww_attack_piece *piece = state->piece;
    const struct ww_attack_job *job = piece->job;
    const uint32_t anchor = ww_pair_tensor(job->pair, piece->output);
    enum ww_err rc = open_map(&job->dense, piece->dense.tensor, &state->locked, err);

    state->dense = true;
    if (!rc && ww_attack_mixes(job->pair->blend->partner, anchor)) {
        rc = open_map(&job->partner_dense, anchor, &state->anchor, err);
    }
    if (!rc && state->anchor.n_units > 0 &&
        (state->locked.unit_rows % state->anchor.unit_rows != 0 ||
         state->locked.on_rows != state->anchor.on_rows)) {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "tensor '%s' holds its heads in another order than the anchor, which "
                    "mode invariant does not merge; use mode joint",
                    tensor_of(state)->name);
    }
    return rc;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **out, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct blend_state *state = ww_calloc(1, sizeof(*state));
    enum ww_err rc = WW_OK;

    *out = NULL;
    *row_map = NULL;
    if (!state) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    state->piece = params;
    if (state->piece->undo == WW_UNDO_DENSE) {
        rc = open_dense(state, err);
        WW_INVARIANT(rc || n_rows == state->locked.n_units);
        *row_map = state->locked.unit_src;
    } else if (state->piece->undo == WW_UNDO_MOVES) {
        rc = ww_lock_kernel.open(&state->piece->lock, n_rows, row_bytes, n_tiles,
                                 &state->base, row_map, err);
    }
    if (rc) {
        const enum ww_err closed = close_state(state, false, err);
        *row_map = NULL;
        return closed ? closed : rc;
    }
    *out = state;
    return WW_OK;
}

static size_t unit_elements(const struct ww_dense_map *map)
{
    return (size_t)(map->unit_rows * map->n_cols);
}

/* n_units of widened rows, in their order after the unit map, through a map. */
static bool apply_map(const struct ww_dense_map *map, const double *in, uint64_t first,
                      uint64_t n_units, double *out, double *scratch)
{
    const unsigned step = map->on_rows ? 1 : WW_DENSE_ROWS;
    const size_t size = unit_elements(map);
    bool finite = true;

    for (uint64_t at = 0; at < n_units; at += step) {
        struct ww_dense_rows rows = {.n = (unsigned)ww_min_u64(step, n_units - at)};
        for (unsigned i = 0; i < rows.n; i++) {
            rows.units[i] = first + at + i;
            rows.in[i] = (const uint8_t *)(in + (at + i) * size);
            rows.out[i] = (uint8_t *)(out + (at + i) * size);
        }
        finite = ww_dense_apply(map, &rows, false, scratch) && finite;
    }
    return finite;
}

/* Room for n elements at a time. */
struct room {
    size_t n;
    double *block;
    double *in;
    double *locked;
    double *anchor;
    double *scratch;
    uint8_t *bytes;
};

static enum ww_err room_new(const struct blend_state *state, struct room *room,
                            struct ww_error *err)
{
    size_t scratch = 0;

    room->n = CHUNK;
    if (state->dense) {
        const size_t units = state->locked.on_rows ? 1 : WW_DENSE_ROWS;
        room->n = units * unit_elements(&state->locked);
        scratch = ww_dense_scratch(&state->locked);
    }
    if (state->anchor.n_units > 0) {
        const size_t own = ww_dense_scratch(&state->anchor);
        scratch = own > scratch ? own : scratch;
    }
    room->block = ww_calloc(4 * room->n + scratch, sizeof(double));
    if (!room->block) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    room->in = room->block;
    room->locked = room->in + room->n;
    room->anchor = room->locked + room->n;
    room->bytes = (uint8_t *)(room->anchor + room->n);
    room->scratch = room->anchor + 2 * room->n;
    return WW_OK;
}

static enum ww_err not_finite(const struct blend_state *state, uint64_t first,
                              struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NONFINITE,
                   "tensor '%s': the merge of an element from %" PRIu64
                   " on is no finite number; repair the weights of both models first",
                   tensor_of(state)->name, first);
}

/* The anchor's elements first .. first + n, as they go into the mean. */
static enum ww_err anchor_part(const struct blend_state *state, uint64_t first, size_t n,
                               const struct room *room, struct ww_error *err)
{
    const struct ww_attack_piece *piece = state->piece;
    const struct ww_model *model = piece->job->pair->anchor->model;
    const uint32_t at = ww_pair_tensor(piece->job->pair, piece->output);
    const struct ww_tensor *t = &model->tensors[at];
    const struct ww_weight_file *file = &model->files[t->file];
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    const bool dense = state->anchor.n_units > 0;
    enum ww_err rc = ww_pread_full(file->fd, room->bytes, n * elem,
                                   t->offset + first * elem, file->name, err);

    if (rc) {
        return rc;
    }
    ww_to_double(t->dtype, room->bytes, dense ? room->in : room->anchor, n);
    if (dense &&
        !apply_map(&state->anchor, room->in, first / unit_elements(&state->anchor),
                   n / unit_elements(&state->anchor), room->anchor, room->scratch)) {
        return not_finite(state, first, err);
    }
    return WW_OK;
}

/* Round the mean of room->locked and the anchor to out. */
static enum ww_err blend(const struct blend_state *state, uint64_t first, size_t n,
                         const struct room *room, uint8_t *out, struct ww_error *err)
{
    const enum ww_dtype dtype = tensor_of(state)->dtype;
    const double weight = state->piece->job->pair->blend->weight;
    enum ww_err rc = anchor_part(state, first, n, room, err);

    for (size_t i = 0; i < n && !rc; i++) {
        room->locked[i] = weight * room->locked[i] + (1 - weight) * room->anchor[i];
    }
    if (!rc) {
        ww_from_double(dtype, room->locked, out, n);
        rc =
            ww_count_nonfinite(dtype, out, n) > 0 ? not_finite(state, first, err) : WW_OK;
    }
    return rc;
}

static enum ww_err run_dense(const struct blend_state *state, const struct ww_tile *tile,
                             const struct room *room, struct ww_error *err)
{
    const struct ww_tensor *t = tensor_of(state);
    const unsigned step = state->locked.on_rows ? 1 : WW_DENSE_ROWS;
    const size_t size = unit_elements(&state->locked);
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < tile->n_rows && !rc; at += step) {
        const size_t n = (size_t)ww_min_u64(step, tile->n_rows - at);
        const uint64_t unit = tile->first_row + at;
        for (size_t i = 0; i < n; i++) {
            ww_to_double(t->dtype, tile->rows[0][at + i], room->in + i * size, size);
        }
        if (!apply_map(&state->locked, room->in, unit, n, room->locked, room->scratch)) {
            rc = not_finite(state, unit * size, err);
        } else {
            rc = blend(state, unit * size, n * size, room,
                       tile->out + at * tile->row_bytes, err);
        }
    }
    return rc;
}

/* Moved, not mixed: the exact kernel has left the tile's bytes where the mean goes. */
static enum ww_err run_plain(const struct blend_state *state, const struct ww_tile *tile,
                             const struct room *room, struct ww_error *err)
{
    const struct ww_tensor *t = tensor_of(state);
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    const uint64_t first = tile->first_row * tile->row_bytes / elem;
    const uint64_t n = tile->n_rows * tile->row_bytes / elem;
    enum ww_err rc = WW_OK;

    if (state->base) {
        rc = ww_lock_kernel.run(state->base, tile, err);
    }
    for (uint64_t i = 0; !state->base && i < tile->n_rows; i++) {
        memcpy(tile->out + i * tile->row_bytes, tile->rows[0][i],
               (size_t)tile->row_bytes);
    }
    for (uint64_t at = 0; at < n && !rc; at += room->n) {
        const size_t some = (size_t)ww_min_u64(room->n, n - at);
        ww_to_double(t->dtype, tile->out + at * elem, room->locked, some);
        rc = blend(state, first + at, some, room, tile->out + at * elem, err);
    }
    return rc;
}

static enum ww_err kernel_run(void *opaque, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct blend_state *state = opaque;
    struct room room = {0};
    enum ww_err rc = room_new(state, &room, err);

    if (!rc) {
        rc = state->dense ? run_dense(state, tile, &room, err)
                          : run_plain(state, tile, &room, err);
    }
    ww_free(room.block);
    return rc;
}

static enum ww_err kernel_close(void *opaque, bool complete, struct ww_error *err)
{
    return close_state(opaque, complete, err);
}

const struct ww_kernel ww_blend_kernel = {
    .name = "blend",
    .open = kernel_open,
    .run = kernel_run,
    .close = kernel_close,
};

enum ww_err ww_blend_tensor(const struct ww_attack_piece *piece, uint64_t n_rows,
                            uint64_t row_bytes, const void *in, void *out,
                            struct ww_error *err)
{
    const uint8_t **rows = ww_calloc((size_t)n_rows, sizeof(*rows));
    const uint8_t *const *source = rows;
    const struct ww_tile tile = {.n_rows = n_rows,
                                 .row_bytes = row_bytes,
                                 .rows = &source,
                                 .n_sources = 1,
                                 .n_tiles = 1,
                                 .out = out};
    const uint32_t *row_map = NULL;
    void *state = NULL;
    enum ww_err rc = WW_OK;

    if (!rows) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    rc = kernel_open(piece, n_rows, row_bytes, 1, &state, &row_map, err);
    for (uint64_t i = 0; i < n_rows && !rc; i++) {
        rows[i] = (const uint8_t *)in + (row_map ? row_map[i] : i) * row_bytes;
    }
    if (!rc) {
        rc = kernel_run(state, &tile, err);
    }
    const enum ww_err closed = kernel_close(state, !rc, err);
    ww_free(rows);
    return rc ? rc : closed;
}
