/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations are random instead of what the real projections would give: an identity
 * that holds for generic input holds for all, and a fault cannot hide in a subspace that
 * some weights never reach. They have unit size, so that softmax is far from saturation
 * and a wrong pairing is far from invisible.
 */
#include "lock/check_core.h"

#include <math.h>
#include <string.h>

#include "arch/core.h"
#include "lock/activation.h"
#include "lock/axis_map.h"
#include "lock/check_mix.h"
#include "lock/lens.h"
#include "util/alloc.h"
#include "util/fail.h"

#define N 4

static const uint64_t positions[N] = {0, 1, 5, 19};

struct checker {
    const struct ww_gauge *gauge;
    const struct ww_layout *layout;
    const struct ww_weights *base;
    const struct ww_element *stream; /* that what is checked reads and writes */
    struct ww_lens lens;
    uint64_t seed;
    double max_error;
};

/* Does got equal want? Both of n values. */
static enum ww_err compare(struct checker *c, const char *owner, const char *part,
                           const double *got, const double *want, size_t n,
                           struct ww_error *err)
{
    const double size = ww_largest(want, n);
    const double off = ww_largest_difference(got, want, n);
    const double error = off > 0 ? off / size : 0;

    c->max_error = fmax(c->max_error, error);
    if (!(error <= WW_CORE_LIMIT)) {
        return WW_FAIL(err, WW_E_CHECK_FAILED,
                       "%s of '%s': the transform changes its output by %.3g (limit %g)",
                       part, owner, error, WW_CORE_LIMIT);
    }
    return WW_OK;
}

/* A tensor before and after the transform; both NULL when there is none. */
struct pair {
    double *before, *after;
};

static void free_pair(struct pair *pair)
{
    ww_free(pair->before);
    ww_free(pair->after);
    *pair = (struct pair){NULL, NULL};
}

static enum ww_err read_pair(struct checker *c, uint32_t tensor, struct pair *pair,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *pair = (struct pair){NULL, NULL};
    if (tensor == WW_NONE) {
        return WW_OK;
    }
    rc = ww_lens_read(c->layout, c->base, tensor, &pair->before, err);
    if (!rc) {
        rc = ww_lens_read(c->layout, &c->lens.weights, tensor, &pair->after, err);
    }
    return rc;
}

/* Gains of all heads; each head can have a tensor of its own. */
static enum ww_err read_gains(struct checker *c, uint32_t tensor, uint64_t n_heads,
                              uint64_t d, struct pair *pair, struct ww_error *err)
{
    const bool own =
        tensor != WW_NONE && c->layout->bindings[tensor].name_space != WW_NONE;
    enum ww_err rc = WW_OK;

    if (!own) {
        return read_pair(c, tensor, pair, err);
    }
    pair->before = ww_calloc((size_t)(n_heads * d), sizeof(double));
    pair->after = ww_calloc((size_t)(n_heads * d), sizeof(double));
    if (!pair->before || !pair->after) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for the gains of heads");
    }
    for (uint64_t h = 0; h < n_heads && !rc; h++) {
        struct pair one = {0};
        rc = read_pair(c, ww_axis_sibling(c->layout, tensor, h), &one, err);
        if (!rc && one.before) {
            memcpy(pair->before + h * d, one.before, (size_t)d * sizeof(double));
            memcpy(pair->after + h * d, one.after, (size_t)d * sizeof(double));
        }
        free_pair(&one);
    }
    return rc;
}

/* rows x element.n random values, and what the action makes of each row. */
static enum ww_err random_pair(struct checker *c, const struct ww_element *element,
                               enum ww_action action, size_t rows, struct pair *pair,
                               struct ww_error *err)
{
    const size_t n = rows * element->n;

    pair->before = ww_calloc(n, sizeof(double));
    pair->after = ww_calloc(n, sizeof(double));
    if (!pair->before || !pair->after) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for activations");
    }
    for (size_t i = 0; i < n; i++) {
        pair->before[i] = ww_random_activation(&c->seed);
    }
    for (size_t r = 0; r < rows; r++) {
        ww_element_apply(element, action, pair->before + r * element->n,
                         pair->after + r * element->n);
    }
    return WW_OK;
}

/* What the layout states for the output of a linear map. */
static const struct ww_segment *output_segment(const struct checker *c,
                                               const struct ww_linear *linear)
{
    const struct ww_axis *axis = NULL;

    if (linear->weight == WW_NONE) {
        return NULL;
    }
    if (linear->out_segment != WW_NONE) {
        return &c->layout->segments[linear->out_segment];
    }
    axis = &c->layout->bindings[linear->weight].axis[linear->out_axis];
    return axis->n_segments ? &c->layout->segments[axis->first_segment] : NULL;
}

/* Random output of a projection, before and after. width is used when nothing moves. */
static enum ww_err projection(struct checker *c, const struct ww_linear *linear,
                              uint32_t width, struct pair *pair, struct ww_error *err)
{
    const struct ww_segment *segment = output_segment(c, linear);
    struct ww_element element = {0};
    enum ww_err rc = WW_OK;

    ww_element_none(&element, width);
    if (segment) {
        rc = ww_gauge_space(c->gauge, segment->space, &element, err);
    }
    if (!rc) {
        rc = random_pair(c, &element, segment ? segment->action : WW_ACT_DIRECT, N, pair,
                         err);
    }
    if (!rc && segment) {
        rc = ww_check_mix(c->gauge, segment->space, segment->action, pair->after, N, err);
    }
    ww_element_release(&element);
    return rc;
}

/* The action that a tensor's axis states for a space. */
static enum ww_action action_on(const struct checker *c, uint32_t tensor, unsigned axis,
                                uint32_t space)
{
    const struct ww_axis *a = NULL;

    if (tensor != WW_NONE) {
        a = &c->layout->bindings[tensor].axis[axis];
        for (uint32_t i = 0; i < a->n_segments; i++) {
            const struct ww_segment *segment = &c->layout->segments[a->first_segment + i];
            if (segment->space == space) {
                return segment->action;
            }
        }
    }
    return WW_ACT_DIRECT;
}

/* Random rows over a space that the output of a linear map holds; n when none. */
static enum ww_err part(struct checker *c, const struct ww_linear *linear, uint32_t space,
                        uint64_t n, struct pair *pair, struct ww_error *err)
{
    struct ww_element element = {0};
    enum ww_action action = WW_ACT_DIRECT;
    enum ww_err rc = WW_OK;

    ww_element_none(&element, (uint32_t)n);
    if (space != WW_NONE) {
        rc = ww_gauge_space(c->gauge, space, &element, err);
        action = action_on(c, linear->weight, linear->out_axis, space);
    }
    if (!rc) {
        rc = random_pair(c, &element, action, N, pair, err);
    }
    if (!rc) {
        rc = ww_check_mix(c->gauge, space, action, pair->after, N, err);
    }
    ww_element_release(&element);
    return rc;
}

/* got [rows, n] against S want row by row; space: whose cells act on top, or WW_NONE. */
static enum ww_err compare_mixed(struct checker *c, const char *owner, const char *part,
                                 uint32_t space, const struct ww_element *element,
                                 const double *got, const double *want, size_t rows,
                                 struct ww_error *err)
{
    const size_t n = rows * element->n;
    double *moved = ww_calloc(n, sizeof(*moved));
    enum ww_err rc = WW_OK;

    if (!moved) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for activations");
    }
    for (size_t r = 0; r < rows; r++) {
        ww_element_apply(element, WW_ACT_DIRECT, want + r * element->n,
                         moved + r * element->n);
    }
    rc = ww_check_mix(c->gauge, space, WW_ACT_DIRECT, moved, rows, err);
    if (!rc) {
        rc = compare(c, owner, part, got, moved, n, err);
    }
    ww_free(moved);
    return rc;
}

static enum ww_err compare_moved(struct checker *c, const char *owner, const char *part,
                                 const struct ww_element *element, const double *got,
                                 const double *want, size_t rows, struct ww_error *err)
{
    return compare_mixed(c, owner, part, WW_NONE, element, got, want, rows, err);
}

/* A norm between two runs of the same space. */
static enum ww_err check_norm_on(struct checker *c, const char *owner, const char *part,
                                 const struct ww_norm *norm,
                                 const struct ww_element *element, struct ww_error *err)
{
    struct pair gain = {0};
    struct pair bias = {0};
    struct pair x = {0};
    enum ww_err rc = WW_OK;

    if (norm->kind == WW_NORM_NONE) {
        return WW_OK;
    }
    rc = read_pair(c, norm->gain, &gain, err);
    if (!rc) {
        rc = read_pair(c, norm->bias, &bias, err);
    }
    if (!rc) {
        rc = random_pair(c, element, WW_ACT_DIRECT, 1, &x, err);
    }
    if (!rc) {
        ww_core_norm(norm, (struct ww_norm_values){gain.before, bias.before}, x.before,
                     x.before, element->n);
        ww_core_norm(norm, (struct ww_norm_values){gain.after, bias.after}, x.after,
                     x.after, element->n);
        rc = compare_moved(c, owner, part, element, x.after, x.before, 1, err);
    }
    free_pair(&gain);
    free_pair(&bias);
    free_pair(&x);
    return rc;
}

static enum ww_err check_norm(struct checker *c, const char *owner, const char *part,
                              const struct ww_norm *norm, struct ww_error *err)
{
    return check_norm_on(c, owner, part, norm, c->stream, err);
}

static enum ww_err check_layer_scale(struct checker *c, const char *owner,
                                     uint32_t tensor, struct ww_error *err)
{
    const struct ww_element *residual = c->stream;
    struct pair scale = {0};
    struct pair x = {0};
    enum ww_err rc = WW_OK;

    if (tensor == WW_NONE) {
        return WW_OK;
    }
    rc = read_pair(c, tensor, &scale, err);
    if (!rc) {
        rc = random_pair(c, residual, WW_ACT_DIRECT, 1, &x, err);
    }
    for (uint32_t i = 0; i < residual->n && !rc; i++) {
        x.before[i] *= scale.before[i];
        x.after[i] *= scale.after[i];
    }
    if (!rc) {
        rc = compare_moved(c, owner, "layer scale", residual, x.after, x.before, 1, err);
    }
    free_pair(&scale);
    free_pair(&x);
    return rc;
}

/* What attention reads beside the weights. */
struct extras {
    struct pair q_gain, q_bias, k_gain, k_bias, sinks, relative, gate;
};

static void free_extras(struct extras *e)
{
    struct pair *const all[] = {&e->q_gain, &e->q_bias,   &e->k_gain, &e->k_bias,
                                &e->sinks,  &e->relative, &e->gate};
    for (size_t i = 0; i < WW_LEN(all); i++) {
        free_pair(all[i]);
    }
}

static enum ww_err read_extras(struct checker *c, const struct ww_attention *att,
                               struct extras *e, struct ww_error *err)
{
    const bool q_norm = att->q_norm.kind != WW_NORM_NONE;
    const bool k_norm = att->k_norm.kind != WW_NORM_NONE;
    const struct {
        uint32_t tensor;
        struct pair *pair;
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
        rc = read_pair(c, rows[i].tensor, rows[i].pair, err);
    }
    if (!rc && att->vo_class == WW_VO_GATE) {
        rc = projection(c, &att->gate, (uint32_t)(att->n_heads * att->v_dim), &e->gate,
                        err);
    }
    return rc;
}

static struct ww_attention_values values_of(const struct extras *e, bool after)
{
#define SIDE(p) (after ? (p).after : (p).before)
    return (struct ww_attention_values){
        .q_norm = {SIDE(e->q_gain), SIDE(e->q_bias)},
        .k_norm = {SIDE(e->k_gain), SIDE(e->k_bias)},
        .sinks = SIDE(e->sinks),
        .relative_bias = SIDE(e->relative),
        .gate = SIDE(e->gate),
    };
#undef SIDE
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
    struct pair q, k, v;
};

static enum ww_err latent_heads(struct checker *c, const struct ww_attention *att,
                                bool keys, struct pair *out, struct ww_error *err)
{
    const struct ww_linear *nope_map = keys ? &att->kv_b : &att->q;
    const struct ww_linear *rope_map = keys ? &att->kv_a : &att->q;
    const uint64_t n_heads = keys ? att->n_kv_heads : att->n_heads;
    const uint64_t n_rope = keys ? 1 : n_heads;
    const uint64_t r = att->head_dim - att->mla_nope;
    struct pair nope = {0};
    struct pair rope = {0};
    enum ww_err rc = part(c, nope_map, keys ? att->k_nope : att->q_nope,
                          n_heads * att->mla_nope, &nope, err);

    if (!rc) {
        rc = part(c, rope_map, keys ? att->k_rope : att->q_rope, n_rope * r, &rope, err);
    }
    if (!rc) {
        out->before = ww_calloc((size_t)(N * n_heads * att->head_dim), sizeof(double));
        out->after = ww_calloc((size_t)(N * n_heads * att->head_dim), sizeof(double));
        if (!out->before || !out->after) {
            rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for activations");
        }
    }
    if (!rc) {
        ww_check_join_heads(att, N, n_heads, n_rope, nope.before, rope.before, out->before);
        ww_check_join_heads(att, N, n_heads, n_rope, nope.after, rope.after, out->after);
    }
    free_pair(&nope);
    free_pair(&rope);
    return rc;
}

static enum ww_err draw_qkv(struct checker *c, const struct ww_attention *att,
                            struct qkv *x, struct ww_error *err)
{
    const uint64_t n_values = att->n_kv_heads * att->v_dim;
    enum ww_err rc = WW_OK;

    if (att->latent > 0) {
        rc = latent_heads(c, att, false, &x->q, err);
        if (!rc) {
            rc = latent_heads(c, att, true, &x->k, err);
        }
        return rc ? rc : part(c, &att->kv_b, att->value, n_values, &x->v, err);
    }
    rc = projection(c, &att->q, (uint32_t)(att->n_heads * att->head_dim), &x->q, err);
    if (!rc) {
        rc = projection(c, &att->k, (uint32_t)(att->n_kv_heads * att->head_dim), &x->k,
                        err);
    }
    return rc ? rc : projection(c, &att->v, (uint32_t)n_values, &x->v, err);
}

/* Random q, k, v through the attention, before and after. */
static enum ww_err run_attention(struct checker *c, const struct ww_attention *att,
                                 const struct extras *e, struct pair *context,
                                 struct ww_error *err)
{
    struct ww_rope_table *rope = NULL;
    struct qkv x = {0};
    enum ww_err rc = draw_qkv(c, att, &x, err);

    if (!rc && att->rope.style != WW_ROPE_NONE && att->rope.dims > 0 && !att->cross) {
        rc = ww_rope_table_new(c->layout, att, positions, N, positions[N - 1] + 1, &rope,
                               err);
    }
    for (int after = 0; after < 2 && !rc; after++) {
        const struct ww_attention_values values = values_of(e, after);
        rc = ww_core_attention(att, &values, rope, rope, positions, positions,
                               after ? x.q.after : x.q.before,
                               after ? x.k.after : x.k.before,
                               after ? x.v.after : x.v.before,
                               after ? context->after : context->before, N, N, err);
    }
    ww_rope_table_free(rope);
    free_pair(&x.q);
    free_pair(&x.k);
    free_pair(&x.v);
    return rc;
}

/* The norms of latents, which have spaces of their own. */
static enum ww_err check_latents(struct checker *c, const struct ww_attention *att,
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
                rc = check_norm_on(c, att->name, "latent norm", rows[i].norm, &element,
                                   err);
            }
            ww_element_release(&element);
        }
    }
    return rc;
}

static enum ww_err check_attention(struct checker *c, uint32_t index,
                                   struct ww_error *err)
{
    const struct ww_attention *att = &c->layout->attentions[index];
    const size_t n = (size_t)(N * att->n_heads * att->v_dim);
    struct extras e = {0};
    struct pair context = {0};
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
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for activations");
        goto out;
    }
    rc = run_attention(c, att, &e, &context, err);
    if (rc) {
        goto out;
    }
    rc = compare_mixed(c, att->name, "attention", att->context, &element, context.after,
                       context.before, N, err);
out:
    free_extras(&e);
    free_pair(&context);
    ww_element_release(&element);
    return rc;
}

static enum ww_err check_mlp(struct checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_mlp *mlp = &c->layout->mlps[index];
    const struct ww_segment *gate_out = output_segment(c, &mlp->gate);
    const struct ww_segment *up_out = output_segment(c, &mlp->up);
    struct ww_element neurons = {0};
    struct pair gate = {0};
    struct pair up = {0};
    enum ww_err rc = ww_gauge_neurons(c->gauge, index, &neurons, err);

    if (!rc && mlp->gated) {
        rc = random_pair(c, &neurons, gate_out ? gate_out->action : WW_ACT_PERMUTE, 1,
                         &gate, err);
    }
    if (!rc) {
        rc = random_pair(c, &neurons, up_out ? up_out->action : WW_ACT_DIRECT, 1, &up,
                         err);
    }
    if (!rc) {
        ww_core_mlp(mlp, gate.before, up.before, up.before);
        ww_core_mlp(mlp, gate.after, up.after, up.after);
        rc = compare_moved(c, mlp->name, "MLP", &neurons, up.after, up.before, 1, err);
    }
    free_pair(&gate);
    free_pair(&up);
    ww_element_release(&neurons);
    return rc;
}

static enum ww_err check_router(struct checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_moe *moe = &c->layout->moes[index];
    struct ww_element experts = {0};
    struct pair scores = {0};
    struct pair weights = {0};
    struct pair correction = {0};
    enum ww_err rc = ww_gauge_experts(c->gauge, index, &experts, err);

    if (!rc) {
        rc = random_pair(c, &experts, WW_ACT_DIRECT, 1, &scores, err);
    }
    if (!rc) {
        rc = random_pair(c, &experts, WW_ACT_DIRECT, 1, &weights, err);
    }
    if (!rc) {
        rc = read_pair(c, moe->correction, &correction, err);
    }
    if (!rc) {
        ww_core_route(moe, scores.before, correction.before, weights.before);
        ww_core_route(moe, scores.after, correction.after, weights.after);
        rc = compare_moved(c, moe->name, "choice of experts", &experts, weights.after,
                           weights.before, 1, err);
    }
    free_pair(&scores);
    free_pair(&weights);
    free_pair(&correction);
    ww_element_release(&experts);
    return rc;
}

static enum ww_err check_moe(struct checker *c, uint32_t index, struct ww_error *err)
{
    const struct ww_moe *moe = &c->layout->moes[index];
    enum ww_err rc = check_router(c, index, err);

    for (uint32_t e = 0; e < moe->n_experts && !rc; e++) {
        rc = check_mlp(c, moe->first_mlp + e, err);
    }
    if (!rc && moe->shared_mlp != WW_NONE) {
        rc = check_mlp(c, moe->shared_mlp, err);
    }
    return rc;
}

static enum ww_err check_block(struct checker *c, const struct ww_block *block,
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
        rc = check_norm(c, block->name, norms[i].part, norms[i].norm, err);
    }
    rc = rc ? rc : check_layer_scale(c, block->name, block->scale_self, err);
    rc = rc ? rc : check_layer_scale(c, block->name, block->scale_mlp, err);
    if (!rc && block->self != WW_NONE) {
        rc = check_attention(c, block->self, err);
    }
    if (!rc && block->cross != WW_NONE) {
        rc = check_attention(c, block->cross, err);
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
static enum ww_err check_head(struct checker *c, struct ww_error *err)
{
    const struct ww_element *residual = c->stream;
    const struct ww_mlp act = {
        .name = "head", .n_neurons = residual->n, .act = c->layout->head_act};
    struct pair x = {0};
    enum ww_err rc = WW_OK;

    if (c->layout->head_norm.kind == WW_NORM_NONE) {
        return WW_OK;
    }
    rc = random_pair(c, residual, WW_ACT_DIRECT, 1, &x, err);
    if (!rc) {
        ww_core_mlp(&act, NULL, x.before, x.before);
        ww_core_mlp(&act, NULL, x.after, x.after);
        rc = compare_moved(c, "head", "activation", residual, x.after, x.before, 1, err);
    }
    if (!rc) {
        rc = check_norm(c, "head", "norm", &c->layout->head_norm, err);
    }
    free_pair(&x);
    return rc;
}

enum ww_err ww_check_cores(const struct ww_gauge *gauge, const struct ww_weights *base,
                           double *max_error, struct ww_error *err)
{
    struct checker c = {.gauge = gauge, .layout = gauge->layout, .base = base};
    enum ww_err rc = WW_OK;

    ww_lens_init(&c.lens, gauge, base);
    for (uint32_t b = 0; b < c.layout->n_blocks && !rc; b++) {
        rc = check_block(&c, &c.layout->blocks[b], err);
    }
    for (uint32_t s = 0; s < c.layout->n_stacks && !rc; s++) {
        const struct ww_stack *stack = &c.layout->stacks[s];
        c.stream = ww_gauge_stream(gauge, s);
        rc = check_norm(&c, stack->name, "norm of the embeddings", &stack->embed_norm,
                        err);
        if (!rc) {
            rc = check_norm(&c, stack->name, "last norm", &stack->final_norm, err);
        }
    }
    c.stream = &gauge->residual;
    rc = rc ? rc : check_head(&c, err);
    *max_error = c.max_error;
    return rc;
}
