/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor's side of a dense map. Rows whose columns are mixed are taken eight at a
 * time; where rows are mixed, the executor's rows are whole heads already.
 */
#include "lock/dense_kernel.h"

#include <inttypes.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct dense_state {
    const struct ww_dense_piece *piece;
    struct ww_dense_map map;
    void *hook;
    bool hooked;
};

static const struct ww_tensor *tensor_of(const struct dense_state *state)
{
    return &state->piece->job->gauge->layout->model->tensors[state->piece->tensor];
}

static enum ww_err close_state(struct dense_state *state, bool complete,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!state) {
        return WW_OK;
    }
    if (state->hooked) {
        rc = state->piece->job->hooks->close(state->hook, complete, err);
    }
    ww_dense_map_release(&state->map);
    ww_free(state);
    return rc;
}

static enum ww_err open_state(const struct ww_dense_piece *piece,
                              struct dense_state **out, struct ww_error *err)
{
    const struct ww_dense_job *job = piece->job;
    struct dense_state *state = ww_calloc(1, sizeof(*state));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!state) {
        return WW_FAIL_MEMORY(err, "a dense kernel");
    }
    state->piece = piece;
    rc = ww_dense_map_init(&state->map, job->gauge, job->source, piece->tensor,
                           job->inverse, false, err);
    if (!rc && job->hooks) {
        rc = job->hooks->open(job->hooks->payload, piece->tensor, &state->map,
                              &state->hook, err);
        state->hooked = !rc;
    }
    if (rc) {
        const enum ww_err closed = close_state(state, false, err);
        return closed ? closed : rc;
    }
    *out = state;
    return WW_OK;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **out, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct dense_state *state = NULL;
    enum ww_err rc = open_state(params, &state, err);

    (void)n_tiles;
    *out = state;
    *row_map = NULL;
    if (rc) {
        return rc;
    }
    WW_INVARIANT(n_rows == state->map.n_units &&
                 row_bytes == ww_dense_unit_bytes(&state->map));
    *row_map = state->map.unit_src;
    return WW_OK;
}

/* A result is not finite: because the source was not, or because it left the range. */
static enum ww_err not_finite(const struct dense_state *state,
                              const struct ww_dense_rows *rows, struct ww_error *err)
{
    const struct ww_dense_map *map = &state->map;
    const struct ww_tensor *t = tensor_of(state);
    const bool inverse = state->piece->job->inverse;
    uint64_t bad = 0;

    for (unsigned i = 0; i < rows->n; i++) {
        bad += ww_count_nonfinite(map->dtype, rows->in[i],
                                  (size_t)(map->unit_rows * map->n_cols));
    }
    if (inverse) {
        return WW_FAIL(err, WW_E_DAMAGED,
                       "tensor '%s': its rows do not come back as finite numbers, which "
                       "no lock writes",
                       t->name);
    }
    if (bad > 0) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%s': %" PRIu64 " elements near row %" PRIu64
                       " are NaN or infinite; repair the weights first",
                       t->name, bad, rows->units[0] * map->unit_rows);
    }
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "tensor '%s': a mixed row leaves the range of %s; use level exact",
                   t->name, ww_dtype_name(map->dtype));
}

/* What one call needs beside the tile. */
struct workspace {
    double *scratch;
    int16_t *levels; /* WW_DENSE_ROWS times a unit, NULL when nobody asks */
};

static void free_workspace(struct workspace *w)
{
    ww_free(w->scratch);
    ww_free(w->levels);
}

static enum ww_err new_workspace(const struct dense_state *state, struct workspace *w,
                                 struct ww_error *err)
{
    const struct ww_dense_map *map = &state->map;
    const size_t n_units = map->on_rows ? 1 : WW_DENSE_ROWS;
    const bool levels = state->hooked && state->piece->job->hooks->wants_levels;

    w->scratch = ww_calloc(ww_dense_scratch(map), sizeof(*w->scratch));
    w->levels = levels ? ww_calloc(n_units * (size_t)map->unit_rows * (size_t)map->n_cols,
                                   sizeof(*w->levels))
                       : NULL;
    if (!w->scratch || (levels && !w->levels)) {
        free_workspace(w);
        return WW_FAIL_MEMORY(err, "a dense kernel");
    }
    return WW_OK;
}

static enum ww_err run_rows(const struct dense_state *state, struct ww_dense_rows *rows,
                            const struct workspace *w, struct ww_error *err)
{
    const struct ww_dense_map *map = &state->map;
    const struct ww_dense_hooks *hooks = state->piece->job->hooks;
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < rows->n && w->levels; i++) {
        rows->levels[i] = w->levels + (size_t)i * map->unit_rows * map->n_cols;
    }
    if (!ww_dense_apply(map, rows, w->levels != NULL, w->scratch)) {
        rc = not_finite(state, rows, err);
    }
    if (!rc && hooks && hooks->rows) {
        rc = hooks->rows(state->hook, rows, err);
    }
    return rc;
}

static enum ww_err kernel_run(void *opaque, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct dense_state *state = opaque;
    const unsigned step = state->map.on_rows ? 1 : WW_DENSE_ROWS;
    struct workspace w = {0};
    enum ww_err rc = new_workspace(state, &w, err);

    for (uint64_t at = 0; at < tile->n_rows && !rc; at += step) {
        struct ww_dense_rows rows = {.n = (unsigned)ww_min_u64(step, tile->n_rows - at)};
        for (unsigned i = 0; i < rows.n; i++) {
            rows.units[i] = tile->first_row + at + i;
            rows.in[i] = tile->rows[0][at + i];
            rows.out[i] = tile->out + (at + i) * tile->row_bytes;
        }
        rc = run_rows(state, &rows, &w, err);
    }
    free_workspace(&w);
    return rc;
}

static enum ww_err kernel_close(void *opaque, bool complete, struct ww_error *err)
{
    return close_state(opaque, complete, err);
}

const struct ww_kernel ww_dense_kernel = {
    .name = "dense",
    .open = kernel_open,
    .run = kernel_run,
    .close = kernel_close,
};

enum ww_err ww_dense_view(const struct ww_gauge *gauge,
                          const struct ww_cell_source *source, uint32_t tensor,
                          uint64_t *n_units, uint64_t *unit_bytes, struct ww_error *err)
{
    struct ww_dense_map map = {0};
    enum ww_err rc = ww_dense_map_init(&map, gauge, source, tensor, false, true, err);

    *n_units = map.n_units;
    *unit_bytes = ww_dense_unit_bytes(&map);
    ww_dense_map_release(&map);
    return rc;
}

enum ww_err ww_dense_tensor(const struct ww_dense_job *job, uint32_t tensor,
                            const void *in, void *out, struct ww_error *err)
{
    const struct ww_dense_piece piece = {job, tensor};
    struct dense_state *state = NULL;
    struct workspace w = {0};
    enum ww_err rc = open_state(&piece, &state, err);

    if (!rc) {
        rc = new_workspace(state, &w, err);
    }
    for (uint64_t u = 0; !rc && u < state->map.n_units; u++) {
        const uint64_t from = state->map.unit_src ? state->map.unit_src[u] : u;
        const uint64_t bytes = ww_dense_unit_bytes(&state->map);
        struct ww_dense_rows rows = {.n = 1,
                                     .units = {u},
                                     .in = {(const uint8_t *)in + from * bytes},
                                     .out = {(uint8_t *)out + u * bytes}};
        rc = run_rows(state, &rows, &w, err);
    }
    free_workspace(&w);
    const enum ww_err closed = close_state(state, !rc, err);
    return rc ? rc : closed;
}
