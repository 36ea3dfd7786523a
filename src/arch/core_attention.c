/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention between the projections (Vaswani et al., arXiv 1706.03762), with the variants
 * that checkpoints use, in the order that their libraries apply them: norm, clip, rotate,
 * score, scale, cap, bias, mask, softmax, values, gate. One query row and head at a time:
 * memory is one row of scores.
 */
#include "arch/core.h"

#include <math.h>
#include <string.h>

#include "arch/core_bias.h"
#include "arch/core_dot.h"
#include "arch/rope.h"
#include "util/alloc.h"
#include "util/fail.h"

struct attend {
    const struct ww_attention *att;
    const struct ww_attention_inputs *in;
    const double *v;      /* in->v, clipped where the attention clips */
    double *score;        /* [m] */
    const double *slopes; /* [H], NULL without ALiBi */
    size_t n_heads, n_groups, d, d_v;
};

static void clamp(double *x, size_t n, double limit)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = fmin(fmax(x[i], -limit), limit);
    }
}

static const double *part(const double *values, size_t offset)
{
    return values ? values + offset : NULL;
}

/* One norm per head, or one over all heads of a row. */
static void normalise(const struct ww_attention *att, const struct ww_norm *norm,
                      const struct ww_attention_rows *x, size_t n_heads)
{
    bool full = att->qk_class == WW_QK_RMS_FULL;
    size_t d = (size_t)att->head_dim;
    size_t width = full ? n_heads * d : d;
    size_t per_row = full ? 1 : n_heads;
    for (size_t i = 0; i < x->n * per_row && norm->kind != WW_NORM_NONE; i++) {
        size_t own = att->qk_gain_per_head && !full ? i % per_row * d : 0;
        struct ww_norm_values at = {part(x->norm.gain, own), part(x->norm.bias, own)};
        ww_core_norm(norm, at, x->rows + i * width, x->rows + i * width, width);
    }
}

/* From projected rows to what the scores read. */
static void prepare(const struct ww_attention *att, const struct ww_norm *norm,
                    const struct ww_attention_rows *x, size_t n_heads)
{
    bool norm_last = att->qk_norm_last || att->qk_class == WW_QK_L2_POST;
    size_t d = (size_t)att->head_dim;
    if (!norm_last) {
        normalise(att, norm, x, n_heads);
    }
    if (att->clip > 0) {
        clamp(x->rows, x->n * n_heads * d, att->clip);
    }
    for (size_t t = 0; x->rope && t < x->n; t++) {
        ww_rope_turn(x->rope, t, x->rows + t * n_heads * d, n_heads, d,
                     (size_t)att->mla_nope);
    }
    if (norm_last) {
        normalise(att, norm, x, n_heads);
    }
}

/* Queries grow with the position (arXiv 2501.19399). */
static void temper(const struct ww_attention *att, const struct ww_attention_rows *q,
                   size_t width)
{
    for (size_t t = 0; att->temper > 0 && t < q->n; t++) {
        double step = floor((double)(q->positions[t] + 1) / att->temper_floor);
        double factor = log1p(step) * att->temper + 1;
        for (size_t i = 0; i < width; i++) {
            q->rows[t * width + i] *= factor;
        }
    }
}

static bool visible(const struct attend *a, size_t i, size_t j)
{
    const struct ww_attention *att = a->att;
    if (att->cross || (!att->causal && att->window == 0 && att->chunk == 0)) {
        return true;
    }
    uint64_t q = a->in->q.positions[i];
    uint64_t k = a->in->k.positions[j];
    if (att->chunk > 0 && q / att->chunk != k / att->chunk) {
        return false;
    }
    if (att->causal) {
        return k <= q && (att->window == 0 || q - k < att->window);
    }
    /* Two-sided windows count the border in, causal ones do not. */
    return (k > q ? k - q : q - k) <= att->window;
}

static double score_of(const struct attend *a, size_t i, size_t h, size_t j)
{
    const struct ww_attention *att = a->att;
    size_t g = h / (a->n_heads / a->n_groups);
    double s = ww_dot(a->in->q.rows + (i * a->n_heads + h) * a->d,
                      a->in->k.rows + (j * a->n_groups + g) * a->d, a->d);
    if (a->slopes && att->alibi_scaled) {
        s += ww_core_alibi(att, a->slopes[h], a->in->k.positions[j]);
    }
    s *= att->scale;
    if (att->softcap > 0) {
        s = att->softcap * tanh(s / att->softcap);
    }
    if (a->slopes && !att->alibi_scaled) {
        s += ww_core_alibi(att, a->slopes[h], a->in->k.positions[j]);
    }
    if (a->in->relative_bias) {
        uint64_t bucket =
            ww_core_relative_bucket(att, a->in->q.positions[i], a->in->k.positions[j]);
        s += a->in->relative_bias[bucket * a->n_heads + h];
    }
    return s;
}

/* Scores of a row to weights; a sink takes its share and gives no value. */
static void softmax(double *score, size_t m, const double *sink)
{
    double top = sink ? *sink : -HUGE_VAL;
    for (size_t j = 0; j < m; j++) {
        top = fmax(top, score[j]);
    }
    double sum = sink ? exp(*sink - top) : 0;
    for (size_t j = 0; j < m; j++) {
        score[j] = score[j] == -HUGE_VAL ? 0 : exp(score[j] - top);
        sum += score[j];
    }
    for (size_t j = 0; j < m && sum > 0; j++) {
        score[j] /= sum;
    }
}

static void attend_row(const struct attend *a, size_t i, size_t h, double *context)
{
    size_t m = a->in->k.n;
    size_t g = h / (a->n_heads / a->n_groups);
    for (size_t j = 0; j < m; j++) {
        a->score[j] = visible(a, i, j) ? score_of(a, i, h, j) : -HUGE_VAL;
    }
    softmax(a->score, m, part(a->in->sinks, h));
    memset(context, 0, a->d_v * sizeof(*context));
    for (size_t j = 0; j < m; j++) {
        if (a->score[j] != 0) {
            ww_add_scaled(context, a->score[j], a->v + (j * a->n_groups + g) * a->d_v,
                          a->d_v);
        }
    }
}

static void apply_gate(const double *gate, double *context, size_t n)
{
    for (size_t i = 0; gate && i < n; i++) {
        context[i] /= 1 + exp(-gate[i]);
    }
}

enum ww_err ww_core_attention(const struct ww_attention *att,
                              const struct ww_attention_inputs *in, double *context,
                              struct ww_error *err)
{
    struct attend a = {.att = att,
                       .in = in,
                       .v = in->v,
                       .n_heads = (size_t)att->n_heads,
                       .n_groups = (size_t)att->n_kv_heads,
                       .d = (size_t)att->head_dim,
                       .d_v = (size_t)att->v_dim};
    size_t n_values = in->k.n * a.n_groups * a.d_v;
    double *clipped = ww_calloc(att->clip > 0 ? n_values : 0, sizeof(double));
    double *slopes = ww_calloc(att->alibi ? a.n_heads : 0, sizeof(double));
    a.score = ww_calloc(in->k.n, sizeof(double));
    enum ww_err rc = WW_OK;
    if (!clipped || !slopes || !a.score) {
        rc = WW_FAIL_MEMORY(err, "the scores of '%s'", att->name);
        goto out;
    }
    if (att->clip > 0) {
        memcpy(clipped, in->v, n_values * sizeof(double));
        clamp(clipped, n_values, att->clip);
        a.v = clipped;
    }
    if (att->alibi) {
        ww_core_alibi_slopes(att->n_heads, slopes);
        a.slopes = slopes;
    }
    prepare(att, &att->q_norm, &in->q, a.n_heads);
    prepare(att, &att->k_norm, &in->k, a.n_groups);
    temper(att, &in->q, a.n_heads * a.d);
    for (size_t i = 0; i < in->q.n; i++) {
        for (size_t h = 0; h < a.n_heads; h++) {
            attend_row(&a, i, h, context + (i * a.n_heads + h) * a.d_v);
        }
    }
    apply_gate(in->gate, context, in->q.n * a.n_heads * a.d_v);
out:
    ww_free(clipped);
    ww_free(slopes);
    ww_free(a.score);
    return rc;
}
