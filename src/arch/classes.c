/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symmetry classes: which transforms commute with what lies between the projections. Read
 * off the attention as it was built (norm lengths, rotary, clip, gate), unless the
 * descriptor names a class that the weights do not show.
 */
#include "arch/classes.h"

#include <stdio.h>
#include <string.h>

#include "arch/facts.h"
#include "util/fail.h"

static const char *const qk_names[] = {
    [WW_QK_GL] = "gl",
    [WW_QK_ROPE] = "rope",
    [WW_QK_RMS_HEAD] = "rms_head",
    [WW_QK_RMS_FULL] = "rms_full",
    [WW_QK_LN_HEAD] = "ln_head",
    [WW_QK_L2_POST] = "l2_post",
    [WW_QK_CLAMP] = "clamp",
    [WW_QK_MLA] = "mla",
    [WW_QK_NONE] = "none",
};

static const char *const vo_names[] = {
    [WW_VO_GL] = "gl",           [WW_VO_GATE] = "gate",   [WW_VO_VNORM] = "vnorm",
    [WW_VO_SUBNORM] = "subnorm", [WW_VO_CLAMP] = "clamp", [WW_VO_NONE] = "none",
};

const char *ww_qk_class_name(enum ww_qk_class c)
{
    return (size_t)c < WW_LEN(qk_names) ? qk_names[c] : "?";
}

const char *ww_vo_class_name(enum ww_vo_class c)
{
    return (size_t)c < WW_LEN(vo_names) ? vo_names[c] : "?";
}

/* The index of a class that the descriptor names, n when it names none. */
static enum ww_err named(struct ww_builder *b, const char *fact, const char *const *names,
                         size_t n, unsigned *index, struct ww_error *err)
{
    char word[32];
    enum ww_err rc = ww_fact_text(&b->scope, fact, word, sizeof(word), err);

    *index = (unsigned)n;
    if (rc == WW_OK && word[0]) {
        rc = ww_fact_word(&b->scope, fact, names, n, index, err);
    }
    return rc;
}

static uint64_t gain_length(const struct ww_builder *b, const struct ww_attention *a)
{
    return b->model->tensors[a->q_norm.gain].n_elements;
}

static enum ww_qk_class qk_by_parts(const struct ww_builder *b,
                                    const struct ww_attention *a)
{
    if (a->clip > 0 && a->q_norm.gain == WW_NONE) {
        return WW_QK_CLAMP;
    }
    if (a->latent > 0) {
        return WW_QK_MLA;
    }
    if (a->q_norm.gain != WW_NONE) {
        return a->q_norm.kind == WW_NORM_LAYER    ? WW_QK_LN_HEAD
               : gain_length(b, a) == a->head_dim ? WW_QK_RMS_HEAD
                                                  : WW_QK_RMS_FULL;
    }
    return a->rope.dims > 0 ? WW_QK_ROPE : WW_QK_GL;
}

static enum ww_err qk_reason(struct ww_builder *b, struct ww_attention *a,
                             struct ww_error *err)
{
    unsigned long long d = a->head_dim, r = a->rope.dims;
    const char *pairs = a->rope.style == WW_ROPE_HALF ? "half-split" : "adjacent";
    unsigned long long length = a->q_norm.gain == WW_NONE ? 0 : gain_length(b, a);

    switch (a->qk_class) {
    case WW_QK_GL:
        return ww_builder_name(b, &a->qk_reason, err,
                               "no rotary embedding, no norm on queries and keys");
    case WW_QK_ROPE:
        return r == d ? ww_builder_name(b, &a->qk_reason, err, "rotary, %s pairs", pairs)
                      : ww_builder_name(b, &a->qk_reason, err,
                                        "rotary, %s pairs on %llu of %llu dimensions",
                                        pairs, r, d);
    case WW_QK_RMS_HEAD:
        return ww_builder_name(b, &a->qk_reason, err, "q_norm has length %llu = head_dim",
                               length);
    case WW_QK_RMS_FULL:
        return ww_builder_name(b, &a->qk_reason, err,
                               "q_norm has length %llu = heads x head_dim", length);
    case WW_QK_LN_HEAD:
        return ww_builder_name(b, &a->qk_reason, err,
                               "q_norm is a LayerNorm over each head (length %llu)",
                               length);
    case WW_QK_L2_POST:
        return ww_builder_name(b, &a->qk_reason, err,
                               "queries and keys are normalised behind the rotation");
    case WW_QK_CLAMP:
        return ww_builder_name(b, &a->qk_reason, err,
                               "queries and keys are clipped at %g", a->clip);
    case WW_QK_MLA:
        return ww_builder_name(b, &a->qk_reason, err,
                               "latent attention, %llu of %llu dimensions rotary", r, d);
    case WW_QK_NONE:
        return ww_builder_name(b, &a->qk_reason, err, "the descriptor forbids it");
    }
    return WW_OK;
}

static const char *vo_reason(enum ww_vo_class c)
{
    switch (c) {
    case WW_VO_GL:
        return "nothing lies between values and the output projection";
    case WW_VO_GATE:
        return "an output gate multiplies the context element by element";
    case WW_VO_VNORM:
        return "values are normalised";
    case WW_VO_SUBNORM:
        return "a norm lies in front of the output projection";
    case WW_VO_CLAMP:
        return "values are clipped";
    case WW_VO_NONE:
        return "the descriptor forbids it";
    }
    return "";
}

/* A reason of the descriptor's own goes before the built-in one. */
static enum ww_err own_reason(struct ww_builder *b, const char *fact, const char **reason,
                              struct ww_error *err)
{
    char text[160];
    enum ww_err rc = ww_fact_text(&b->scope, fact, text, sizeof(text), err);

    if (rc == WW_OK && text[0]) {
        rc = ww_builder_name(b, reason, err, "%s", text);
    }
    return rc;
}

/* Heads move unless their number means something. */
static enum ww_err class_heads(struct ww_builder *b, struct ww_attention *a,
                               struct ww_error *err)
{
    const char *own = NULL;
    enum ww_err rc = own_reason(b, "heads_reason", &own, err);

    a->heads_move = !a->alibi && !own;
    a->heads_reason = own        ? own
                      : a->alibi ? "ALiBi slopes belong to the head's number"
                                 : "nothing outside of a head knows its number";
    return rc;
}

enum ww_err ww_class_attention(struct ww_builder *b, uint32_t attention,
                               struct ww_error *err)
{
    struct ww_attention *a = &b->layout->attentions[attention];
    unsigned qk = 0, vo = 0;
    enum ww_err rc = named(b, "qk", qk_names, WW_LEN(qk_names), &qk, err);

    rc = rc ? rc : named(b, "vo", vo_names, WW_LEN(vo_names), &vo, err);
    if (rc) {
        return rc;
    }
    a->qk_class = qk < WW_LEN(qk_names) ? (enum ww_qk_class)qk : qk_by_parts(b, a);
    a->vo_class = vo < WW_LEN(vo_names)       ? (enum ww_vo_class)vo
                  : a->clip > 0               ? WW_VO_CLAMP
                  : a->gate.weight != WW_NONE ? WW_VO_GATE
                                              : WW_VO_GL;
    a->qk_norm_bias = a->q_norm.bias != WW_NONE;
    a->qk_gain_per_head = a->q_norm.gain != WW_NONE &&
                          (gain_length(b, a) != a->head_dim ||
                           b->layout->bindings[a->q_norm.gain].name_space != WW_NONE);
    a->vo_reason = vo_reason(a->vo_class);
    rc = qk_reason(b, a, err);
    rc = rc ? rc : own_reason(b, "qk_reason", &a->qk_reason, err);
    rc = rc ? rc : own_reason(b, "vo_reason", &a->vo_reason, err);
    return rc ? rc : class_heads(b, a, err);
}
