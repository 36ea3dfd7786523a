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

/* Add the output of one MLP for the tokens with a weight that is not zero; weight of
 * token t is weights[t * stride], on the input when weighs_input. in and out have room
 * for n rows. */
static enum ww_err add_weighted(struct ww_forward *f, const struct ww_mlp *mlp,
                                const double *weights, size_t stride, bool weighs_input,
                                const double *x, size_t n, double *in, double *out,
                                double *y, struct ww_error *err)
{
    size_t width = (size_t)f->layout->residual.width;
    size_t chosen = 0;
    for (size_t t = 0; t < n; t++) {
        if (weights[t * stride] != 0) {
            double factor = weighs_input ? weights[t * stride] : 1;
            for (size_t i = 0; i < width; i++) {
                in[chosen * width + i] = factor * x[t * width + i];
            }
            chosen++;
        }
    }
    if (chosen == 0) {
        return WW_OK;
    }
    enum ww_err rc = run_mlp(f, mlp, in, chosen, out, err);
    chosen = 0;
    for (size_t t = 0; !rc && t < n; t++) {
        if (weights[t * stride] != 0) {
            double factor = weighs_input ? 1 : weights[t * stride];
            ww_add_scaled(y + t * width, factor, out + chosen++ * width, width);
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
    double *in = NULL;
    double *out = NULL;
    enum ww_err rc = WW_OK;
    rc = ww_fw_alloc(&weights, n, moe->n_experts, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&in, n, width, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&out, n, width, err);
    if (rc) {
        goto out;
    }
    rc = route(f, moe, x, n, weights, err);
    memset(y, 0, n * width * sizeof(*y));
    for (uint64_t e = 0; !rc && e < moe->n_experts; e++) {
        rc = add_weighted(f, &layout->mlps[moe->first_mlp + e], weights + e,
                          (size_t)moe->n_experts, moe->weighs_input, x, n, in, out, y,
                          err);
    }
    if (rc || moe->shared_mlp == WW_NONE) {
        goto out;
    }
    rc = shared_weights(f, moe, x, n, weights, err);
    if (rc) {
        goto out;
    }
    rc = add_weighted(f, &layout->mlps[moe->shared_mlp], weights, 1, false, x, n, in, out,
                      y, err);
out:
    ww_free(weights);
    ww_free(in);
    ww_free(out);
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
