/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two digests from one read. The executor hashes what it would write and the tensors in
 * it; a plan whose outputs are the weight files themselves, run without writing, gives
 * the digest of each file and the root of each tensor in one pass over the disk.
 */
#include <string.h>

#include "sign/tensors_sign.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

struct copy_plan {
    struct ww_plan plan;
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    uint32_t *order;
    uint32_t *rank;
};

static void release(struct copy_plan *p)
{
    ww_free(p->plan.inputs);
    ww_free(p->plan.outputs);
    ww_free(p->plan.tree);
    ww_free(p->pieces);
    ww_free(p->sources);
    ww_free(p->order);
    ww_free(p->rank);
}

static enum ww_err allocate(const struct ww_model *model, struct copy_plan *p,
                            struct ww_error *err)
{
    size_t n_pieces = (size_t)model->n_files + model->n_tensors;

    p->plan.title = "sign";
    p->plan.n_inputs = p->plan.n_outputs = model->n_files;
    p->plan.n_tree = model->n_tensors;
    p->plan.inputs = ww_calloc(model->n_files, sizeof(*p->plan.inputs));
    p->plan.outputs = ww_calloc(model->n_files, sizeof(*p->plan.outputs));
    p->plan.tree = ww_calloc(model->n_tensors, sizeof(*p->plan.tree));
    p->pieces = ww_calloc(n_pieces, sizeof(*p->pieces));
    p->sources = ww_calloc(n_pieces, sizeof(*p->sources));
    if (!p->plan.inputs || !p->plan.outputs || !p->plan.tree || !p->pieces ||
        !p->sources) {
        return WW_FAIL_MEMORY(err, "%zu tensors", n_pieces);
    }
    return ww_tree_order(model, &p->order, &p->rank, err);
}

static void add_piece(struct copy_plan *p, size_t at, uint32_t file, uint64_t offset,
                      uint64_t n_bytes, uint32_t tree_index)
{
    struct ww_piece *piece = &p->pieces[at];

    p->sources[at] = (struct ww_piece_source){.input = file, .offset = offset};
    piece->kind = WW_PIECE_COPY;
    piece->n_bytes = n_bytes;
    piece->n_sources = 1;
    piece->sources = &p->sources[at];
    piece->tree_index = tree_index;
}

/* A file is its header and its tensors in order of offset, without a hole. */
static void describe(const struct ww_model *model, struct copy_plan *p)
{
    size_t at = 0;

    for (uint32_t i = 0; i < model->n_tensors; i++) {
        p->plan.tree[i].tensor = &model->tensors[i];
        p->plan.tree[i].rank = p->rank[i];
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        const struct ww_weight_file *file = &model->files[f];
        struct ww_output *output = &p->plan.outputs[f];
        p->plan.inputs[f].name = file->name;
        p->plan.inputs[f].fd = file->fd;
        p->plan.inputs[f].size_bytes = file->size_bytes;
        output->path = file->name;
        output->size_bytes = file->size_bytes;
        output->pieces = &p->pieces[at];
        output->n_pieces = 1 + file->n_tensors;
        add_piece(p, at++, f, 0, file->header_bytes, WW_NONE);
        for (uint32_t k = 0; k < file->n_tensors; k++) {
            uint32_t t = file->first_tensor + k;
            add_piece(p, at++, f, model->tensors[t].offset, model->tensors[t].n_bytes, t);
        }
    }
}

enum ww_err ww_model_digests(const struct ww_model *model,
                             uint8_t (*file_sha256)[WW_SHA256_BYTES],
                             uint8_t (*tensor_root)[WW_SHA256_BYTES],
                             const struct ww_run_options *run, struct ww_error *err)
{
    struct copy_plan p = {0};
    struct ww_stream_result result = {0};
    enum ww_err rc = allocate(model, &p, err);
    if (rc) {
        goto out;
    }
    describe(model, &p);
    rc = ww_stream_run(&p.plan, NULL, run, &result, err);
    if (rc) {
        goto out;
    }
    memcpy(file_sha256, result.output_sha256, model->n_files * sizeof(*file_sha256));
    memcpy(tensor_root, result.tensor_root, model->n_tensors * sizeof(*tensor_root));
    rc = ww_model_unchanged(model, err);
out:
    ww_stream_result_release(&result);
    release(&p);
    return rc;
}
