/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plan must satisfy before the first byte is read, and its digest. The digest
 * covers what decides the output (and the sizes of the inputs) and nothing else, so a run
 * may be continued with other threads or other memory. Every field has a fixed width or a
 * length in front of it: no two plans give the same bytes.
 */
#include <inttypes.h>
#include <string.h>

#include "stream/plan.h"
#include "stream/out.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define DIGEST_LABEL "weightward plan v1"

static enum ww_err piece_fail(const struct ww_output *output, uint32_t i,
                              const char *what, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_USAGE, "plan of '%s', piece %u: %s", output->path, i, what);
}

static bool source_bytes(const struct ww_piece *piece, uint64_t *n)
{
    *n = piece->n_bytes;
    return piece->kind != WW_PIECE_KERNEL || !piece->source_row_bytes ||
           ww_mul_u64(piece->n_rows, piece->source_row_bytes, n);
}

static enum ww_err check_sources(const struct ww_plan *plan,
                                 const struct ww_output *output, uint32_t i,
                                 struct ww_error *err)
{
    const struct ww_piece *piece = &output->pieces[i];
    uint64_t n_bytes = 0;

    for (uint32_t s = 0; s < piece->n_sources; s++) {
        const struct ww_piece_source *source = &piece->sources[s];
        uint64_t end = 0;
        if (source->input >= plan->n_inputs) {
            return piece_fail(output, i, "a source that is no input", err);
        }
        if (!source_bytes(piece, &n_bytes) ||
            !ww_add_u64(source->offset, n_bytes, &end) ||
            end > plan->inputs[source->input].size_bytes) {
            return piece_fail(output, i, "a source beyond the end of its input", err);
        }
    }
    return WW_OK;
}

static enum ww_err check_piece(const struct ww_plan *plan, const struct ww_output *output,
                               uint32_t i, struct ww_error *err)
{
    const struct ww_piece *piece = &output->pieces[i];
    uint64_t n_bytes = 0;

    switch (piece->kind) {
    case WW_PIECE_BYTES:
        if (piece->n_sources > 1 || (piece->n_bytes && !piece->bytes)) {
            return piece_fail(output, i, "bytes that are not given", err);
        }
        break;
    case WW_PIECE_COPY:
        if (piece->n_sources != 1) {
            return piece_fail(output, i, "a copy needs exactly one source", err);
        }
        break;
    case WW_PIECE_KERNEL:
        if (!piece->kernel || piece->n_sources > WW_MAX_SOURCES) {
            return piece_fail(output, i, "a kernel takes at most 64 sources", err);
        }
        if (!ww_mul_u64(piece->n_rows, piece->row_bytes, &n_bytes) ||
            n_bytes != piece->n_bytes || piece->n_rows > UINT32_MAX ||
            (piece->source_row_bytes && !piece->row_bytes)) {
            return piece_fail(output, i, "rows that do not make up its bytes", err);
        }
        break;
    }
    if (piece->tree_index != WW_NONE && piece->tree_index >= plan->n_tree) {
        return piece_fail(output, i, "a tensor that is not in the tree", err);
    }
    if (piece->tree_index != WW_NONE &&
        plan->tree[piece->tree_index].tensor->n_bytes != piece->n_bytes) {
        return piece_fail(output, i, "a tensor of another size", err);
    }
    return check_sources(plan, output, i, err);
}

static enum ww_err check_output(const struct ww_plan *plan,
                                const struct ww_output *output, uint8_t *in_tree,
                                struct ww_error *err)
{
    uint64_t sum = 0;

    if (!ww_path_is_relative(output->path) || strcmp(output->path, WW_OUT_JOURNAL) == 0) {
        return WW_FAIL(err, WW_E_PATH, "plan: '%s' is no path for an output",
                       output->path);
    }
    for (uint32_t i = 0; i < output->n_pieces; i++) {
        const struct ww_piece *piece = &output->pieces[i];
        enum ww_err rc = check_piece(plan, output, i, err);
        if (rc) {
            return rc;
        }
        if (!ww_add_u64(sum, piece->n_bytes, &sum) || sum > INT64_MAX / 2) {
            return piece_fail(output, i, "more bytes than a file can hold", err);
        }
        if (piece->tree_index != WW_NONE && in_tree[piece->tree_index]++) {
            return piece_fail(output, i, "a tensor that is written twice", err);
        }
    }
    if (sum != output->size_bytes) {
        return WW_FAIL(err, WW_E_USAGE,
                       "plan of '%s': pieces of %" PRIu64 " bytes, expected %" PRIu64,
                       output->path, sum, output->size_bytes);
    }
    return WW_OK;
}

/* Tensors of an input become addresses in what was read of it. */
static enum ww_err check_input(const struct ww_input *input,
                               const struct ww_input_tree *tree, struct ww_error *err)
{
    uint64_t at = 0;

    for (uint32_t i = 0; tree && i < tree->n_tensors; i++) {
        const struct ww_tensor *t = &tree->tensors[i];
        uint64_t end = 0;
        if (!input->want_sha256 || t->offset < at ||
            !ww_add_u64(t->offset, t->n_bytes, &end) || end > input->size_bytes) {
            return WW_FAIL(err, WW_E_USAGE,
                           "plan: roots of '%.200s' need its digest and tensors that "
                           "follow each other in it",
                           input->name);
        }
        at = end;
    }
    return WW_OK;
}

enum ww_err ww_plan_check(const struct ww_plan *plan, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    uint8_t *in_tree = ww_calloc(plan->n_tree, 1);

    if (!in_tree) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t i = 0; plan->input_trees && i < plan->n_inputs && !rc; i++) {
        rc = check_input(&plan->inputs[i], plan->input_trees[i], err);
    }
    for (uint32_t i = 0; i < plan->n_outputs && !rc; i++) {
        rc = check_output(plan, &plan->outputs[i], in_tree, err);
    }
    for (uint32_t i = 0; i < plan->n_tree && !rc; i++) {
        if (!in_tree[i]) {
            rc = WW_FAIL(err, WW_E_USAGE,
                         "plan: tensor '%.200s' of the tree is in no output",
                         plan->tree[i].tensor->name);
        }
    }
    ww_free(in_tree);
    return rc;
}

static void add_text(struct ww_sha256 *h, const char *s)
{
    size_t len = strlen(s);
    ww_sha256_u64le(h, len);
    ww_sha256_update(h, s, len);
}

static void add_piece(struct ww_sha256 *h, const struct ww_piece *piece)
{
    ww_sha256_u64le(h, piece->kind);
    ww_sha256_u64le(h, piece->n_bytes);
    ww_sha256_u64le(h, piece->n_sources);
    for (uint32_t s = 0; s < piece->n_sources; s++) {
        ww_sha256_u64le(h, piece->sources[s].input);
        ww_sha256_u64le(h, piece->sources[s].offset);
    }
    ww_sha256_u64le(h, piece->tree_index);
    if (piece->kind == WW_PIECE_BYTES) {
        ww_sha256_update(h, piece->bytes, piece->n_bytes);
    }
    if (piece->kind == WW_PIECE_KERNEL) {
        ww_sha256_u64le(h, piece->n_rows);
        ww_sha256_u64le(h, piece->row_bytes);
        ww_sha256_u64le(h, piece->source_row_bytes);
        add_text(h, piece->kernel->name);
        ww_sha256_update(h, piece->params_digest, sizeof(piece->params_digest));
    }
}

static void add_tree(struct ww_sha256 *h, const struct ww_tree_slot *slot)
{
    ww_sha256_u64le(h, slot->rank);
    add_text(h, slot->tensor->name);
    ww_sha256_u64le(h, slot->tensor->dtype);
    ww_sha256_u64le(h, slot->tensor->rank);
    for (unsigned d = 0; d < slot->tensor->rank; d++) {
        ww_sha256_u64le(h, slot->tensor->shape[d]);
    }
}

enum ww_err ww_plan_digest(const struct ww_plan *plan, uint8_t out[WW_SHA256_BYTES],
                           struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_plan_check(plan, err);
    if (rc) {
        return rc;
    }
    rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    add_text(h, DIGEST_LABEL);
    ww_sha256_u64le(h, plan->n_inputs);
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        ww_sha256_u64le(h, plan->inputs[i].size_bytes);
    }
    ww_sha256_u64le(h, plan->n_outputs);
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        const struct ww_output *output = &plan->outputs[i];
        add_text(h, output->path);
        ww_sha256_u64le(h, output->size_bytes);
        ww_sha256_u64le(h, output->n_pieces);
        for (uint32_t p = 0; p < output->n_pieces; p++) {
            add_piece(h, &output->pieces[p]);
        }
    }
    ww_sha256_u64le(h, plan->n_tree);
    for (uint32_t i = 0; i < plan->n_tree; i++) {
        add_tree(h, &plan->tree[i]);
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return WW_OK;
}

enum ww_err ww_kernel_open_plain(const void *params, uint64_t n_rows, uint64_t row_bytes,
                                 uint64_t n_tiles, void **state, const uint32_t **row_map,
                                 struct ww_error *err)
{
    (void)n_rows;
    (void)row_bytes;
    (void)n_tiles;
    (void)err;
    *row_map = NULL;
    *state = (void *)(uintptr_t)params;
    return WW_OK;
}

enum ww_err ww_kernel_close_plain(void *state, bool complete, struct ww_error *err)
{
    (void)state;
    (void)complete;
    (void)err;
    return WW_OK;
}
