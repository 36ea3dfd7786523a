/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block of the locked model on S x gives S y where the attacked one on x gives y. A
 * whole model would take minutes in the reference forward pass; a few blocks, first and
 * last among them, show whether a solve has kept the products of its heads.
 */
#include "attack/drift.h"

#include <math.h>
#include <string.h>

#include "attack/blend_kernel.h"
#include "lock/activation.h"
#include "lock/tensor_map.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/forward.h"

#define TOKENS 4
#define BLOCKS 4
#define MOST_BYTES (UINT64_C(512) << 20)

struct view {
    const struct ww_attack_job *job;
    uint32_t *from; /* locked tensor of each output tensor */
};

/* The bytes of an output tensor, made of those of locked tensor t. */
static enum ww_err make(const struct ww_attack_job *job, uint32_t t, uint32_t output,
                        const void *in, void *out, struct ww_error *err)
{
    struct ww_attack_piece piece;
    struct ww_piece rows;
    enum ww_err rc = ww_attack_piece_init(job, t, output, &piece, &rows, err);

    if (rc) {
        return rc;
    }
    if (job->pair->blend && ww_pair_tensor(job->pair, output) != WW_NONE &&
        ww_dtype_is_plain_float(job->pair->locked->model->tensors[output].dtype)) {
        return ww_blend_tensor(&piece, rows.n_rows, rows.row_bytes, in, out, err);
    }
    switch (piece.undo) {
    case WW_UNDO_DENSE:
        return ww_dense_tensor(&job->dense, t, in, out, err);
    case WW_UNDO_MOVES:
        return ww_lock_tensor(&job->lock, t, in, out, err);
    case WW_UNDO_NOTHING:
        break;
    }
    memcpy(out, in, (size_t)job->pair->locked->model->tensors[t].n_bytes);
    return WW_OK;
}

static enum ww_err view_get(void *payload, uint32_t tensor, void **bytes,
                            struct ww_error *err)
{
    const struct view *view = payload;
    const struct ww_pair *pair = view->job->pair;
    const struct ww_model *model = pair->locked->model;
    const uint32_t t = view->from[tensor];
    const size_t n = (size_t)model->tensors[t].n_bytes;
    void *in = ww_alloc_aligned(64, n + 64);
    enum ww_err rc = WW_OK;

    *bytes = ww_alloc_aligned(64, n + 64);
    if (!in || !*bytes) {
        rc = WW_FAIL_MEMORY(err, "'%s'", model->tensors[t].name);
    }
    if (!rc) {
        rc = ww_model_read(model, t, in, err);
    }
    if (!rc) {
        rc = make(view->job, t, tensor, in, *bytes, err);
    }
    ww_free(in);
    if (rc) {
        ww_free(*bytes);
        *bytes = NULL;
    }
    return rc;
}

static void view_release(void *payload, uint32_t tensor, void *bytes)
{
    (void)payload;
    (void)tensor;
    ww_free(bytes);
}

static enum ww_err view_init(struct view *view, const struct ww_attack_job *job,
                             struct ww_error *err)
{
    const uint32_t n = job->pair->locked->model->n_tensors;
    enum ww_err rc = WW_OK;

    view->job = job;
    view->from = ww_calloc(n, sizeof(*view->from));
    if (!view->from) {
        return WW_FAIL_MEMORY(err, "a check");
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        uint32_t output = t;
        rc = ww_axis_source(&job->pair->gauge, t, &output, err);
        view->from[output] = t;
    }
    return rc;
}

/* Numbers of one block, widened twice over by the two forward passes. */
static uint64_t block_bytes(const struct ww_layout *layout, uint32_t block)
{
    uint64_t n = 0;

    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        n +=
            layout->bindings[t].block == block ? layout->model->tensors[t].n_elements : 0;
    }
    return 8 * n;
}

static bool serves(const struct ww_layout *layout, uint32_t block)
{
    const struct ww_block *b = &layout->blocks[block];

    return !(layout->no_forward && layout->no_forward[0]) && !b->uncovered &&
           block_bytes(layout, block) <= MOST_BYTES;
}

/* The element of the stream that a stack reads and writes, NULL when it stays. */
static const struct ww_element *frame_of(const struct ww_pair *pair, uint32_t stack)
{
    const struct ww_residual *stream = ww_layout_stream(pair->locked, stack);
    const struct ww_element *e =
        stream->space == WW_NONE ? NULL : &pair->given.spaces[stream->space];

    return e && e->perm ? e : NULL;
}

struct rows {
    size_t width;
    double *x, *y, *lx, *ly, *enc, *lenc; /* TOKENS rows each */
};

static void to_locked(const struct ww_element *frame, const struct rows *rows,
                      const double *x, double *out)
{
    for (size_t t = 0; t < TOKENS; t++) {
        if (frame) {
            ww_element_apply(frame, WW_ACT_DIRECT, x + t * rows->width,
                             out + t * rows->width);
        } else {
            memcpy(out + t * rows->width, x + t * rows->width,
                   rows->width * sizeof(*out));
        }
    }
}

static double compare(const struct ww_element *frame, const struct rows *rows)
{
    const size_t n = TOKENS * rows->width;
    double added = 0;

    for (size_t i = 0; i < n; i++) {
        added = fmax(added, fabs(rows->y[i] - rows->x[i]));
    }
    to_locked(frame, rows, rows->y, rows->lx);
    return added > 0 ? ww_largest_difference(rows->lx, rows->ly, n) / added : 0;
}

static enum ww_err run_block(const struct ww_pair *pair, struct ww_forward *made,
                             struct ww_forward *locked, uint32_t b,
                             const struct rows *rows, double *drift, struct ww_error *err)
{
    static const uint64_t positions[TOKENS] = {0, 1, 2, 3};
    const struct ww_block *block = &pair->locked->blocks[b];
    const struct ww_element *frame = frame_of(pair, block->stack);
    const size_t m = block->cross != WW_NONE ? TOKENS : 0;
    uint64_t state = 77 + b;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < TOKENS * rows->width; i++) {
        rows->x[i] = ww_random_activation(&state);
        rows->enc[i] = ww_random_activation(&state);
    }
    to_locked(frame, rows, rows->x, rows->lx);
    to_locked(frame, rows, rows->enc, rows->lenc);
    rc = ww_forward_block(made, b, rows->x, rows->y, positions, TOKENS,
                          m ? rows->enc : NULL, m, err);
    if (!rc) {
        rc = ww_forward_block(locked, b, rows->lx, rows->ly, positions, TOKENS,
                              m ? rows->lenc : NULL, m, err);
    }
    if (!rc) {
        *drift = fmax(*drift, compare(frame, rows));
    }
    return rc;
}

static enum ww_err run_blocks(const struct ww_pair *pair, struct ww_forward *made,
                              struct ww_forward *locked, bool *known, double *drift,
                              struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    const uint32_t n = layout->n_blocks < BLOCKS ? layout->n_blocks : BLOCKS;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < n && !rc; i++) {
        const uint32_t b = n > 1 ? i * (layout->n_blocks - 1) / (n - 1) : 0;
        const size_t width =
            (size_t)ww_layout_stream(layout, layout->blocks[b].stack)->width;
        const size_t len = TOKENS * width;
        double *all = ww_calloc(6 * len, sizeof(*all));
        const struct rows rows = {width,         all,           all + len,
                                  all + 2 * len, all + 3 * len, all + 4 * len,
                                  all + 5 * len};
        if (!all) {
            return WW_FAIL_MEMORY(err, "a check");
        }
        if (serves(layout, b)) {
            rc = run_block(pair, made, locked, b, &rows, drift, err);
            *known = !rc;
        }
        ww_free(all);
    }
    return rc;
}

enum ww_err ww_attack_drift(const struct ww_attack_job *job, bool *known, double *drift,
                            struct ww_error *err)
{
    const struct ww_layout *layout = job->pair->locked;
    struct view view = {0};
    const struct ww_weights weights = {view_get, view_release, &view};
    struct ww_forward *made = NULL;
    struct ww_forward *locked = NULL;
    enum ww_err rc = view_init(&view, job, err);

    *known = false;
    *drift = 0;
    if (!rc) {
        rc = ww_forward_new(layout, &weights, &made, err);
    }
    if (!rc) {
        rc = ww_forward_new(layout, NULL, &locked, err);
    }
    if (!rc) {
        rc = run_blocks(job->pair, made, locked, known, drift, err);
    }
    if (rc == WW_E_UNSUPPORTED) {
        ww_error_clear(err);
        *known = false;
        rc = WW_OK;
    }
    ww_forward_free(made);
    ww_forward_free(locked);
    ww_free(view.from);
    return rc;
}
