/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock's own kernels run backwards, with a tally: what a tile became is compared with
 * the same bytes of the locked model, the anchor and the truth. A tile's sums depend on
 * the tensor only and are added up in order, so the numbers do not depend on threads.
 */
#include <string.h>

#include "attack/attack_plan.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define CHUNK 2048

struct state {
    const struct ww_attack_piece *piece;
    void *inner;
    struct ww_score *tiles;
    uint64_t n_tiles;
};

static enum ww_err kernel_close(void *opaque, bool complete, struct ww_error *err)
{
    struct state *state = opaque;
    enum ww_err rc = WW_OK;

    if (!state) {
        return WW_OK;
    }
    if (state->inner) {
        rc = state->piece->inner->close(state->inner, complete, err);
    }
    for (uint64_t i = 0; complete && !rc && state->tiles && i < state->n_tiles; i++) {
        struct ww_score *total = &state->piece->job->scores[state->piece->output];
        const struct ww_score *tile = &state->tiles[i];
        total->anchor += tile->anchor;
        total->before += tile->before;
        total->after += tile->after;
        total->to_truth += tile->to_truth;
        total->task += tile->task;
        total->bytes += tile->bytes;
        total->identical += tile->identical;
    }
    ww_free(state->tiles);
    ww_free(state);
    return rc;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **out, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct state *state = ww_calloc(1, sizeof(*state));
    enum ww_err rc = WW_OK;

    *out = NULL;
    *row_map = NULL;
    if (!state) {
        return WW_FAIL_MEMORY(err, "an attack");
    }
    state->piece = params;
    state->n_tiles = n_tiles;
    if (state->piece->job->scores) {
        state->tiles = ww_calloc((size_t)n_tiles, sizeof(*state->tiles));
    }
    if (state->piece->job->scores && !state->tiles) {
        rc = WW_FAIL_MEMORY(err, "an attack");
    }
    if (!rc && state->piece->inner) {
        rc = state->piece->inner->open(state->piece->params, n_rows, row_bytes, n_tiles,
                                       &state->inner, row_map, err);
    }
    if (rc) {
        state->inner = NULL;
        ww_free(state->tiles);
        ww_free(state);
        return rc;
    }
    *out = state;
    return WW_OK;
}

/* Elements [first, first + n) of a model's tensor, as doubles. */
static enum ww_err read_model(const struct ww_model *model, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes, double *out,
                              struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    enum ww_err rc = ww_weight_bytes(&model->files[t->file], t->offset + first * elem,
                                     bytes, n * elem, err);

    if (!rc) {
        ww_to_double(t->dtype, bytes, out, n);
    }
    return rc;
}

/* The same of the locked model as it was given. */
static enum ww_err read_given(const struct ww_attack_job *job, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes, double *out,
                              struct ww_error *err)
{
    const struct ww_model *model = job->pair->locked->model;
    const struct ww_tensor *t = &model->tensors[tensor];
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    const struct ww_weight_file *file = &model->files[t->file];
    const uint64_t at = t->offset + first * elem;
    enum ww_err rc = ww_pread_full(job->given ? job->given[t->file] : file->fd, bytes,
                                   n * elem, at, file->name, err);

    if (!rc) {
        ww_to_double(t->dtype, bytes, out, n);
    }
    return rc;
}

static double distance(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sum;
}

/* Room of one comparison. */
struct room {
    double made[CHUNK];
    double other[CHUNK];
    double anchor[CHUNK];
    uint8_t bytes[CHUNK * sizeof(double)];
};

/* What a merge would have made of the truth, rounded to the tensor's dtype. */
static void blend_truth(const struct ww_blend *blend, const struct ww_tensor *t, size_t n,
                        struct room *room)
{
    for (size_t i = 0; i < n; i++) {
        room->other[i] =
            blend->weight * room->other[i] + (1 - blend->weight) * room->anchor[i];
    }
    ww_from_double(t->dtype, room->other, room->bytes, n);
}

static enum ww_err score_truth(const struct state *state, const struct ww_tensor *t,
                               const uint8_t *made, uint64_t first, size_t n,
                               struct room *room, struct ww_score *score,
                               struct ww_error *err)
{
    const struct ww_model *truth = state->piece->job->truth;
    const uint32_t at = ww_model_find(truth, t->name);
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    enum ww_err rc = read_model(truth, at, first, n, room->bytes, room->other, err);

    const struct ww_blend *blend = state->piece->job->pair->blend;

    if (rc) {
        return rc;
    }
    if (blend) {
        blend_truth(blend, t, n, room);
    }
    score->to_truth += distance(room->made, room->other, n);
    score->task += distance(room->other, room->anchor, n);
    for (size_t i = 0; (blend || truth->tensors[at].dtype == t->dtype) && i < n * elem;
         i++) {
        score->identical += made[i] == room->bytes[i];
    }
    return WW_OK;
}

static enum ww_err score_chunk(const struct state *state, const uint8_t *made,
                               uint64_t first, size_t n, struct room *room,
                               struct ww_score *score, struct ww_error *err)
{
    const struct ww_pair *pair = state->piece->job->pair;
    const struct ww_model *model = pair->locked->model;
    const struct ww_tensor *t = &model->tensors[state->piece->output];
    const uint32_t anchor = ww_pair_tensor(pair, state->piece->output);
    enum ww_err rc =
        read_model(pair->anchor->model, anchor, first, n, room->bytes, room->anchor, err);

    if (!rc) {
        rc = read_given(state->piece->job, state->piece->output, first, n, room->bytes,
                        room->other, err);
    }
    if (rc) {
        return rc;
    }
    ww_to_double(t->dtype, made, room->made, n);
    for (size_t i = 0; i < n; i++) {
        score->anchor += room->anchor[i] * room->anchor[i];
    }
    score->before += distance(room->other, room->anchor, n);
    score->after += distance(room->made, room->anchor, n);
    score->bytes += n * (ww_dtype_bits(t->dtype) / 8);
    return state->piece->job->truth
               ? score_truth(state, t, made, first, n, room, score, err)
               : WW_OK;
}

static enum ww_err score_tile(const struct state *state, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct ww_pair *pair = state->piece->job->pair;
    const struct ww_tensor *t = &pair->locked->model->tensors[state->piece->output];
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    const uint64_t first = tile->first_row * tile->row_bytes / elem;
    const uint64_t all = tile->n_rows * tile->row_bytes / elem;
    const uint64_t both = ww_pair_elements(pair, state->piece->output);
    const uint64_t n = first < both ? ww_min_u64(all, both - first) : 0;
    struct room *room = ww_calloc(1, sizeof(*room));
    enum ww_err rc = WW_OK;

    if (!room) {
        return WW_FAIL_MEMORY(err, "a comparison");
    }
    for (uint64_t at = 0; at < n && !rc; at += CHUNK) {
        rc = score_chunk(state, tile->out + at * elem, first + at,
                         (size_t)ww_min_u64(n - at, CHUNK), room,
                         &state->tiles[tile->tile_index], err);
    }
    ww_free(room);
    return rc;
}

static enum ww_err kernel_run(void *opaque, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct state *state = opaque;
    enum ww_err rc = WW_OK;

    if (state->piece->inner) {
        rc = state->piece->inner->run(state->inner, tile, err);
    }
    for (uint64_t i = 0; !state->piece->inner && i < tile->n_rows; i++) {
        memcpy(tile->out + i * tile->row_bytes, tile->rows[0][i],
               (size_t)tile->row_bytes);
    }
    return rc || !state->tiles ? rc : score_tile(state, tile, err);
}

const struct ww_kernel ww_attack_kernel = {
    .name = "attack",
    .open = kernel_open,
    .run = kernel_run,
    .close = kernel_close,
};
