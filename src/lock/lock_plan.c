/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locked files have the names, sizes and headers of the originals, so every tool that
 * reads the one reads the other, and undoing a lock restores whole files bit for bit.
 */
#include "lock/lock_plan.h"

#include <string.h>
#include <unistd.h>

#include "lock/draw.h"
#include "stream/pieces.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define PLAN_LABEL "weightward/lock/plan/v1"
#define PLAN_KEY_BYTES 32

void ww_side_copies_free(struct ww_side_copy *sides, uint32_t n_sides)
{
    for (uint32_t i = 0; sides && i < n_sides; i++) {
        ww_free(sides[i].from);
        ww_free(sides[i].to);
    }
    ww_free(sides);
}

void ww_lock_plan_release(struct ww_lock_plan *plan)
{
    for (uint32_t i = 0; plan->side_fds && i < plan->n_sides; i++) {
        if (plan->side_fds[i] >= 0) {
            close(plan->side_fds[i]);
        }
    }
    ww_side_copies_free(plan->sides, plan->n_sides);
    ww_free(plan->side_fds);
    ww_free(plan->kernels);
    ww_free(plan->mixers);
    ww_free(plan->sources);
    ww_free(plan->pieces);
    ww_free(plan->order);
    ww_free(plan->rank);
    ww_free(plan->plan.inputs);
    ww_free(plan->readers);
    ww_free(plan->trees);
    ww_free(plan->plan.outputs);
    ww_free(plan->plan.tree);
    memset(plan, 0, sizeof(*plan));
}

static enum ww_err allocate(struct ww_lock_plan *plan, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    const size_t n_io = (size_t)model->n_files + plan->n_sides;
    const size_t n_pieces = n_io + model->n_tensors;

    plan->plan.inputs = ww_calloc(n_io, sizeof(*plan->plan.inputs));
    plan->plan.outputs = ww_calloc(n_io, sizeof(*plan->plan.outputs));
    plan->readers = ww_calloc(n_io, sizeof(*plan->readers));
    plan->plan.readers = plan->readers;
    plan->kernels = ww_calloc(model->n_tensors, sizeof(*plan->kernels));
    plan->mixers = ww_calloc(model->n_tensors, sizeof(*plan->mixers));
    plan->sources = ww_calloc(n_pieces, sizeof(*plan->sources));
    plan->pieces = ww_calloc(n_pieces, sizeof(*plan->pieces));
    plan->side_fds = ww_calloc(plan->n_sides, sizeof(*plan->side_fds));
    if (!plan->plan.inputs || !plan->plan.outputs || !plan->readers || !plan->kernels ||
        !plan->mixers || !plan->sources || !plan->pieces || !plan->side_fds) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    plan->plan.n_inputs = plan->plan.n_outputs = (uint32_t)n_io;
    for (uint32_t i = 0; i < plan->n_sides; i++) {
        plan->side_fds[i] = -1;
    }
    return WW_OK;
}

static enum ww_err plan_tree(struct ww_lock_plan *plan, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    enum ww_err rc = ww_tree_order(model, &plan->order, &plan->rank, err);

    if (rc) {
        return rc;
    }
    plan->plan.tree = ww_calloc(model->n_tensors, sizeof(*plan->plan.tree));
    if (!plan->plan.tree) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    plan->plan.n_tree = model->n_tensors;
    for (uint32_t k = 0; k < model->n_tensors; k++) {
        plan->plan.tree[k] = (struct ww_tree_slot){&model->tensors[plan->order[k]], k};
    }
    return WW_OK;
}

/* The locked side of each output tensor's map, and the tensor that it reads. */
static enum ww_err pair_tensors(struct ww_lock_plan *plan, const struct ww_lock_job *job,
                                uint32_t *reads, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < plan->layout->model->n_tensors && !rc; t++) {
        uint32_t source = t;
        rc = ww_axis_source(job->gauge, t, &source, err);
        if (!rc) {
            const uint32_t output = job->inverse ? source : t;
            plan->kernels[output] = (struct ww_lock_piece){job, t};
            reads[output] = job->inverse ? t : source;
        }
    }
    return rc;
}

struct digester {
    struct ww_sha256 *sha;
    uint8_t key[PLAN_KEY_BYTES];
};

/* What decides the bytes beside the plan itself: the key, through a value derived from
 * it, the direction, the options and the tensor's name. */
static void digest_params(const struct digester *d, const struct ww_lock_piece *kernel,
                          const char *name, uint8_t out[WW_SHA256_BYTES])
{
    const struct ww_lock_job *job = kernel->job;
    const uint8_t flags[2] = {job->inverse, job->gauge->scale};

    ww_sha256_reset(d->sha);
    ww_sha256_update(d->sha, d->key, sizeof(d->key));
    ww_sha256_update(d->sha, flags, sizeof(flags));
    if (job->dense) {
        ww_sha256_update(d->sha, &job->dense_condition, sizeof(job->dense_condition));
    }
    ww_sha256_update(d->sha, name, strlen(name) + 1);
    ww_sha256_final(d->sha, out);
}

static enum ww_err check_dtype(const struct ww_tensor *t, struct ww_error *err)
{
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "tensor '%s' is stored as %s; lock the original checkpoint (BF16, F16, "
            "F32 or F64), then quantise it",
            t->name, ww_dtype_name(t->dtype));
    }
    return WW_OK;
}

/* A tensor that cells mix: rows are whole heads there, see dense_map.h. */
static enum ww_err plan_mixer(const struct ww_lock_piece *kernel,
                              struct ww_dense_piece *mixer, struct ww_piece *piece,
                              struct ww_error *err)
{
    const struct ww_dense_job *job = kernel->job->dense;

    *mixer = (struct ww_dense_piece){job, kernel->tensor};
    piece->kernel = &ww_dense_kernel;
    piece->params = mixer;
    return ww_dense_view(job->gauge, job->source, kernel->tensor, &piece->n_rows,
                         &piece->row_bytes, err);
}

static bool has_cells(const struct ww_lock_piece *kernel, const struct ww_layout *layout)
{
    const struct ww_dense_job *job = kernel->job->dense;
    bool clash = false;

    return job &&
           ww_dense_axis(layout, job->source, kernel->tensor, &clash) != WW_NO_AXIS;
}

static enum ww_err plan_tensor(struct ww_lock_plan *plan, uint32_t output, uint32_t reads,
                               const struct digester *d, struct ww_piece *piece,
                               struct ww_piece_source *source, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    const struct ww_tensor *t = &model->tensors[output];
    const struct ww_lock_piece *kernel = &plan->kernels[output];
    const bool moves = ww_tensor_moves(plan->layout, kernel->tensor);
    struct ww_tensor_view view;
    enum ww_err rc = WW_OK;

    *source = (struct ww_piece_source){model->tensors[reads].file,
                                       model->tensors[reads].offset};
    *piece = (struct ww_piece){.kind = moves ? WW_PIECE_KERNEL : WW_PIECE_COPY,
                               .n_bytes = t->n_bytes,
                               .n_sources = 1,
                               .sources = source,
                               .tree_index = plan->rank ? plan->rank[output] : WW_NONE};
    plan->n_changed += moves || reads != output;
    if (!moves) {
        return WW_OK;
    }
    digest_params(d, kernel, t->name, piece->params_digest);
    rc = check_dtype(t, err);
    if (!rc && has_cells(kernel, plan->layout)) {
        return plan_mixer(kernel, &plan->mixers[output], piece, err);
    }
    ww_tensor_view(plan->layout, kernel->tensor, &view);
    piece->n_rows = view.n_rows;
    piece->row_bytes = view.row_bytes;
    piece->kernel = &ww_lock_kernel;
    piece->params = kernel;
    return rc;
}

static enum ww_err plan_weights(struct ww_lock_plan *plan, const uint32_t *reads,
                                const struct digester *d, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    struct ww_piece *piece = plan->pieces;
    struct ww_piece_source *source = plan->sources;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_weight_file *file = &model->files[f];
        plan->plan.inputs[f] =
            (struct ww_input){file->name, file->fd, file->size_bytes, true};
        plan->readers[f] = file->reader;
        plan->plan.outputs[f] =
            (struct ww_output){file->name, file->size_bytes, piece, 1 + file->n_tensors};
        *source = (struct ww_piece_source){f, 0};
        *piece++ = ww_piece_header(file, source++);
        for (uint32_t i = 0; i < file->n_tensors && !rc; i++) {
            const uint32_t t = file->first_tensor + i;
            rc = plan_tensor(plan, t, reads[t], d, piece++, source++, err);
        }
    }
    return rc;
}

static enum ww_err plan_side(struct ww_lock_plan *plan, uint32_t i, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    const struct ww_side_copy *side = &plan->sides[i];
    const uint32_t at = model->n_files + i;
    const size_t place = (size_t)at + model->n_tensors;
    struct stat st;
    enum ww_err rc = ww_file_open_at(model->dirfd, side->from, WW_LINKS_HUB,
                                     &plan->side_fds[i], &st, err);

    if (rc) {
        return rc;
    }
    if ((uint64_t)st.st_size != side->size_bytes) {
        return WW_FAIL(err, WW_E_CHANGED, "file '%s' has %llu bytes, expected %llu",
                       side->from, (unsigned long long)st.st_size,
                       (unsigned long long)side->size_bytes);
    }
    plan->plan.inputs[at] =
        (struct ww_input){side->from, plan->side_fds[i], side->size_bytes, false};
    plan->sources[place] = (struct ww_piece_source){at, 0};
    plan->pieces[place] = ww_piece_copy(side->size_bytes, &plan->sources[place]);
    plan->plan.outputs[at] =
        (struct ww_output){side->to, side->size_bytes, &plan->pieces[place], 1};
    return WW_OK;
}

enum ww_err ww_lock_plan_init(struct ww_lock_plan *plan, const struct ww_lock_job *job,
                              const char *title, bool with_tree,
                              struct ww_side_copy *sides, uint32_t n_sides,
                              struct ww_error *err)
{
    const struct ww_model *model = job->gauge->layout->model;
    struct digester d = {0};
    uint32_t *reads = NULL;
    enum ww_err rc = WW_OK;

    memset(plan, 0, sizeof(*plan));
    plan->plan.title = title;
    plan->layout = job->gauge->layout;
    plan->sides = sides;
    plan->n_sides = n_sides;
    rc = allocate(plan, err);
    if (!rc && with_tree) {
        rc = plan_tree(plan, err);
    }
    if (!rc) {
        rc = ww_sha256_new(&d.sha, err);
    }
    if (!rc) {
        rc = ww_draw_key(job->gauge->prk, PLAN_LABEL, NULL, 0, d.key, sizeof(d.key), err);
    }
    if (rc) {
        goto out;
    }
    reads = ww_calloc(model->n_tensors, sizeof(*reads));
    if (!reads) {
        rc = WW_FAIL_MEMORY(err, "a plan");
        goto out;
    }
    rc = pair_tensors(plan, job, reads, err);
    if (!rc) {
        rc = plan_weights(plan, reads, &d, err);
    }
    for (uint32_t i = 0; i < n_sides && !rc; i++) {
        rc = plan_side(plan, i, err);
    }
out:
    ww_wipe(d.key, sizeof(d.key));
    ww_sha256_free(d.sha);
    ww_free(reads);
    if (rc) {
        ww_lock_plan_release(plan);
    }
    return rc;
}
