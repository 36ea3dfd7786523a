/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kernel for all tensors: the executor hands over source rows in the order of the row
 * map, the columns are gathered here. Maps are drawn when a tensor is opened and dropped
 * when it is closed, so a model of any size needs the maps of a few tensors only.
 */
#include "lock/lock_kernel.h"

#include <string.h>

#include "lock/probe.h"
#include "lock/row_gather.h"
#include "util/alloc.h"
#include "util/fail.h"

struct lock_state {
    const struct ww_lock_piece *piece;
    const struct ww_tensor *tensor;
    struct ww_tensor_map map;
    struct ww_row_gather *gathers; /* one per slice */
    struct ww_probe *probe;
    bool row_scales;
};

static void free_state(struct lock_state *state, bool complete)
{
    if (!state) {
        return;
    }
    for (uint32_t s = 0; state->gathers && s < state->map.n_slices; s++) {
        ww_row_gather_release(&state->gathers[s]);
    }
    ww_free(state->gathers);
    ww_probe_free(state->probe, complete);
    ww_tensor_map_release(&state->map);
    ww_free(state);
}

static bool scales(const struct ww_element *rows)
{
    bool any = false;
    for (uint32_t i = 0; i < rows->n && rows->perm; i++) {
        any = any || rows->exp[i] != 0;
    }
    return any;
}

static enum ww_err open_state(const struct ww_lock_piece *piece, struct lock_state **out,
                              struct ww_error *err)
{
    const struct ww_lock_job *job = piece->job;
    struct lock_state *state = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    state = ww_calloc(1, sizeof(*state));
    if (!state) {
        return WW_FAIL_MEMORY(err, "a lock kernel");
    }
    state->piece = piece;
    state->tensor = &job->gauge->layout->model->tensors[piece->tensor];
    rc = ww_tensor_map_init(&state->map, job->gauge, piece->tensor, job->inverse, err);
    if (rc) {
        goto out;
    }
    state->row_scales = scales(&state->map.rows);
    state->gathers = ww_calloc(state->map.n_slices, sizeof(*state->gathers));
    if (!state->gathers) {
        rc = WW_FAIL_MEMORY(err, "a lock kernel");
        goto out;
    }
    for (uint32_t s = 0; s < state->map.n_slices && !rc; s++) {
        rc = ww_row_gather_init(&state->gathers[s], state->map.dtype, &state->map.cols[s],
                                err);
    }
    if (!rc && job->probes) {
        rc = ww_probe_new(job->probes, piece->tensor, &state->probe, err);
    }
    if (rc) {
        goto out;
    }
    *out = state;
    state = NULL;
out:
    free_state(state, false);
    return rc;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **out, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct lock_state *state = NULL;
    enum ww_err rc = open_state(params, &state, err);

    (void)n_tiles;
    *out = state;
    *row_map = NULL;
    if (rc) {
        return rc;
    }
    WW_INVARIANT(n_rows == state->map.view.n_rows &&
                 row_bytes == state->map.view.row_bytes);
    *row_map = state->map.rows.perm;
    return WW_OK;
}

/* Index in the source of the element at (row, col) of the output. */
static unsigned long long source_element(const struct lock_state *state, uint64_t row,
                                         size_t col)
{
    const struct ww_element *rows = &state->map.rows;
    const struct ww_element *cols = &state->map.cols[row / state->map.rows_per_slice];
    const uint64_t source_row = rows->perm ? rows->perm[row] : row;
    const uint64_t source_col = cols->perm ? cols->perm[col] : col;

    return source_row * state->map.view.n_cols + source_col;
}

static enum ww_err nonfinite(const struct lock_state *state, uint64_t row,
                             const void *out, struct ww_error *err)
{
    const size_t col =
        ww_row_first_nonfinite(state->map.dtype, out, state->map.view.n_cols);
    const unsigned long long at = source_element(state, row, col);

    if (state->piece->job->inverse) {
        return WW_FAIL(err, WW_E_DAMAGED,
                       "tensor '%s': element %llu is NaN or infinite, "
                       "which no lock writes",
                       state->tensor->name, at);
    }
    return WW_FAIL(
        err, WW_E_NONFINITE,
        "tensor '%s': element %llu is NaN or infinite; repair the weights first",
        state->tensor->name, at);
}

static enum ww_err out_of_range(const struct lock_state *state, uint64_t row, size_t col,
                                struct ww_error *err)
{
    const bool inverse = state->piece->job->inverse;

    return WW_FAIL(
        err, inverse ? WW_E_DAMAGED : WW_E_UNSUPPORTED,
        "tensor '%s': element %llu times a factor of two leaves the normal range "
        "of %s; %s",
        state->tensor->name, source_element(state, row, col),
        ww_dtype_name(state->map.dtype),
        inverse ? "no lock writes that" : "lock without factors (--no-scale)");
}

static enum ww_err run_row(const struct lock_state *state, uint64_t row, const void *in,
                           void *out, struct ww_error *err)
{
    const struct ww_row_gather *gather = &state->gathers[row / state->map.rows_per_slice];
    const struct ww_element *rows = &state->map.rows;
    size_t at = 0;

    if (!ww_row_gather(gather, rows->perm && rows->neg[row], in, out)) {
        return nonfinite(state, row, out, err);
    }
    if ((gather->exp || state->row_scales) &&
        !ww_row_scale(gather, rows->perm ? rows->exp[row] : 0, out, &at)) {
        return out_of_range(state, row, at, err);
    }
    return WW_OK;
}

static enum ww_err kernel_run(void *opaque, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct lock_state *state = opaque;
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < tile->n_rows && !rc; i++) {
        rc = run_row(state, tile->first_row + i, tile->rows[0][i],
                     tile->out + i * tile->row_bytes, err);
    }
    if (!rc && state->probe) {
        rc = ww_probe_tile(state->probe, tile, state->map.rows.perm, err);
    }
    return rc;
}

static enum ww_err kernel_close(void *opaque, bool complete, struct ww_error *err)
{
    (void)err;
    free_state(opaque, complete);
    return WW_OK;
}

const struct ww_kernel ww_lock_kernel = {
    .name = "lock",
    .open = kernel_open,
    .run = kernel_run,
    .close = kernel_close,
};

enum ww_err ww_lock_tensor(const struct ww_lock_job *job, uint32_t tensor, const void *in,
                           void *out, struct ww_error *err)
{
    const struct ww_lock_piece piece = {job, tensor};
    struct lock_state *state = NULL;
    enum ww_err rc = open_state(&piece, &state, err);

    for (uint64_t r = 0; !rc && r < state->map.view.n_rows; r++) {
        const uint64_t from = state->map.rows.perm ? state->map.rows.perm[r] : r;
        const uint64_t row_bytes = state->map.view.row_bytes;
        rc = run_row(state, r, (const uint8_t *)in + from * row_bytes,
                     (uint8_t *)out + r * row_bytes, err);
    }
    free_state(state, !rc);
    return rc;
}
