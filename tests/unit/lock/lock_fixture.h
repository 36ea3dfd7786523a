/* SPDX-License-Identifier: Apache-2.0 */
/* One-block models made by hand, in memory, with every axis bound to its space: what the
 * resolver would give, without files. */
#ifndef WW_LOCK_FIXTURE_H
#define WW_LOCK_FIXTURE_H

#include "ww_test.h"

#include "crypto/secret.h"
#include "model/convert.h"
#include "weightward/forward.h"

#define LK_TENSORS 64
#define LK_SEGMENTS 128
#define LK_SPACES 64
#define LK_EXPERTS 4

struct lk_options {
    enum ww_dtype dtype;
    uint64_t width, n_heads, n_kv_heads, d, d_v, n_neurons;
    enum ww_qk_class qk_class;
    enum ww_vo_class vo_class;
    enum ww_rope_style rope;
    uint64_t rope_dims;
    bool qk_bias; /* the QK norm has one */
    enum ww_norm_kind norm;
    enum ww_residual_group residual;
    bool plain_mlp; /* no gate, GELU */
    bool fused;     /* q, k, v in one tensor, per KV group */
    bool conv1d;    /* o and down stored transposed */
    bool alibi;
    bool sinks;
    unsigned moe; /* 1: tensors of their own, 2: stacked */
    uint64_t n_groups;
    double clip;
};

struct lk {
    struct ww_model model;
    struct ww_layout layout;
    struct ww_tensor tensors[LK_TENSORS];
    char names[LK_TENSORS][48];
    struct ww_binding bindings[LK_TENSORS];
    uint8_t *data[LK_TENSORS];
    struct ww_segment segments[LK_SEGMENTS];
    struct ww_space spaces[LK_SPACES];
    char space_names[LK_SPACES][48];
    struct ww_stack stack;
    struct ww_block block;
    struct ww_attention att;
    struct ww_mlp mlps[LK_EXPERTS];
    char mlp_names[LK_EXPERTS][32];
    struct ww_moe moe;
    struct ww_weights weights;
    struct lk_options o;
    uint64_t seed;
};

static inline struct lk_options lk_llama(void)
{
    return (struct lk_options){.dtype = WW_DTYPE_F64,
                               .width = 24,
                               .n_heads = 4,
                               .n_kv_heads = 2,
                               .d = 8,
                               .d_v = 8,
                               .n_neurons = 20,
                               .qk_class = WW_QK_ROPE,
                               .vo_class = WW_VO_GL,
                               .rope = WW_ROPE_HALF,
                               .rope_dims = 8,
                               .norm = WW_NORM_RMS,
                               .residual = WW_RESIDUAL_SIGNED,
                               .n_groups = 1};
}

static inline enum ww_err lk_get(void *payload, uint32_t tensor, void **bytes,
                                 struct ww_error *err)
{
    struct lk *lk = payload;
    (void)err;
    *bytes = malloc((size_t)lk->tensors[tensor].n_bytes);
    memcpy(*bytes, lk->data[tensor], (size_t)lk->tensors[tensor].n_bytes);
    return WW_OK;
}

static inline void lk_release(void *payload, uint32_t tensor, void *bytes)
{
    (void)payload;
    (void)tensor;
    free(bytes);
}

static inline double lk_random(struct lk *lk)
{
    uint64_t z = (lk->seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return ((double)(z >> 11) * 0x1p-53 - 0.5) * 3.46;
}

static inline uint32_t lk_space(struct lk *lk, enum ww_space_kind kind, uint64_t size,
                                uint32_t owner, const char *name)
{
    uint32_t index = lk->layout.n_spaces++;
    const size_t len = strlen(name);
    assert_true(index < LK_SPACES && len < sizeof(lk->space_names[index]));
    memcpy(lk->space_names[index], name, len + 1);
    lk->spaces[index] = (struct ww_space){kind, size, owner, lk->space_names[index]};
    return index;
}

/* A tensor with random values of the given size around mean; zeros end the shape. */
static inline uint32_t lk_tensor(struct lk *lk, const char *name, uint64_t d0,
                                 uint64_t d1, uint64_t d2, double mean, double size)
{
    uint32_t index = lk->model.n_tensors++;
    struct ww_tensor *t = &lk->tensors[index];
    assert_true(index < LK_TENSORS);
    snprintf(lk->names[index], sizeof(lk->names[index]), "%s", name);
    t->name = lk->names[index];
    t->dtype = lk->o.dtype;
    t->rank = 1u + (d1 > 0) + (d2 > 0);
    t->shape[0] = d0;
    t->shape[1] = d1;
    t->shape[2] = d2;
    t->n_elements = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    t->n_bytes = t->n_elements * ww_dtype_bits(t->dtype) / 8;
    lk->data[index] = calloc(1, (size_t)t->n_bytes);
    for (uint64_t i = 0; i < t->n_elements; i++) {
        double value = mean + size * lk_random(lk);
        ww_from_double(t->dtype, &value,
                       lk->data[index] + i * (t->n_bytes / t->n_elements), 1);
    }
    lk->bindings[index] =
        (struct ww_binding){.role = "x", .block = 0, .name_space = WW_NONE};
    return index;
}

static inline uint32_t lk_segment(struct lk *lk, uint32_t tensor, unsigned axis,
                                  struct ww_segment segment)
{
    struct ww_axis *a = &lk->bindings[tensor].axis[axis];
    uint32_t index = lk->layout.n_segments++;
    assert_true(index < LK_SEGMENTS);
    if (a->n_segments == 0) {
        a->first_segment = index;
    }
    assert_int_equal(a->first_segment + a->n_segments, index);
    a->n_segments++;
    lk->segments[index] = segment;
    return index;
}

/* The whole axis runs over the space. */
static inline void lk_bind(struct lk *lk, uint32_t tensor, unsigned axis, uint32_t space,
                           enum ww_action action)
{
    uint64_t size = lk->spaces[space].size;
    assert_int_equal(size, lk->tensors[tensor].shape[axis]);
    lk_segment(lk, tensor, axis, (struct ww_segment){space, action, 0, size, 1, size, 0});
}

static inline struct ww_linear lk_linear(struct lk *lk, const char *name, uint32_t out,
                                         enum ww_action action, uint32_t in,
                                         bool transposed)
{
    uint64_t n_out = lk->spaces[out].size;
    uint64_t n_in = lk->spaces[in].size;
    double size = 1.5 / sqrt((double)n_in);
    uint32_t w = lk_tensor(lk, name, transposed ? n_in : n_out, transposed ? n_out : n_in,
                           0, 0, size);
    uint32_t b = lk_tensor(lk, "bias", n_out, 0, 0, 0, 0.5);
    lk_bind(lk, w, transposed ? 1 : 0, out, action);
    lk_bind(lk, w, transposed ? 0 : 1, in, WW_ACT_INVERSE);
    lk_bind(lk, b, 0, out, action);
    return (struct ww_linear){.weight = w,
                              .out_axis = transposed,
                              .in_axis = !transposed,
                              .out_segment = WW_NONE,
                              .in_segment = WW_NONE,
                              .bias = b,
                              .bias_segment = WW_NONE,
                              .expert_axis = UINT8_MAX};
}

static inline struct ww_norm lk_norm(struct lk *lk, enum ww_norm_kind kind,
                                     uint32_t space, bool bias)
{
    struct ww_norm norm = {.kind = kind, .gain = WW_NONE, .bias = WW_NONE, .eps = 1e-6};
    norm.gain = lk_tensor(lk, "norm", lk->spaces[space].size, 0, 0, 1, 0.4);
    lk_bind(lk, norm.gain, 0, space, WW_ACT_PERMUTE);
    if (bias) {
        norm.bias = lk_tensor(lk, "norm bias", lk->spaces[space].size, 0, 0, 0, 0.4);
        lk_bind(lk, norm.bias, 0, space,
                kind == WW_NORM_LAYER && lk->spaces[space].kind == WW_SPACE_RESIDUAL
                    ? WW_ACT_DIRECT
                    : WW_ACT_PERMUTE);
    }
    return norm;
}

/* q, k and v in one tensor, per KV group: its query heads, its key, its value. */
static inline void lk_fused_qkv(struct lk *lk, uint32_t residual)
{
    struct ww_attention *att = &lk->att;
    uint64_t G = lk->o.n_kv_heads, d = lk->o.d, m = lk->o.n_heads / G;
    uint64_t stride = (m + 2) * d;
    uint32_t w = lk_tensor(lk, "qkv", G * stride, lk->o.width, 0, 0,
                           1.5 / sqrt((double)lk->o.width));
    uint32_t b = lk_tensor(lk, "qkv bias", G * stride, 0, 0, 0, 0.5);
    struct ww_segment parts[3] = {
        {att->query, WW_ACT_DIRECT, 0, stride, G, m * d, 0},
        {att->key, WW_ACT_INVERSE, m * d, stride, G, d, 0},
        {att->value, WW_ACT_DIRECT, (m + 1) * d, stride, G, d, 0}};
    struct ww_linear *linears[3] = {&att->q, &att->k, &att->v};
    for (int i = 0; i < 3; i++) {
        *linears[i] = (struct ww_linear){.weight = w,
                                         .out_axis = 0,
                                         .in_axis = 1,
                                         .in_segment = WW_NONE,
                                         .bias = b,
                                         .expert_axis = UINT8_MAX};
        linears[i]->out_segment = lk_segment(lk, w, 0, parts[i]);
    }
    lk_bind(lk, w, 1, residual, WW_ACT_INVERSE);
    for (int i = 0; i < 3; i++) {
        linears[i]->bias_segment = lk_segment(lk, b, 0, parts[i]);
    }
}

static inline void lk_qk_norms(struct lk *lk)
{
    struct ww_attention *att = &lk->att;
    enum ww_qk_class class = lk->o.qk_class;
    if (class == WW_QK_RMS_HEAD || class == WW_QK_LN_HEAD) {
        enum ww_norm_kind kind = class == WW_QK_LN_HEAD ? WW_NORM_LAYER : WW_NORM_RMS;
        att->qk_gain =
            lk_space(lk, WW_SPACE_QK_GAIN, lk->o.d, 0, "decoder.0.self.qk_gain");
        att->q_norm = lk_norm(lk, kind, att->qk_gain, lk->o.qk_bias);
        att->k_norm = lk_norm(lk, kind, att->qk_gain, lk->o.qk_bias);
        att->qk_norm_bias = lk->o.qk_bias;
    }
    if (class == WW_QK_RMS_FULL) {
        att->q_norm = lk_norm(lk, WW_NORM_RMS, att->query, false);
        att->k_norm = lk_norm(lk, WW_NORM_RMS, att->key, false);
        att->qk_gain_per_head = true;
    }
    if (class == WW_QK_L2_POST) {
        att->q_norm = (struct ww_norm){WW_NORM_RMS, WW_NONE, WW_NONE, 1e-6, false};
        att->k_norm = att->q_norm;
    }
}

static inline void lk_attention(struct lk *lk, uint32_t residual)
{
    struct ww_attention *att = &lk->att;
    uint64_t H = lk->o.n_heads, G = lk->o.n_kv_heads, d = lk->o.d, dv = lk->o.d_v;
    *att = (struct ww_attention){.name = "decoder.0.self",
                                 .n_heads = H,
                                 .n_kv_heads = G,
                                 .head_dim = d,
                                 .v_dim = dv,
                                 .rope = {.style = lk->o.rope,
                                          .dims = lk->o.rope_dims,
                                          .theta = 50,
                                          .type = "default"},
                                 .qk_class = lk->o.qk_class,
                                 .vo_class = lk->o.vo_class,
                                 .heads_move = !lk->o.alibi,
                                 .causal = true,
                                 .alibi = lk->o.alibi,
                                 .scale = 0.7,
                                 .sinks = WW_NONE,
                                 .relative_bias = WW_NONE,
                                 .qk_gain = WW_NONE,
                                 .q_nope = WW_NONE,
                                 .k_nope = WW_NONE,
                                 .q_rope = WW_NONE,
                                 .k_rope = WW_NONE,
                                 .kv_latent = WW_NONE,
                                 .query_latent = WW_NONE,
                                 .q_norm = {.gain = WW_NONE, .bias = WW_NONE},
                                 .k_norm = {.gain = WW_NONE, .bias = WW_NONE},
                                 .clip = lk->o.clip,
                                 .q_a = {.weight = WW_NONE, .bias = WW_NONE},
                                 .kv_a = {.weight = WW_NONE, .bias = WW_NONE},
                                 .kv_b = {.weight = WW_NONE, .bias = WW_NONE},
                                 .gate = {.weight = WW_NONE, .bias = WW_NONE}};
    att->query = lk_space(lk, WW_SPACE_QUERY, H * d, 0, "decoder.0.self.query");
    att->key = lk_space(lk, WW_SPACE_KEY, G * d, 0, "decoder.0.self.key");
    att->value = lk_space(lk, WW_SPACE_VALUE, G * dv, 0, "decoder.0.self.value");
    att->context = lk_space(lk, WW_SPACE_CONTEXT, H * dv, 0, "decoder.0.self.context");
    att->query_head =
        lk_space(lk, WW_SPACE_QUERY_HEAD, H, 0, "decoder.0.self.query_head");
    att->kv_head = lk_space(lk, WW_SPACE_KV_HEAD, G, 0, "decoder.0.self.kv_head");
    if (lk->o.fused) {
        lk_fused_qkv(lk, residual);
    } else {
        att->q = lk_linear(lk, "q", att->query, WW_ACT_DIRECT, residual, false);
        att->k = lk_linear(lk, "k", att->key, WW_ACT_INVERSE, residual, false);
        att->v = lk_linear(lk, "v", att->value, WW_ACT_DIRECT, residual, false);
    }
    att->o = lk_linear(lk, "o", residual, WW_ACT_DIRECT, att->context, lk->o.conv1d);
    lk_qk_norms(lk);
    if (lk->o.sinks) {
        att->sinks = lk_tensor(lk, "sinks", H, 0, 0, 0, 1);
        lk_bind(lk, att->sinks, 0, att->query_head, WW_ACT_DIRECT);
    }
}

static inline void lk_mlp(struct lk *lk, uint32_t index, uint32_t residual)
{
    struct ww_mlp *mlp = &lk->mlps[index];
    uint32_t neuron;
    snprintf(lk->mlp_names[index], sizeof(lk->mlp_names[index]), "decoder.0.mlp.%u",
             index);
    neuron = lk_space(lk, WW_SPACE_NEURON, lk->o.n_neurons, index, lk->mlp_names[index]);
    *mlp = (struct ww_mlp){.name = lk->mlp_names[index],
                           .n_neurons = lk->o.n_neurons,
                           .gated = !lk->o.plain_mlp,
                           .sign_moves = !lk->o.plain_mlp,
                           .scale_moves = !lk->o.plain_mlp,
                           .act = lk->o.plain_mlp ? WW_FN_GELU : WW_FN_SILU,
                           .neuron = neuron,
                           .down_multiplier = 1,
                           .gate = {.weight = WW_NONE, .bias = WW_NONE}};
    if (lk->o.moe == 2) {
        return;
    }
    if (mlp->gated) {
        mlp->gate = lk_linear(lk, "gate", neuron, WW_ACT_PERMUTE, residual, false);
    }
    mlp->up = lk_linear(lk, "up", neuron, WW_ACT_DIRECT, residual, false);
    mlp->down = lk_linear(lk, "down", residual, WW_ACT_DIRECT, neuron, lk->o.conv1d);
}

/* [E, D, 2F] in x out with gate and up interleaved, [E, F, D]: as gpt-oss stores them. */
static inline void lk_stacked(struct lk *lk, uint32_t residual)
{
    uint64_t E = LK_EXPERTS, F = lk->o.n_neurons, D = lk->o.width;
    uint32_t neuron = lk->mlps[0].neuron;
    uint32_t gu = lk_tensor(lk, "gate_up", E, D, 2 * F, 0, 0.3);
    uint32_t gub = lk_tensor(lk, "gate_up bias", E, 2 * F, 0, 0, 0.3);
    uint32_t down = lk_tensor(lk, "down", E, F, D, 0, 0.3);
    struct ww_segment gate = {neuron, WW_ACT_PERMUTE, 0, 2, F, 1, 0};
    struct ww_segment up = {neuron, WW_ACT_DIRECT, 1, 2, F, 1, 0};
    struct ww_linear linear = {.out_axis = 2,
                               .in_axis = 1,
                               .out_segment = WW_NONE,
                               .in_segment = WW_NONE,
                               .bias = WW_NONE,
                               .bias_segment = WW_NONE,
                               .expert_axis = 0};
    lk_bind(lk, gu, 0, lk->moe.expert, WW_ACT_DIRECT);
    lk_bind(lk, gu, 1, residual, WW_ACT_INVERSE);
    uint32_t gate_segment = lk_segment(lk, gu, 2, gate);
    uint32_t up_segment = lk_segment(lk, gu, 2, up);
    lk_bind(lk, gub, 0, lk->moe.expert, WW_ACT_DIRECT);
    uint32_t gate_bias = lk_segment(lk, gub, 1, gate);
    uint32_t up_bias = lk_segment(lk, gub, 1, up);
    lk_bind(lk, down, 0, lk->moe.expert, WW_ACT_DIRECT);
    lk_bind(lk, down, 1, neuron, WW_ACT_INVERSE);
    lk_bind(lk, down, 2, residual, WW_ACT_DIRECT);
    for (uint32_t e = 0; e < E; e++) {
        struct ww_mlp *mlp = &lk->mlps[e];
        mlp->gate = mlp->up = mlp->down = linear;
        mlp->gate.expert = mlp->up.expert = mlp->down.expert = e;
        mlp->gate.weight = mlp->up.weight = gu;
        mlp->gate.bias = mlp->up.bias = gub;
        mlp->gate.out_segment = gate_segment;
        mlp->gate.bias_segment = gate_bias;
        mlp->up.out_segment = up_segment;
        mlp->up.bias_segment = up_bias;
        mlp->down.weight = down;
    }
}

static inline void lk_name_experts(struct lk *lk, uint32_t first_tensor,
                                   uint32_t per_expert)
{
    for (uint32_t t = first_tensor; t < lk->model.n_tensors; t++) {
        lk->bindings[t].name_space = lk->moe.expert;
        lk->bindings[t].name_index = (t - first_tensor) / per_expert;
        lk->bindings[t].name_family = (t - first_tensor) % per_expert;
    }
}

static inline void lk_feed(struct lk *lk, uint32_t residual)
{
    if (!lk->o.moe) {
        lk->layout.n_mlps = 1;
        lk_mlp(lk, 0, residual);
        return;
    }
    lk->layout.n_mlps = LK_EXPERTS;
    lk->layout.n_moes = 1;
    lk->moe = (struct ww_moe){.name = "decoder.0.experts",
                              .n_experts = LK_EXPERTS,
                              .top_k = 2,
                              .n_groups = lk->o.n_groups,
                              .normalise = true,
                              .softmax_first = true,
                              .experts_move = true,
                              .first_mlp = 0,
                              .shared_mlp = WW_NONE,
                              .correction = WW_NONE,
                              .multiplier = 1,
                              .shared_gate = {.weight = WW_NONE, .bias = WW_NONE}};
    lk->moe.expert = lk_space(lk, WW_SPACE_EXPERT, LK_EXPERTS, 0, "decoder.0.experts");
    lk->moe.router =
        lk_linear(lk, "router", lk->moe.expert, WW_ACT_DIRECT, residual, false);
    uint32_t first = lk->model.n_tensors;
    for (uint32_t e = 0; e < LK_EXPERTS; e++) {
        lk_mlp(lk, e, residual);
    }
    if (lk->o.moe == 2) {
        lk_stacked(lk, residual);
    } else {
        lk_name_experts(lk, first, (lk->model.n_tensors - first) / LK_EXPERTS);
    }
}

static inline void lk_init(struct lk *lk, struct lk_options o)
{
    memset(lk, 0, sizeof(*lk));
    lk->o = o;
    lk->seed = 7;
    lk->model.tensors = lk->tensors;
    lk->layout = (struct ww_layout){
        .model = &lk->model,
        .descriptor = "made-by-hand",
        .model_type = "made-by-hand",
        .task = "causal-lm",
        .residual = {.space = 0, .width = o.width, .group = o.residual, .reason = "test"},
        .spaces = lk->spaces,
        .segments = lk->segments,
        .bindings = lk->bindings,
        .stacks = &lk->stack,
        .n_stacks = 1,
        .blocks = &lk->block,
        .n_blocks = 1,
        .attentions = &lk->att,
        .n_attentions = 1,
        .mlps = lk->mlps,
        .moes = &lk->moe,
        .embed = WW_NONE,
        .embed_position = WW_NONE,
        .embed_type = WW_NONE,
        .head = {.weight = WW_NONE},
        .head_transform = {.weight = WW_NONE},
        .head_norm = {.gain = WW_NONE, .bias = WW_NONE},
        .head_multiplier = 1};
    lk->weights = (struct ww_weights){lk_get, lk_release, lk};
    uint32_t residual = lk_space(lk, WW_SPACE_RESIDUAL, o.width, WW_NONE, "residual");
    bool layer_norm = o.norm == WW_NORM_LAYER;
    lk->stack = (struct ww_stack){.name = "decoder",
                                  .n_blocks = 1,
                                  .embed_norm = {.gain = WW_NONE, .bias = WW_NONE},
                                  .final_norm = {.gain = WW_NONE, .bias = WW_NONE},
                                  .embed_multiplier = 1};
    lk->block = (struct ww_block){.name = "decoder.0",
                                  .form = WW_BLOCK_PRE,
                                  .self = 0,
                                  .cross = WW_NONE,
                                  .mlp = o.moe ? WW_NONE : 0,
                                  .moe = o.moe ? 0 : WW_NONE,
                                  .scale_self = WW_NONE,
                                  .scale_mlp = WW_NONE,
                                  .residual_multiplier = 1,
                                  .norm_cross = {.gain = WW_NONE, .bias = WW_NONE},
                                  .post_self = {.gain = WW_NONE, .bias = WW_NONE},
                                  .post_mlp = {.gain = WW_NONE, .bias = WW_NONE}};
    lk_attention(lk, residual);
    lk_feed(lk, residual);
    lk->block.norm_self = lk_norm(lk, o.norm, residual, layer_norm);
    lk->block.norm_mlp = lk_norm(lk, o.norm, residual, layer_norm);
    lk->layout.embed = lk_tensor(lk, "embed", 13, o.width, 0, 0, 1);
    lk_bind(lk, lk->layout.embed, 1, residual, WW_ACT_INVERSE);
}

static inline void lk_free(struct lk *lk)
{
    for (uint32_t i = 0; i < lk->model.n_tensors; i++) {
        free(lk->data[i]);
    }
}

static inline struct ww_secret *lk_secret(uint8_t fill)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    OK(ww_secret_new(32, &secret, &err));
    uint8_t *bytes = ww_secret_open(secret);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(fill + 3 * i);
    }
    ww_secret_close(secret);
    return secret;
}

#endif
