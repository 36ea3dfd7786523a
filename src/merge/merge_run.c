/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor writes, hashes and resumes; this is its kernel. A tensor's passes run when
 * its piece is opened (those of whole-matrix methods before it, ahead.h), on threads of
 * their own, while the executor still works on the tensors before it. Where all inputs
 * are as wide as the output the executor reads them ahead; else (another dtype, rows
 * picked by a map) each walk reads what it needs.
 */
#include <inttypes.h>
#include <string.h>

#include "merge/ahead.h"
#include "merge/earlier.h"
#include "merge/engine.h"
#include "merge/pass.h"
#include "merge/watch.h"
#include "stream/cpus.h"
#include "stream/stream.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define COPY_STEP ((uint64_t)64 << 10)

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **state, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct ww_merge_piece *piece = (struct ww_merge_piece *)(uintptr_t)params;
    struct ww_merge_engine *e = piece->engine;
    const struct ww_method_ops *ops = piece->item.job.tensor->method->ops;
    (void)n_rows;
    (void)row_bytes;

    *row_map = NULL;
    *state = piece;
    WW_INVARIANT(n_tiles == piece->item.job.n_tiles);
    piece->item.job.shared = ww_whole_of(&e->wholes, piece->item.job.tensor->method);
    if (e->ahead) {
        return ww_ahead_open(e->ahead, piece->item.job.index, err);
    }
    enum ww_err rc = ww_merge_passes(&piece->item, e->threads, e->memory, err);
    if (rc && ops->close) {
        ops->close(&piece->item.job);
    }
    return rc;
}

void ww_merge_lend(const void *params, const uint8_t *const *sources)
{
    struct ww_merge_piece *piece = (struct ww_merge_piece *)(uintptr_t)params;
    piece->item.lent = sources;
}

static enum ww_err show(const struct ww_merge_piece *piece, const struct ww_tile *tile,
                        const uint8_t *const *in, struct ww_error *err)
{
    const struct ww_merge_item *item = &piece->item;
    const struct ww_merge_watch *watch = item->job.plan->watch;
    const struct ww_merge_seen seen = {
        .tensor = item->job.index,
        .at = tile->first_row * tile->row_bytes,
        .n = tile->n_rows * tile->row_bytes,
        .out = tile->out,
        .inputs = (const struct ww_merge_source *const *)item->in,
        .in = in,
        .n_in = tile->n_sources,
    };

    return watch && !piece->reads ? watch->tile(watch->payload, &seen, err) : WW_OK;
}

static enum ww_err kernel_run(void *state, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct ww_merge_piece *piece = state;
    const uint8_t *in[WW_MAX_SOURCES];
    struct ww_walk *walk = NULL;
    enum ww_err rc = ww_walk_new(&piece->item, piece->reads, &walk, err);

    for (uint32_t s = 0; s < tile->n_sources; s++) {
        in[s] = tile->rows[s][0]; /* without a row map they follow each other */
    }
    if (!rc) {
        rc = ww_walk_write(walk, piece->reads ? NULL : in, tile->tile_index, tile->out,
                           err);
    }
    ww_walk_free(walk);
    return rc ? rc : show(piece, tile, in, err);
}

static enum ww_err kernel_close(void *state, bool complete, struct ww_error *err)
{
    struct ww_merge_piece *piece = state;
    const struct ww_method_ops *ops = piece->item.job.tensor->method->ops;
    (void)complete;
    (void)err;
    if (ops->close) {
        ops->close(&piece->item.job);
    }
    return WW_OK;
}

const struct ww_kernel ww_merge_kernel = {"merge", kernel_open, kernel_run, kernel_close};

static enum ww_err copy_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                             uint64_t n_tiles, void **state, const uint32_t **row_map,
                             struct ww_error *err)
{
    struct ww_merge_piece *piece = (struct ww_merge_piece *)(uintptr_t)params;
    (void)n_rows;
    (void)row_bytes;
    (void)n_tiles;
    *row_map = NULL;
    *state = piece;
    if (piece->reads) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.200s': whole numbers cannot be picked by rows",
                       piece->item.job.tensor->name);
    }
    return WW_OK;
}

/* Averages of whole numbers (position ids, quantised blocks) mean nothing. */
static enum ww_err copy_run(void *state, const struct ww_tile *tile, struct ww_error *err)
{
    const struct ww_merge_piece *piece = state;
    const struct ww_merge_item *item = &piece->item;
    uint64_t n = tile->n_rows * tile->row_bytes;

    for (uint32_t s = 1; s < tile->n_sources; s++) {
        if (memcmp(tile->rows[0][0], tile->rows[s][0], n) != 0) {
            return WW_FAIL(err, WW_E_UNRELATED,
                           "tensor '%.200s' of %s differs between '%.100s' and '%.100s'; "
                           "whole numbers are copied and must be equal",
                           item->job.tensor->name, ww_dtype_name(item->job.tensor->dtype),
                           item->job.plan->inputs[item->in[0]->input].name,
                           item->job.plan->inputs[item->in[s]->input].name);
        }
    }
    memcpy(tile->out, tile->rows[0][0], n);
    return WW_OK;
}

const struct ww_kernel ww_merge_copy_kernel = {"merge equal", copy_open, copy_run,
                                               ww_kernel_close_plain};

static enum ww_err give(struct ww_merge_engine *e, struct ww_stream_result *from,
                        struct ww_merge_result *to, struct ww_error *err)
{
    const struct ww_merge_plan *plan = e->plan;

    to->tensor_root = ww_calloc(plan->n_tensors, WW_SHA256_BYTES);
    if (!to->tensor_root) {
        return WW_FAIL_MEMORY(err, "the digests of a merge");
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        memcpy(to->tensor_root[t], from->tensor_root[e->rank[t]], WW_SHA256_BYTES);
    }
    to->output_sha256 = from->output_sha256;
    to->input_sha256 = from->input_sha256;
    to->run = from->report;
    to->state = ww_calloc(1, sizeof(*to->state));
    if (!to->state) {
        return WW_FAIL_MEMORY(err, "the state of a merge");
    }
    ww_whole_state(&e->wholes, to->state);
    from->output_sha256 = NULL;
    from->input_sha256 = NULL;
    return ww_merge_check_copied(
        plan, (const uint8_t(*)[WW_SHA256_BYTES])to->input_sha256, err);
}

void ww_merge_result_release(struct ww_merge_result *result)
{
    ww_free(result->output_sha256);
    ww_free(result->input_sha256);
    ww_free(result->tensor_root);
    ww_free(result->state);
    memset(result, 0, sizeof(*result));
}

enum ww_err ww_merge_run(const struct ww_merge_plan *plan,
                         const struct ww_merge_into *into,
                         const struct ww_run_options *options, struct ww_out **out,
                         struct ww_merge_result *result, struct ww_error *err)
{
    static const struct ww_run_options defaults;
    struct ww_run_options use = options ? *options : defaults;
    struct ww_merge_engine e = {.plan = plan, .threads = ww_threads_wanted(&use)};
    struct ww_stream_result digests = {0};
    struct ww_out *folder = NULL;

    e.memory = use.memory_bytes ? use.memory_bytes : WW_DEFAULT_MEMORY;
    memset(result, 0, sizeof(*result));
    if (out) {
        *out = NULL;
    }
    enum ww_err rc = ww_merge_check(plan, err);
    if (rc) {
        return rc;
    }
    rc = ww_merge_engine_plan(&e, err);
    if (!rc && into) {
        rc = ww_out_begin(into->path, &e.stream, into->extra_bytes, &use, &folder, err);
    }
    if (!rc) {
        rc = ww_whole_run(plan, e.threads, e.memory, &e.wholes, err);
    }
    if (!rc) {
        rc = ww_ahead_new(&e, &e.ahead, err);
    }
    if (!rc && plan->watch) {
        rc = plan->watch->begin(plan->watch->payload, plan, err);
    }
    if (!rc) {
        rc = ww_stream_run(&e.stream, folder, &use, &digests, err);
    }
    ww_ahead_free(e.ahead);
    if (!rc) {
        rc = give(&e, &digests, result, err);
    }
    if (rc) {
        ww_out_close(folder, into && into->keep && rc == WW_E_CANCELLED);
    } else if (out) {
        *out = folder;
    }
    ww_stream_result_release(&digests);
    ww_whole_release(&e.wholes);
    ww_merge_engine_release(&e);
    return rc;
}
