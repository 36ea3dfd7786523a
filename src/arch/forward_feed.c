/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MLP of a block, or its experts (Shazeer et al., arXiv 1701.06538): tokens are
 * gathered per chosen expert and their weighted outputs added in the order of experts, so
 * an expert that no token chose is never read.
 */
#include "arch/forward_impl.h"

#include <math.h>
#include <string.h>

#include "arch/core.h"
#include "arch/core_dot.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err run_mlp(struct ww_forward *f, const struct ww_mlp *mlp,
                           const double *x, size_t n, double *y, struct ww_error *err)
{
    uint64_t width = f->layout->residual.width;
    double *gate = NULL;
    double *up = NULL;
    enum ww_err rc = ww_fw_alloc(&up, n, mlp->n_neurons, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_linear(f, &mlp->up, x, n, width, up, mlp->n_neurons, err);
    if (rc) {
        goto out;
    }
    if (mlp->gated) {
        rc = ww_fw_alloc(&gate, n, mlp->n_neurons, err);
        if (rc) {
            goto out;
        }
        rc = ww_fw_linear(f, &mlp->gate, x, n, width, gate, mlp->n_neurons, err);
        if (rc) {
            goto out;
        }
    }
    for (size_t t = 0; t < n; t++) {
        double *row = up + t * mlp->n_neurons;
        ww_core_mlp(mlp, gate ? gate + t * mlp->n_neurons : NULL, row, row);
    }
    rc = ww_fw_linear(f, &mlp->down, up, n, mlp->n_neurons, y, width, err);
    for (size_t i = 0; !rc && mlp->down_multiplier != 1 && i < n * width; i++) {
        y[i] *= mlp->down_multiplier;
    }
out:
    ww_free(gate);
    ww_free(up);
    return rc;
}

static enum ww_err route(struct ww_forward *f, const struct ww_moe *moe, const double *x,
                         size_t n, double *weights, struct ww_error *err)
{
    double *scores = NULL;
    double *correction = NULL;
    enum ww_err rc = ww_fw_alloc(&scores, n, moe->n_experts, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_vector(f, moe->correction, moe->n_experts, &correction, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_linear(f, &moe->router, x, n, f->layout->residual.width, scores,
                      moe->n_experts, err);
    for (size_t t = 0; !rc && t < n; t++) {
        ww_core_route(moe, scores + t * moe->n_experts, correction,
                      weights + t * moe->n_experts);
    }
out:
    ww_free(scores);
    ww_free(correction);
    return rc;
}

/* Experts at work: tokens, and room for those that one expert gets. */
struct mix {
    const double *x; /* [n, D] */
    double *y;       /* [n, D], the sum */
    size_t n;
    double *in;  /* [n, D] */
    double *out; /* [n, D] */
};

/* Weight of token t: values[t * stride]; on the expert's input, or on its output. */
struct token_weights {
    const double *values;
    size_t stride;
    bool on_input;
};

/* Add the output of one MLP for the tokens with a weight that is not zero. */
static enum ww_err add_weighted(struct ww_forward *f, const struct ww_mlp *mlp,
                                struct token_weights weights, const struct mix *m,
                                struct ww_error *err)
{
    size_t width = (size_t)f->layout->residual.width;
    size_t chosen = 0;
    for (size_t t = 0; t < m->n; t++) {
        double weight = weights.values[t * weights.stride];
        if (weight != 0) {
            double factor = weights.on_input ? weight : 1;
            for (size_t i = 0; i < width; i++) {
                m->in[chosen * width + i] = factor * m->x[t * width + i];
            }
            chosen++;
        }
    }
    if (chosen == 0) {
        return WW_OK;
    }
    enum ww_err rc = run_mlp(f, mlp, m->in, chosen, m->out, err);
    chosen = 0;
    for (size_t t = 0; !rc && t < m->n; t++) {
        double weight = weights.values[t * weights.stride];
        if (weight != 0) {
            double factor = weights.on_input ? 1 : weight;
            ww_add_scaled(m->y + t * width, factor, m->out + chosen++ * width, width);
        }
    }
    return rc;
}

/* Weight of the expert that all tokens share: 1, or a gate of its own. */
static enum ww_err shared_weights(struct ww_forward *f, const struct ww_moe *moe,
                                  const double *x, size_t n, double *weights,
                                  struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    if (moe->shared_gated) {
        rc = ww_fw_linear(f, &moe->shared_gate, x, n, f->layout->residual.width, weights,
                          1, err);
    }
    for (size_t t = 0; !rc && t < n; t++) {
        weights[t] = moe->shared_gated ? 1 / (1 + exp(-weights[t])) : 1;
    }
    return rc;
}

static enum ww_err run_moe(struct ww_forward *f, const struct ww_moe *moe,
                           const double *x, size_t n, double *y, struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    uint64_t width = layout->residual.width;
    double *weights = NULL;
    struct mix m = {.x = x, .y = y, .n = n};
    enum ww_err rc = ww_fw_alloc(&weights, n, moe->n_experts, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&m.in, n, width, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&m.out, n, width, err);
    if (rc) {
        goto out;
    }
    rc = route(f, moe, x, n, weights, err);
    memset(y, 0, n * width * sizeof(*y));
    for (uint64_t e = 0; !rc && e < moe->n_experts; e++) {
        const struct token_weights of_expert = {.values = weights + e,
                                                .stride = (size_t)moe->n_experts,
                                                .on_input = moe->weighs_input};
        rc = add_weighted(f, &layout->mlps[moe->first_mlp + e], of_expert, &m, err);
    }
    if (rc || moe->shared_mlp == WW_NONE) {
        goto out;
    }
    rc = shared_weights(f, moe, x, n, weights, err);
    if (rc) {
        goto out;
    }
    rc = add_weighted(f, &layout->mlps[moe->shared_mlp],
                      (struct token_weights){.values = weights, .stride = 1}, &m, err);
out:
    ww_free(weights);
    ww_free(m.in);
    ww_free(m.out);
    return rc;
}

enum ww_err ww_fw_feed(struct ww_forward *f, const struct ww_block *block,
                       const double *x, size_t n, double *y, struct ww_error *err)
{
    if (block->moe != WW_NONE) {
        return run_moe(f, &f->layout->moes[block->moe], x, n, y, err);
    }
    return run_mlp(f, &f->layout->mlps[block->mlp], x, n, y, err);
}
