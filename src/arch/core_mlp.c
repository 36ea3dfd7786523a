/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations, the gate of a gated MLP (Shazeer, arXiv 2002.05202) and the choice of
 * experts. Formulas are those of the libraries that trained the models: three different
 * curves go by the name GELU, and a model needs its own.
 */
#include "arch/core.h"

#include <math.h>

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double activate(enum ww_act_kind act, double x)
{
    switch (act) {
    case WW_FN_GELU:
        return 0.5 * x * (1 + erf(x * SQRT_HALF));
    case WW_FN_GELU_TANH:
        return 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)));
    case WW_FN_QUICK_GELU:
        return x * sigmoid(1.702 * x);
    case WW_FN_SILU:
        return x * sigmoid(x);
    case WW_FN_RELU:
        return x > 0 ? x : 0;
    case WW_FN_RELU2:
        return x > 0 ? x * x : 0;
    case WW_FN_TANH:
        return tanh(x);
    }
    return x;
}

void ww_core_mlp(const struct ww_mlp *mlp, const double *gate, const double *up,
                 double *h)
{
    for (uint64_t j = 0; j < mlp->n_neurons; j++) {
        h[j] =
            mlp->gated ? activate(mlp->act, gate[j]) * up[j] : activate(mlp->act, up[j]);
    }
}

/* Softmax over those with a non-zero mark; the others become zero. */
static void softmax_marked(const double *scores, double *marks, uint64_t n)
{
    double top = -HUGE_VAL;
    for (uint64_t e = 0; e < n; e++) {
        if (marks[e] != 0 && scores[e] > top) {
            top = scores[e];
        }
    }
    double sum = 0;
    for (uint64_t e = 0; e < n; e++) {
        marks[e] = marks[e] != 0 ? exp(scores[e] - top) : 0;
        sum += marks[e];
    }
    for (uint64_t e = 0; e < n; e++) {
        marks[e] /= sum;
    }
}

/* How many experts stand before e: a better score, or the same one and a lower index. */
static uint64_t rank_of(const double *scores, uint64_t n, uint64_t e)
{
    uint64_t rank = 0;
    for (uint64_t i = 0; i < n; i++) {
        rank += scores[i] > scores[e] || (scores[i] == scores[e] && i < e);
    }
    return rank;
}

static void scale_to_one(double *weights, uint64_t n)
{
    double sum = 0;
    for (uint64_t e = 0; e < n; e++) {
        sum += weights[e];
    }
    for (uint64_t e = 0; e < n && sum > 0; e++) {
        weights[e] /= sum;
    }
}

void ww_core_route(const struct ww_moe *moe, const double *scores, double *weights)
{
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        weights[e] =
            moe->softmax_first || rank_of(scores, moe->n_experts, e) < moe->top_k;
    }
    softmax_marked(scores, weights, moe->n_experts);
    /* The choice looks at the scores, not at the softmax: it keeps their order and makes
     * no new ties by underflow. */
    for (uint64_t e = 0; e < moe->n_experts && moe->softmax_first; e++) {
        if (rank_of(scores, moe->n_experts, e) >= moe->top_k) {
            weights[e] = 0;
        }
    }
    if (moe->normalise) {
        scale_to_one(weights, moe->n_experts);
    }
}
