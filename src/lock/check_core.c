/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cores of a layout, block by block: norms and layer scales, attentions, MLPs, the
 * choice of experts. What is compared and how is in check_parts.c.
 */
#include "lock/check_core.h"

#include <string.h>

#include "arch/core.h"
#include "lock/check_parts.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err check_mlp(struct ww_checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_mlp *mlp = &c->layout->mlps[index];
    const struct ww_segment *gate_out = ww_check_output_segment(c, &mlp->gate);
    const struct ww_segment *up_out = ww_check_output_segment(c, &mlp->up);
    struct ww_element neurons = {0};
    struct ww_check_pair gate = {0};
    struct ww_check_pair up = {0};
    enum ww_err rc = ww_gauge_neurons(c->gauge, index, &neurons, err);

    if (!rc && mlp->gated) {
        rc = ww_check_pair_random(
            c, &neurons, gate_out ? gate_out->action : WW_ACT_PERMUTE, 1, &gate, err);
    }
    if (!rc) {
        rc = ww_check_pair_random(c, &neurons, up_out ? up_out->action : WW_ACT_DIRECT, 1,
                                  &up, err);
    }
    if (!rc) {
        ww_core_mlp(mlp, gate.before, up.before, up.before);
        ww_core_mlp(mlp, gate.after, up.after, up.after);
        rc = ww_check_same_moved(c, mlp->name, "MLP", &neurons, up.after, up.before, err);
    }
    ww_check_pair_free(&gate);
    ww_check_pair_free(&up);
    ww_element_release(&neurons);
    return rc;
}

static enum ww_err check_router(struct ww_checker *c, uint32_t index,
                                struct ww_error *err)
{
    const struct ww_moe *moe = &c->layout->moes[index];
    struct ww_element experts = {0};
    struct ww_check_pair scores = {0};
    struct ww_check_pair weights = {0};
    struct ww_check_pair correction = {0};
    enum ww_err rc = ww_gauge_experts(c->gauge, index, &experts, err);

    if (!rc) {
        rc = ww_check_pair_random(c, &experts, WW_ACT_DIRECT, 1, &scores, err);
    }
    if (!rc) {
        rc = ww_check_pair_random(c, &experts, WW_ACT_DIRECT, 1, &weights, err);
    }
    if (!rc) {
        rc = ww_check_pair_read(c, moe->correction, &correction, err);
    }
    if (!rc) {
        ww_core_route(moe, scores.before, correction.before, weights.before);
        ww_core_route(moe, scores.after, correction.after, weights.after);
        rc = ww_check_same_moved(c, moe->name, "choice of experts", &experts,
                                 weights.after, weights.before, err);
    }
    ww_check_pair_free(&scores);
    ww_check_pair_free(&weights);
    ww_check_pair_free(&correction);
    ww_element_release(&experts);
    return rc;
}

/* Two experts with one row in the router have one score whatever is read, and then their
 * numbers decide, which a lock changes. Corrections and biases may tell them apart. */
static enum ww_err check_ties(const struct ww_checker *c, const struct ww_moe *moe,
                              struct ww_error *err)
{
    const struct ww_model *model = c->layout->model;
    const struct ww_tensor *t =
        moe->router.weight == WW_NONE ? NULL : &model->tensors[moe->router.weight];
    uint8_t *rows = NULL;
    size_t row = 0;
    enum ww_err rc = WW_OK;

    if (!t || c->base || !moe->experts_move || moe->top_k >= moe->n_experts ||
        moe->correction != WW_NONE || moe->router.bias != WW_NONE || t->rank != 2 ||
        moe->router.out_axis != 0 || t->shape[0] != moe->n_experts) {
        return WW_OK;
    }
    rows = ww_calloc(t->n_bytes, 1);
    rc = rows ? ww_elements_bytes(model, moe->router.weight, 0, t->n_elements, rows, err)
              : WW_FAIL_MEMORY(err, "'%s'", t->name);
    row = (size_t)(t->n_bytes / moe->n_experts);
    for (size_t a = 1; a < moe->n_experts && !rc; a++) {
        for (size_t b = 0; b < a && !rc; b++) {
            if (memcmp(rows + a * row, rows + b * row, row) == 0) {
                rc =
                    WW_FAIL(err, WW_E_UNSUPPORTED,
                            "experts %zu and %zu have one and the same row in '%s': "
                            "which of them is chosen goes by their numbers, which a lock "
                            "changes",
                            b, a, t->name);
            }
        }
    }
    ww_free(rows);
    return rc;
}

static enum ww_err check_moe(struct ww_checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_moe *moe = &c->layout->moes[index];
    enum ww_err rc = check_ties(c, moe, err);

    rc = rc ? rc : check_router(c, index, err);
    for (uint32_t e = 0; e < moe->n_experts && !rc; e++) {
        rc = check_mlp(c, moe->first_mlp + e, err);
    }
    if (!rc && moe->shared_mlp != WW_NONE) {
        rc = check_mlp(c, moe->shared_mlp, err);
    }
    return rc;
}

static enum ww_err check_block(struct ww_checker *c, const struct ww_block *block,
                               struct ww_error *err)
{
    const struct {
        const char *part;
        const struct ww_norm *norm;
    } norms[] = {
        {"norm before attention", &block->norm_self},
        {"norm before cross-attention", &block->norm_cross},
        {"norm before the MLP", &block->norm_mlp},
        {"norm behind attention", &block->post_self},
        {"norm behind the MLP", &block->post_mlp},
    };
    struct ww_element still = {0};
    enum ww_err rc = WW_OK;

    c->stream = ww_gauge_stream(c->gauge, block->stack);
    if (block->form == WW_BLOCK_POOL) { /* its norms see what is no stream any more */
        ww_element_none(&still, c->stream->n);
        c->stream = &still;
    }
    for (size_t i = 0; i < WW_LEN(norms) && !rc; i++) {
        rc = ww_check_norm(c, block->name, norms[i].part, norms[i].norm, err);
    }
    rc = rc ? rc : ww_check_layer_scale(c, block->name, block->scale_self, err);
    rc = rc ? rc : ww_check_layer_scale(c, block->name, block->scale_mlp, err);
    if (!rc && block->self != WW_NONE) {
        rc = ww_check_attention(c, block->self, err);
    }
    if (!rc && block->cross != WW_NONE) {
        rc = ww_check_attention(c, block->cross, err);
    }
    if (!rc && block->mlp != WW_NONE) {
        rc = check_mlp(c, block->mlp, err);
    }
    if (!rc && block->moe != WW_NONE) {
        rc = check_moe(c, block->moe, err);
    }
    return rc;
}

/* BERT's masked-LM head has an activation between two maps of the residual stream. */
static enum ww_err check_head(struct ww_checker *c, struct ww_error *err)
{
    const struct ww_element *residual = c->stream;
    const struct ww_mlp act = {
        .name = "head", .n_neurons = residual->n, .act = c->layout->head_act};
    struct ww_check_pair x = {0};
    enum ww_err rc = WW_OK;

    if (c->layout->head_norm.kind == WW_NORM_NONE) {
        return WW_OK;
    }
    rc = ww_check_pair_random(c, residual, WW_ACT_DIRECT, 1, &x, err);
    if (!rc) {
        ww_core_mlp(&act, NULL, x.before, x.before);
        ww_core_mlp(&act, NULL, x.after, x.after);
        rc = ww_check_same_moved(c, "head", "activation", residual, x.after, x.before,
                                 err);
    }
    if (!rc) {
        rc = ww_check_norm(c, "head", "norm", &c->layout->head_norm, err);
    }
    ww_check_pair_free(&x);
    return rc;
}

enum ww_err ww_check_cores(const struct ww_gauge *gauge, const struct ww_weights *base,
                           double *max_error, struct ww_error *err)
{
    struct ww_checker c = {.gauge = gauge, .layout = gauge->layout, .base = base};
    enum ww_err rc = WW_OK;

    ww_lens_init(&c.lens, gauge, base);
    for (uint32_t b = 0; b < c.layout->n_blocks && !rc; b++) {
        rc = check_block(&c, &c.layout->blocks[b], err);
    }
    for (uint32_t s = 0; s < c.layout->n_stacks && !rc; s++) {
        const struct ww_stack *stack = &c.layout->stacks[s];
        c.stream = ww_gauge_stream(gauge, s);
        rc = ww_check_norm(&c, stack->name, "norm of the embeddings", &stack->embed_norm,
                           err);
        if (!rc) {
            rc = ww_check_norm(&c, stack->name, "last norm", &stack->final_norm, err);
        }
    }
    c.stream = &gauge->residual;
    rc = rc ? rc : check_head(&c, err);
    *max_error = c.max_error;
    return rc;
}
