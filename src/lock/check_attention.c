/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention between its projections: random queries, keys and values through norms,
 * rotary embedding, scores and sums, with the model's gains, sinks and tables before and
 * after the transform.
 */
#include <string.h>

#include "arch/core.h"
#include "lock/axis_map.h"
#include "lock/check_mix.h"
#include "lock/check_parts.h"
#include "util/alloc.h"
#include "util/fail.h"

static const uint64_t positions[WW_CHECK_ROWS] = {0, 1, 5, 19};

/* Gains of all heads; each head can have a tensor of its own. */
static enum ww_err read_gains(struct ww_checker *c, uint32_t tensor, uint64_t n_heads,
                              uint64_t d, struct ww_check_pair *pair,
                              struct ww_error *err)
{
    const bool own =
        tensor != WW_NONE && c->layout->bindings[tensor].name_space != WW_NONE;
    enum ww_err rc = WW_OK;

    if (!own) {
        return ww_check_pair_read(c, tensor, pair, err);
    }
    pair->before = ww_calloc((size_t)(n_heads * d), sizeof(double));
    pair->after = ww_calloc((size_t)(n_heads * d), sizeof(double));
    if (!pair->before || !pair->after) {
        return WW_FAIL_MEMORY(err, "the gains of heads");
    }
    for (uint64_t h = 0; h < n_heads && !rc; h++) {
        struct ww_check_pair one = {0};
        rc = ww_check_pair_read(c, ww_axis_sibling(c->layout, tensor, h), &one, err);
        if (!rc && one.before) {
            memcpy(pair->before + h * d, one.before, (size_t)d * sizeof(double));
            memcpy(pair->after + h * d, one.after, (size_t)d * sizeof(double));
        }
        ww_check_pair_free(&one);
    }
    return rc;
}

/* What attention reads beside the weights. */
struct extras {
    struct ww_check_pair q_gain, q_bias, k_gain, k_bias, sinks, relative, gate;
};

static void free_extras(struct extras *e)
{
    struct ww_check_pair *const all[] = {&e->q_gain, &e->q_bias,   &e->k_gain, &e->k_bias,
                                         &e->sinks,  &e->relative, &e->gate};
    for (size_t i = 0; i < WW_LEN(all); i++) {
        ww_check_pair_free(all[i]);
    }
}

static enum ww_err read_extras(struct ww_checker *c, const struct ww_attention *att,
                               struct extras *e, struct ww_error *err)
{
    const bool q_norm = att->q_norm.kind != WW_NORM_NONE;
    const bool k_norm = att->k_norm.kind != WW_NORM_NONE;
    const struct {
        uint32_t tensor;
        struct ww_check_pair *pair;
    } rows[] = {
        {q_norm ? att->q_norm.bias : WW_NONE, &e->q_bias},
        {k_norm ? att->k_norm.bias : WW_NONE, &e->k_bias},
        {att->sinks, &e->sinks},
        {att->relative_bias, &e->relative},
    };
    enum ww_err rc = read_gains(c, q_norm ? att->q_norm.gain : WW_NONE, att->n_heads,
                                att->head_dim, &e->q_gain, err);

    if (!rc) {
        rc = read_gains(c, k_norm ? att->k_norm.gain : WW_NONE, att->n_kv_heads,
                        att->head_dim, &e->k_gain, err);
    }
    for (size_t i = 0; i < WW_LEN(rows) && !rc; i++) {
        rc = ww_check_pair_read(c, rows[i].tensor, rows[i].pair, err);
    }
    if (!rc && att->vo_class == WW_VO_GATE) {
        rc = ww_check_projection(c, &att->gate, (uint32_t)(att->n_heads * att->v_dim),
                                 &e->gate, err);
    }
    return rc;
}

static enum ww_err coverable(const struct ww_attention *att, struct ww_error *err)
{
    if (att->vo_class == WW_VO_VNORM || att->vo_class == WW_VO_SUBNORM) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "attention '%s' has a norm on values or context, which the "
                       "self-check does not cover, so it is not locked",
                       att->name);
    }
    return WW_OK;
}

/* Projected queries, keys and values of an attention. */
struct qkv {
    struct ww_check_pair q, k, v;
};

static enum ww_err latent_heads(struct ww_checker *c, const struct ww_attention *att,
                                bool keys, struct ww_check_pair *out,
                                struct ww_error *err)
{
    const struct ww_linear *nope_map = keys ? &att->kv_b : &att->q;
    const struct ww_linear *rope_map = keys ? &att->kv_a : &att->q;
    const uint64_t n_heads = keys ? att->n_kv_heads : att->n_heads;
    const uint64_t n_rope = keys ? 1 : n_heads;
    const uint64_t r = att->head_dim - att->mla_nope;
    struct ww_check_pair nope = {0};
    struct ww_check_pair rope = {0};
    enum ww_err rc = ww_check_part(c, nope_map, keys ? att->k_nope : att->q_nope,
                                   n_heads * att->mla_nope, &nope, err);

    if (!rc) {
        rc = ww_check_part(c, rope_map, keys ? att->k_rope : att->q_rope, n_rope * r,
                           &rope, err);
    }
    if (!rc) {
        out->before =
            ww_calloc((size_t)(WW_CHECK_ROWS * n_heads * att->head_dim), sizeof(double));
        out->after =
            ww_calloc((size_t)(WW_CHECK_ROWS * n_heads * att->head_dim), sizeof(double));
        if (!out->before || !out->after) {
            rc = WW_FAIL_MEMORY(err, "activations");
        }
    }
    if (!rc) {
        ww_check_join_heads(att, WW_CHECK_ROWS, n_heads, n_rope, nope.before, rope.before,
                            out->before);
        ww_check_join_heads(att, WW_CHECK_ROWS, n_heads, n_rope, nope.after, rope.after,
                            out->after);
    }
    ww_check_pair_free(&nope);
    ww_check_pair_free(&rope);
    return rc;
}

static enum ww_err draw_qkv(struct ww_checker *c, const struct ww_attention *att,
                            struct qkv *x, struct ww_error *err)
{
    const uint64_t n_values = att->n_kv_heads * att->v_dim;
    enum ww_err rc = WW_OK;

    if (att->latent > 0) {
        rc = latent_heads(c, att, false, &x->q, err);
        if (!rc) {
            rc = latent_heads(c, att, true, &x->k, err);
        }
        return rc ? rc : ww_check_part(c, &att->kv_b, att->value, n_values, &x->v, err);
    }
    rc = ww_check_projection(c, &att->q, (uint32_t)(att->n_heads * att->head_dim), &x->q,
                             err);
    if (!rc) {
        rc = ww_check_projection(c, &att->k, (uint32_t)(att->n_kv_heads * att->head_dim),
                                 &x->k, err);
    }
    return rc ? rc : ww_check_projection(c, &att->v, (uint32_t)n_values, &x->v, err);
}

static struct ww_attention_inputs inputs_of(const struct qkv *x, const struct extras *e,
                                            const struct ww_rope_table *rope, bool after)
{
#define SIDE(p) (after ? (p).after : (p).before)
    return (struct ww_attention_inputs){
        .q = {.rows = SIDE(x->q),
              .positions = positions,
              .n = WW_CHECK_ROWS,
              .rope = rope,
              .norm = {SIDE(e->q_gain), SIDE(e->q_bias)}},
        .k = {.rows = SIDE(x->k),
              .positions = positions,
              .n = WW_CHECK_ROWS,
              .rope = rope,
              .norm = {SIDE(e->k_gain), SIDE(e->k_bias)}},
        .v = SIDE(x->v),
        .sinks = SIDE(e->sinks),
        .relative_bias = SIDE(e->relative),
        .gate = SIDE(e->gate),
    };
#undef SIDE
}

/* Random q, k, v through the attention, before and after. */
static enum ww_err run_attention(struct ww_checker *c, const struct ww_attention *att,
                                 const struct extras *e, struct ww_check_pair *context,
                                 struct ww_error *err)
{
    struct ww_rope_table *rope = NULL;
    struct qkv x = {0};
    enum ww_err rc = draw_qkv(c, att, &x, err);

    if (!rc && att->rope.style != WW_ROPE_NONE && att->rope.dims > 0 && !att->cross) {
        rc = ww_rope_table_new(c->layout, att, positions, WW_CHECK_ROWS,
                               positions[WW_CHECK_ROWS - 1] + 1, &rope, err);
    }
    for (int after = 0; after < 2 && !rc; after++) {
        const struct ww_attention_inputs in = inputs_of(&x, e, rope, after);
        rc = ww_core_attention(att, &in, after ? context->after : context->before, err);
    }
    ww_rope_table_free(rope);
    ww_check_pair_free(&x.q);
    ww_check_pair_free(&x.k);
    ww_check_pair_free(&x.v);
    return rc;
}

/* The norms of latents, which have spaces of their own. */
static enum ww_err check_latents(struct ww_checker *c, const struct ww_attention *att,
                                 struct ww_error *err)
{
    const struct {
        bool is_there;
        uint32_t space;
        const struct ww_norm *norm;
    } rows[] = {{att->latent > 0, att->kv_latent, &att->kv_a_norm},
                {att->q_latent > 0, att->query_latent, &att->q_a_norm}};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(rows) && !rc; i++) {
        struct ww_element element = {0};
        if (rows[i].is_there && rows[i].space != WW_NONE) {
            rc = ww_gauge_space(c->gauge, rows[i].space, &element, err);
            if (!rc) {
                rc = ww_check_norm_on(c, att->name, "latent norm", rows[i].norm, &element,
                                      err);
            }
            ww_element_release(&element);
        }
    }
    return rc;
}

enum ww_err ww_check_attention(struct ww_checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_attention *att = &c->layout->attentions[index];
    const size_t n = (size_t)(WW_CHECK_ROWS * att->n_heads * att->v_dim);
    struct extras e = {0};
    struct ww_check_pair context = {0};
    struct ww_element element = {0};
    enum ww_err rc = coverable(att, err);

    if (rc) {
        return rc;
    }
    ww_element_none(&element, (uint32_t)(att->n_heads * att->v_dim));
    if (att->context != WW_NONE) {
        rc = ww_gauge_space(c->gauge, att->context, &element, err);
        if (rc) {
            goto out;
        }
    }
    rc = check_latents(c, att, err);
    if (rc) {
        goto out;
    }
    rc = read_extras(c, att, &e, err);
    if (rc) {
        goto out;
    }
    context.before = ww_calloc(n, sizeof(double));
    context.after = ww_calloc(n, sizeof(double));
    if (!context.before || !context.after) {
        rc = WW_FAIL_MEMORY(err, "activations");
        goto out;
    }
    rc = run_attention(c, att, &e, &context, err);
    if (rc) {
        goto out;
    }
    rc = ww_check_same_mixed(c, att->name, "attention", att->context, &element,
                             context.after, context.before, WW_CHECK_ROWS, err);
out:
    free_extras(&e);
    ww_check_pair_free(&context);
    ww_element_release(&element);
    return rc;
}
