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
    case WW_FN_SWIGLU_CLAMPED:
        return x * sigmoid(1.702 * x);
    }
    return x;
}

/* One neuron of GPT-OSS: the gate is cut above, up on both sides. */
static double clamped(double gate, double up, double limit)
{
    return activate(WW_FN_SWIGLU_CLAMPED, fmin(gate, limit)) *
           (fmin(fmax(up, -limit), limit) + 1);
}

void ww_core_mlp(const struct ww_mlp *mlp, const double *gate, const double *up,
                 double *h)
{
    bool clamps = mlp->gated && mlp->act == WW_FN_SWIGLU_CLAMPED;
    for (uint64_t j = 0; j < mlp->n_neurons && clamps; j++) {
        h[j] = clamped(gate[j], up[j], mlp->limit);
    }
    for (uint64_t j = 0; j < mlp->n_neurons && !clamps; j++) {
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

/* What the choice goes by. Without a correction that is the router's output itself: it
 * has the order of its softmax or sigmoid and makes no new ties by underflow. top and sum
 * are those of the softmax. */
struct choice {
    const struct ww_moe *moe;
    const double *scores;
    const double *correction;
    double top;
    double sum;
};

static double value_of(const struct choice *c, uint64_t e)
{
    return c->moe->sigmoid ? sigmoid(c->scores[e]) : exp(c->scores[e] - c->top) / c->sum;
}

static double key_of(const struct choice *c, uint64_t e)
{
    return c->correction ? value_of(c, e) + c->correction[e] : c->scores[e];
}

static bool before(const struct choice *c, uint64_t a, uint64_t b)
{
    double x = key_of(c, a);
    double y = key_of(c, b);
    return x > y || (x == y && a < b);
}

/* Sum of a group's best scores. */
static double group_score(const struct choice *c, uint64_t group)
{
    uint64_t size = c->moe->n_experts / c->moe->n_groups;
    uint64_t first = group * size;
    double sum = 0;
    for (uint64_t e = first; e < first + size; e++) {
        uint64_t rank = 0;
        for (uint64_t i = first; i < first + size; i++) {
            rank += before(c, i, e);
        }
        double value = c->correction ? key_of(c, e) : value_of(c, e);
        sum += rank < c->moe->group_best ? value : 0;
    }
    return sum;
}

static bool group_is_open(const struct choice *c, uint64_t group)
{
    double own = group_score(c, group);
    uint64_t rank = 0;
    for (uint64_t g = 0; g < c->moe->n_groups; g++) {
        double other = group_score(c, g);
        rank += other > own || (other == own && g < group);
    }
    return rank < c->moe->top_groups;
}

/* Mark the chosen with 1; the others become zero. */
static void choose(const struct choice *c, double *marks)
{
    const struct ww_moe *moe = c->moe;
    uint64_t size = moe->n_groups > 1 ? moe->n_experts / moe->n_groups : moe->n_experts;
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        if (e % size == 0 && moe->n_groups > 1) {
            marks[e] = group_is_open(c, e / size);
        } else {
            marks[e] = e % size == 0 ? 1 : marks[e - 1];
        }
    }
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        uint64_t rank = 0;
        for (uint64_t i = 0; i < moe->n_experts; i++) {
            rank += marks[i] != 0 && before(c, i, e);
        }
        /* 2: in an open group, but not chosen */
        marks[e] = marks[e] == 0 ? 0 : rank < moe->top_k ? 1 : 2;
    }
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        marks[e] = marks[e] == 1;
    }
}

/* SparseMixer (Liu et al., arXiv 2409.12136) as it is used after training: the best
 * expert takes its share of a softmax over those close to it and leaves; repeated. */
static void route_by_mixer(const struct ww_moe *moe, const double *scores,
                           double *weights)
{
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        weights[e] = 0;
    }
    for (uint64_t k = 0; k < moe->top_k; k++) {
        uint64_t best = moe->n_experts;
        double sum = 0;
        for (uint64_t e = 0; e < moe->n_experts; e++) {
            if (weights[e] == 0 && (best == moe->n_experts || scores[e] > scores[best])) {
                best = e;
            }
        }
        for (uint64_t e = 0; best < moe->n_experts && e < moe->n_experts; e++) {
            double size = fmax(fabs(scores[e]), scores[best]);
            if (weights[e] == 0 && (scores[best] - scores[e]) / size <= moe->mixer) {
                sum += exp(scores[e] - scores[best]);
            }
        }
        if (best < moe->n_experts) {
            weights[best] = sum > 0 ? 1 / sum : 1;
        }
    }
}

void ww_core_route(const struct ww_moe *moe, const double *scores,
                   const double *correction, double *weights)
{
    struct choice c = {moe, scores, correction, -HUGE_VAL, 0};

    if (moe->mixer > 0) {
        route_by_mixer(moe, scores, weights);
        return;
    }
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        c.top = fmax(c.top, scores[e]);
    }
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        c.sum += exp(scores[e] - c.top);
    }
    choose(&c, weights);
    if (!moe->sigmoid && !moe->softmax_first) {
        softmax_marked(scores, weights, moe->n_experts);
    }
    for (uint64_t e = 0; (moe->sigmoid || moe->softmax_first) && e < moe->n_experts;
         e++) {
        weights[e] *= value_of(&c, e);
    }
    if (moe->normalise) {
        scale_to_one(weights, moe->n_experts);
    }
    for (uint64_t e = 0; e < moe->n_experts; e++) {
        weights[e] *= moe->multiplier;
    }
}
