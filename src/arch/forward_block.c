/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block: its parts in the order that its form says. The residual stream is kept in
 * double and every branch is added to it whole.
 */
#include "arch/forward_impl.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

/* A block at work: the stream, and room for a branch. */
struct work {
    struct ww_forward *f;
    const struct ww_block *block;
    const struct ww_fw_context *in;
    size_t n; /* in->n */
    size_t width;
    double *stream; /* [n, D] */
    double *normed; /* [n, D] */
    double *branch; /* [n, D] */
};

static enum ww_err layer_scale(struct work *w, uint32_t tensor, double *rows,
                               struct ww_error *err)
{
    double *scale = NULL;
    enum ww_err rc = ww_fw_vector(w->f, tensor, w->width, &scale, err);
    for (size_t i = 0; !rc && scale && i < w->n * w->width; i++) {
        rows[i] *= scale[i % w->width];
    }
    ww_free(scale);
    return rc;
}

static void add_branch(struct work *w)
{
    double factor = w->block->residual_multiplier;
    for (size_t i = 0; i < w->n * w->width; i++) {
        w->stream[i] += factor * w->branch[i];
    }
}

static enum ww_err norm(struct work *w, const struct ww_norm *norm, const double *x,
                        double *y, struct ww_error *err)
{
    return ww_fw_norm(w->f, norm, x, y, w->n, w->width, err);
}

/* branch = attention(rows), LayerScale included. */
static enum ww_err self_branch(struct work *w, const double *rows, struct ww_error *err)
{
    const struct ww_attention *att = &w->f->layout->attentions[w->block->self];
    const struct ww_fw_attended attended = {.x = rows,
                                            .positions = w->in->positions,
                                            .n = w->n,
                                            .source = rows,
                                            .m = w->n,
                                            .past = w->in->past};
    enum ww_err rc = ww_fw_attention(w->f, att, &attended, w->branch, err);
    if (rc) {
        return rc;
    }
    return layer_scale(w, w->block->scale_self, w->branch, err);
}

static enum ww_err cross_branch(struct work *w, const double *rows, struct ww_error *err)
{
    const struct ww_attention *att = &w->f->layout->attentions[w->block->cross];
    const struct ww_fw_attended attended = {.x = rows,
                                            .positions = w->in->positions,
                                            .n = w->n,
                                            .source = w->in->encoder,
                                            .m = w->in->m};
    if (!w->in->encoder || w->in->m == 0) {
        return WW_FAIL(err, WW_E_USAGE, "block '%s' reads an encoder and none was given",
                       w->block->name);
    }
    return ww_fw_attention(w->f, att, &attended, w->branch, err);
}

static enum ww_err feed_branch(struct work *w, const double *rows, struct ww_error *err)
{
    enum ww_err rc = ww_fw_feed(w->f, w->block, rows, w->n, w->branch, err);
    if (rc) {
        return rc;
    }
    return layer_scale(w, w->block->scale_mlp, w->branch, err);
}

typedef enum ww_err (*branch_fn)(struct work *w, const double *rows,
                                 struct ww_error *err);

/* x += post(branch(pre(x))) */
static enum ww_err pre_step(struct work *w, const struct ww_norm *pre, branch_fn branch,
                            const struct ww_norm *post, struct ww_error *err)
{
    enum ww_err rc = norm(w, pre, w->stream, w->normed, err);
    if (rc) {
        return rc;
    }
    rc = branch(w, w->normed, err);
    if (rc) {
        return rc;
    }
    if (post) {
        rc = norm(w, post, w->branch, w->branch, err);
        if (rc) {
            return rc;
        }
    }
    add_branch(w);
    return WW_OK;
}

/* x = norm(x + branch(x)) */
static enum ww_err post_step(struct work *w, const struct ww_norm *behind,
                             branch_fn branch, struct ww_error *err)
{
    enum ww_err rc = branch(w, w->stream, err);
    if (rc) {
        return rc;
    }
    add_branch(w);
    return norm(w, behind, w->stream, w->stream, err);
}

/* The parts of a block one after the other, each with the norms of its form. */
static enum ww_err run_sequence(struct work *w, struct ww_error *err)
{
    const struct ww_block *block = w->block;
    bool sandwich = block->form == WW_BLOCK_SANDWICH;
    const struct {
        bool present;
        const struct ww_norm *norm, *post;
        branch_fn branch;
    } parts[] = {
        {block->self != WW_NONE, &block->norm_self, sandwich ? &block->post_self : NULL,
         self_branch},
        {block->cross != WW_NONE, &block->norm_cross, NULL, cross_branch},
        {block->mlp != WW_NONE || block->moe != WW_NONE, &block->norm_mlp,
         sandwich ? &block->post_mlp : NULL, feed_branch},
    };
    for (size_t i = 0; i < WW_LEN(parts); i++) {
        enum ww_err rc = WW_OK;
        if (parts[i].present && block->form == WW_BLOCK_POST) {
            rc = post_step(w, parts[i].norm, parts[i].branch, err);
        } else if (parts[i].present) {
            rc = pre_step(w, parts[i].norm, parts[i].branch, parts[i].post, err);
        }
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* Both branches read the block's input: the MLP's is taken before attention is added. */
static enum ww_err run_parallel(struct work *w, struct ww_error *err)
{
    const struct ww_block *block = w->block;
    double *input = NULL;
    enum ww_err rc = ww_fw_alloc(&input, w->n, w->width, err);
    if (rc) {
        goto out;
    }
    /* Some models give the MLP no norm of its own: it reads the attention's. */
    bool shared = block->norm_mlp.kind == WW_NORM_NONE;
    rc = norm(w, shared ? &block->norm_self : &block->norm_mlp, w->stream, input, err);
    if (rc) {
        goto out;
    }
    rc = pre_step(w, &block->norm_self, self_branch, NULL, err);
    if (rc) {
        goto out;
    }
    rc = feed_branch(w, input, err);
    if (rc) {
        goto out;
    }
    add_branch(w);
out:
    ww_free(input);
    return rc;
}

/* Pooling: what attention gives replaces the stream. */
static enum ww_err run_pool(struct work *w, struct ww_error *err)
{
    enum ww_err rc = self_branch(w, w->stream, err);
    if (rc) {
        return rc;
    }
    memcpy(w->stream, w->branch, w->n * w->width * sizeof(*w->stream));
    return pre_step(w, &w->block->norm_mlp, feed_branch, NULL, err);
}

enum ww_err ww_fw_block(struct ww_forward *f, uint32_t block,
                        const struct ww_fw_context *in, const double *x, double *y,
                        struct ww_error *err)
{
    struct work w = {.f = f, .in = in, .n = in->n, .stream = y};
    const struct ww_layout *whole = f->layout;
    struct ww_layout seen =
        *whole; /* as the block's stack sees it: with its own stream */
    enum ww_err rc = WW_OK;
    if (block >= f->layout->n_blocks) {
        rc = WW_FAIL(err, WW_E_USAGE, "block %u asked for, the model has %u", block,
                     f->layout->n_blocks);
        goto out;
    }
    w.block = &f->layout->blocks[block];
    if (w.block->uncovered) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "block '%s' has %s, which the reference forward pass does not cover",
                     w.block->name, w.block->uncovered);
        goto out;
    }
    seen.residual = *ww_layout_stream(whole, w.block->stack);
    w.width = (size_t)seen.residual.width;
    f->layout = &seen;
    rc = ww_fw_alloc(&w.normed, w.n, w.width, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&w.branch, w.n, w.width, err);
    if (rc) {
        goto out;
    }
    memmove(y, x, w.n * w.width * sizeof(*y));
    rc = w.block->form == WW_BLOCK_PARALLEL ? run_parallel(&w, err)
         : w.block->form == WW_BLOCK_POOL   ? run_pool(&w, err)
                                            : run_sequence(&w, err);
out:
    ww_fw_release(f);
    f->layout = whole;
    ww_free(w.normed);
    ww_free(w.branch);
    return rc;
}

enum ww_err ww_forward_block(struct ww_forward *forward, uint32_t block, const double *x,
                             double *y, const uint64_t *positions, size_t n,
                             const double *encoder, size_t m, struct ww_error *err)
{
    const struct ww_fw_context in = {
        .positions = positions, .n = n, .encoder = encoder, .m = m};
    return ww_fw_block(forward, block, &in, x, y, err);
}
