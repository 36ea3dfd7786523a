/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output files have the names, sizes and headers of the locked ones. What the locked
 * folder carries as evidence (signature, attestations) is about other bytes and stays
 * behind.
 */
#include "attack/attack_plan.h"

#include <string.h>
#include <unistd.h>

#include "attack/blend_kernel.h"
#include "lock/lock_paths.h"
#include "stream/pieces.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define SHORT_ROW_BYTES 512

void ww_attack_plan_release(struct ww_attack_plan *plan)
{
    for (uint32_t i = 0; plan->side_fds && i < plan->n_sides; i++) {
        if (plan->side_fds[i] >= 0) {
            close(plan->side_fds[i]);
        }
    }
    ww_free(plan->side_fds);
    ww_free(plan->kernels);
    ww_free(plan->sources);
    ww_free(plan->pieces);
    ww_free(plan->plan.inputs);
    ww_free(plan->plan.outputs);
    ww_free(plan->readers);
    memset(plan, 0, sizeof(*plan));
}

static enum ww_err allocate(struct ww_attack_plan *plan, struct ww_error *err)
{
    const struct ww_model *model = plan->model;
    const size_t n_io = (size_t)model->n_files + model->n_side;
    const size_t n_pieces = n_io + model->n_tensors;

    plan->plan.inputs = ww_calloc(n_io, sizeof(*plan->plan.inputs));
    plan->plan.outputs = ww_calloc(n_io, sizeof(*plan->plan.outputs));
    plan->kernels = ww_calloc(model->n_tensors, sizeof(*plan->kernels));
    plan->sources = ww_calloc(n_pieces, sizeof(*plan->sources));
    plan->pieces = ww_calloc(n_pieces, sizeof(*plan->pieces));
    plan->side_fds = ww_calloc(model->n_side, sizeof(*plan->side_fds));
    plan->readers = ww_calloc(n_io, sizeof(*plan->readers));
    if (!plan->plan.inputs || !plan->plan.outputs || !plan->kernels || !plan->sources ||
        !plan->pieces || !plan->side_fds || !plan->readers) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    return WW_OK;
}

bool ww_attack_mixes(const struct ww_pair *pair, uint32_t tensor)
{
    bool clash = false;
    return ww_dense_axis(pair->locked, &pair->source, tensor, &clash) != WW_NO_AXIS;
}

static void short_rows(const struct ww_tensor *tensor, struct ww_piece *rows)
{
    rows->row_bytes = tensor->n_bytes;
    for (unsigned a = 0; a < tensor->rank && tensor->shape[a] > 0; a++) {
        const uint64_t shorter = rows->row_bytes / tensor->shape[a];
        rows->row_bytes = shorter >= SHORT_ROW_BYTES ? shorter : rows->row_bytes;
    }
    rows->n_rows = tensor->n_bytes / rows->row_bytes;
}

static void choose_kernel(struct ww_attack_piece *kernel)
{
    if (kernel->job->pair->blend) {
        kernel->inner = &ww_blend_kernel;
        kernel->params = kernel;
    } else if (kernel->undo == WW_UNDO_DENSE) {
        kernel->inner = &ww_dense_kernel;
        kernel->params = &kernel->dense;
    } else if (kernel->undo == WW_UNDO_MOVES) {
        kernel->inner = &ww_lock_kernel;
        kernel->params = &kernel->lock;
    }
}

enum ww_err ww_attack_piece_init(const struct ww_attack_job *job, uint32_t t,
                                 uint32_t output, struct ww_attack_piece *kernel,
                                 struct ww_piece *rows, struct ww_error *err)
{
    const struct ww_layout *layout = job->pair->locked;
    struct ww_tensor_view view;
    enum ww_err rc = WW_OK;

    *kernel = (struct ww_attack_piece){
        .job = job, .output = output, .lock = {&job->lock, t}, .dense = {&job->dense, t}};
    if (ww_attack_mixes(job->pair, t)) {
        kernel->undo = WW_UNDO_DENSE;
        rc = ww_dense_view(&job->pair->gauge, &job->pair->source, t, &rows->n_rows,
                           &rows->row_bytes, err);
    } else if (ww_tensor_moves(layout, t)) {
        kernel->undo = WW_UNDO_MOVES;
        ww_tensor_view(layout, t, &view);
        rows->n_rows = view.n_rows;
        rows->row_bytes = view.row_bytes;
    } else {
        short_rows(&layout->model->tensors[output], rows);
    }
    choose_kernel(kernel);
    return rc;
}

static enum ww_err plan_tensor(struct ww_attack_plan *plan,
                               const struct ww_attack_job *job, uint32_t t,
                               struct ww_piece *pieces, struct ww_piece_source *sources,
                               struct ww_error *err)
{
    const struct ww_model *model = plan->model;
    uint32_t output = t;
    enum ww_err rc = ww_axis_source(&job->pair->gauge, t, &output, err);

    if (rc) {
        return rc;
    }
    const struct ww_tensor *tensor = &model->tensors[output];
    struct ww_piece *piece = &pieces[output];
    const bool plain = ww_dtype_is_plain_float(tensor->dtype) && tensor->n_bytes > 0 &&
                       ww_pair_tensor(job->pair, output) != WW_NONE;

    sources[output] =
        (struct ww_piece_source){model->tensors[t].file, model->tensors[t].offset};
    *piece = (struct ww_piece){.kind = plain ? WW_PIECE_KERNEL : WW_PIECE_COPY,
                               .n_bytes = tensor->n_bytes,
                               .n_sources = 1,
                               .sources = &sources[output],
                               .tree_index = WW_NONE};
    if (!plain) {
        return WW_OK;
    }
    piece->kernel = &ww_attack_kernel;
    piece->params = &plan->kernels[output];
    ww_sha256_of(tensor->name, strlen(tensor->name), piece->params_digest);
    rc = ww_attack_piece_init(job, t, output, &plan->kernels[output], piece, err);
    if (!rc && !job->scores && !plan->kernels[output].inner) {
        piece->kind = WW_PIECE_COPY; /* its bytes stay, and nobody scores them */
    }
    return rc;
}

/* Pieces of all files: first those of tensors, by tensor, then put in file order. */
static enum ww_err plan_weights(struct ww_attack_plan *plan,
                                const struct ww_attack_job *job, struct ww_error *err)
{
    const struct ww_model *model = plan->model;
    struct ww_piece *by_tensor = ww_calloc(model->n_tensors, sizeof(*by_tensor));
    struct ww_piece *piece = plan->pieces;
    struct ww_piece_source *header = plan->sources + model->n_tensors;
    enum ww_err rc = WW_OK;

    if (!by_tensor) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = plan_tensor(plan, job, t, by_tensor, plan->sources, err);
    }
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_weight_file *file = &model->files[f];
        plan->plan.inputs[f] =
            (struct ww_input){file->name, file->fd, file->size_bytes, false};
        plan->readers[f] = file->reader;
        plan->plan.outputs[f] =
            (struct ww_output){file->name, file->size_bytes, piece, 1 + file->n_tensors};
        *header = (struct ww_piece_source){f, 0};
        *piece++ = ww_piece_header(file, header++);
        memcpy(piece, by_tensor + file->first_tensor, file->n_tensors * sizeof(*piece));
        piece += file->n_tensors;
    }
    plan->plan.n_inputs = plan->plan.n_outputs = model->n_files;
    plan->plan.readers = plan->readers;
    ww_free(by_tensor);
    return rc;
}

static enum ww_err plan_side(struct ww_attack_plan *plan, const struct ww_side_file *side,
                             struct ww_error *err)
{
    const struct ww_model *model = plan->model;
    const uint32_t at = plan->plan.n_inputs;
    const size_t place = (size_t)at + model->n_tensors;
    int *fd = &plan->side_fds[plan->n_sides++];
    struct stat st;
    enum ww_err rc = WW_OK;

    *fd = -1;
    rc = ww_file_open_at(model->dirfd, side->path, WW_LINKS_HUB, fd, &st, err);
    if (rc) {
        return rc;
    }
    plan->plan.inputs[at] = (struct ww_input){side->path, *fd, side->size_bytes, false};
    plan->sources[place] = (struct ww_piece_source){at, 0};
    plan->pieces[place] = ww_piece_copy(side->size_bytes, &plan->sources[place]);
    plan->plan.outputs[at] =
        (struct ww_output){side->path, side->size_bytes, &plan->pieces[place], 1};
    plan->plan.n_inputs++;
    plan->plan.n_outputs++;
    return WW_OK;
}

enum ww_err ww_attack_plan_init(struct ww_attack_plan *plan,
                                const struct ww_attack_job *job, bool writes,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(plan, 0, sizeof(*plan));
    plan->plan.title = "attack";
    plan->model = job->pair->locked->model;
    rc = allocate(plan, err);
    if (!rc) {
        rc = plan_weights(plan, job, err);
    }
    for (uint32_t i = 0; i < plan->model->n_side && writes && !rc; i++) {
        if (!ww_is_evidence(plan->model->side[i].path)) {
            rc = plan_side(plan, &plan->model->side[i], err);
        }
    }
    if (rc) {
        ww_attack_plan_release(plan);
    }
    return rc;
}
