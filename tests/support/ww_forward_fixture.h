/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts made by hand over tensors in memory, so that the forward pass can be tested
 * without files and without a resolver. */
#ifndef WW_FORWARD_FIXTURE_H
#define WW_FORWARD_FIXTURE_H

#include "ww_test.h"

#include "weightward/forward.h"

#define FX_TENSORS 64
#define FX_PARTS 8

struct fx {
    struct ww_model model;
    struct ww_layout layout;
    struct ww_tensor tensors[FX_TENSORS];
    double *data[FX_TENSORS];
    struct ww_segment segments[FX_PARTS];
    struct ww_stack stacks[2];
    struct ww_block blocks[FX_PARTS];
    struct ww_attention attentions[FX_PARTS];
    struct ww_mlp mlps[FX_PARTS];
    struct ww_moe moes[FX_PARTS];
    struct ww_weights weights;
    int n_held; /* got and not yet released */
    int n_got;
    uint32_t refuse; /* tensor whose get fails, or WW_NONE */
};

static inline enum ww_err fx_get(void *payload, uint32_t tensor, void **bytes,
                                 struct ww_error *err)
{
    struct fx *fx = payload;
    if (tensor == fx->refuse) {
        err->code = WW_E_IO;
        return WW_E_IO;
    }
    size_t size = (size_t)fx->tensors[tensor].n_bytes;
    *bytes = malloc(size);
    memcpy(*bytes, fx->data[tensor], size);
    fx->n_held++;
    fx->n_got++;
    return WW_OK;
}

static inline void fx_release(void *payload, uint32_t tensor, void *bytes)
{
    struct fx *fx = payload;
    (void)tensor;
    free(bytes);
    fx->n_held--;
}

static inline void fx_init(struct fx *fx, uint64_t width)
{
    memset(fx, 0, sizeof(*fx));
    fx->model.tensors = fx->tensors;
    fx->refuse = WW_NONE;
    fx->layout = (struct ww_layout){.model = &fx->model,
                                    .descriptor = "made-by-hand",
                                    .model_type = "made-by-hand",
                                    .task = "causal-lm",
                                    .residual = {.space = WW_NONE, .width = width},
                                    .segments = fx->segments,
                                    .stacks = fx->stacks,
                                    .blocks = fx->blocks,
                                    .attentions = fx->attentions,
                                    .mlps = fx->mlps,
                                    .moes = fx->moes,
                                    .embed = WW_NONE,
                                    .embed_position = WW_NONE,
                                    .embed_type = WW_NONE,
                                    .head = {.weight = WW_NONE},
                                    .head_multiplier = 1};
    fx->weights = (struct ww_weights){fx_get, fx_release, fx};
}

static inline void fx_free(struct fx *fx)
{
    assert_int_equal(fx->n_held, 0);
    for (uint32_t i = 0; i < fx->model.n_tensors; i++) {
        free(fx->data[i]);
    }
}

/** A new F64 tensor with values in (-1, 1) that differ by tensor; trailing zeros end the
 *  shape. */
static inline uint32_t fx_tensor(struct fx *fx, uint64_t d0, uint64_t d1, uint64_t d2)
{
    uint32_t index = fx->model.n_tensors++;
    struct ww_tensor *t = &fx->tensors[index];
    assert_true(index < FX_TENSORS);
    t->name = "tensor";
    t->dtype = WW_DTYPE_F64;
    t->rank = 1u + (d1 > 0) + (d2 > 0);
    t->shape[0] = d0;
    t->shape[1] = d1;
    t->shape[2] = d2;
    t->n_elements = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    t->n_bytes = t->n_elements * sizeof(double);
    fx->data[index] = malloc((size_t)t->n_bytes);
    for (uint64_t i = 0; i < t->n_elements; i++) {
        fx->data[index][i] = sin(1.0 + 12.9898 * (double)i + 78.233 * index);
    }
    return index;
}

/** y = W x + b stored the plain way. */
static inline struct ww_linear fx_linear(struct fx *fx, uint64_t n_out, uint64_t n_in,
                                         bool bias)
{
    return (struct ww_linear){.weight = fx_tensor(fx, n_out, n_in, 0),
                              .out_axis = 0,
                              .in_axis = 1,
                              .out_segment = WW_NONE,
                              .in_segment = WW_NONE,
                              .bias = bias ? fx_tensor(fx, n_out, 0, 0) : WW_NONE,
                              .bias_segment = WW_NONE,
                              .expert_axis = UINT8_MAX};
}

static inline struct ww_norm fx_norm(struct fx *fx, enum ww_norm_kind kind,
                                     uint64_t width)
{
    return (struct ww_norm){.kind = kind,
                            .gain = fx_tensor(fx, width, 0, 0),
                            .bias = kind == WW_NORM_LAYER ? fx_tensor(fx, width, 0, 0)
                                                          : WW_NONE,
                            .eps = 1e-6};
}

static inline uint32_t fx_attention(struct fx *fx, uint64_t n_heads, uint64_t n_kv_heads,
                                    uint64_t d)
{
    uint32_t index = fx->layout.n_attentions++;
    uint64_t width = fx->layout.residual.width;
    fx->attentions[index] = (struct ww_attention){
        .name = "self",
        .n_heads = n_heads,
        .n_kv_heads = n_kv_heads,
        .head_dim = d,
        .v_dim = d,
        .qk_class = WW_QK_ROPE,
        .causal = true,
        .scale = 0.5,
        .rope = {.style = WW_ROPE_HALF, .dims = d, .theta = 100, .type = "default"},
        .sinks = WW_NONE,
        .relative_bias = WW_NONE,
        .q = fx_linear(fx, n_heads * d, width, true),
        .k = fx_linear(fx, n_kv_heads * d, width, true),
        .v = fx_linear(fx, n_kv_heads * d, width, true),
        .o = fx_linear(fx, width, n_heads * d, true)};
    return index;
}

static inline uint32_t fx_mlp(struct fx *fx, uint64_t n_neurons)
{
    uint32_t index = fx->layout.n_mlps++;
    uint64_t width = fx->layout.residual.width;
    fx->mlps[index] = (struct ww_mlp){.name = "mlp",
                                      .n_neurons = n_neurons,
                                      .gated = true,
                                      .act = WW_FN_SILU,
                                      .gate = fx_linear(fx, n_neurons, width, false),
                                      .up = fx_linear(fx, n_neurons, width, true),
                                      .down = fx_linear(fx, width, n_neurons, false),
                                      .down_multiplier = 1};
    return index;
}

/** A block of the given form with attention and MLP, LayerNorms and all. */
static inline uint32_t fx_block(struct fx *fx, enum ww_block_form form)
{
    uint32_t index = fx->layout.n_blocks++;
    uint64_t width = fx->layout.residual.width;
    fx->blocks[index] = (struct ww_block){.name = "block",
                                          .form = form,
                                          .self = fx_attention(fx, 4, 2, 4),
                                          .cross = WW_NONE,
                                          .mlp = fx_mlp(fx, 6),
                                          .moe = WW_NONE,
                                          .scale_self = WW_NONE,
                                          .scale_mlp = WW_NONE,
                                          .norm_self = fx_norm(fx, WW_NORM_LAYER, width),
                                          .norm_mlp = fx_norm(fx, WW_NORM_RMS, width),
                                          .residual_multiplier = 1};
    return index;
}

/** A causal language model of n_blocks pre-norm blocks. */
static inline void fx_language_model(struct fx *fx, uint32_t n_blocks, uint64_t vocab)
{
    uint64_t width = fx->layout.residual.width;
    fx->layout.embed = fx_tensor(fx, vocab, width, 0);
    fx->layout.head = fx_linear(fx, vocab, width, false);
    fx->layout.n_stacks = 1;
    fx->stacks[0] = (struct ww_stack){.name = "decoder",
                                      .n_blocks = n_blocks,
                                      .final_norm = fx_norm(fx, WW_NORM_RMS, width),
                                      .embed_multiplier = 1};
    for (uint32_t i = 0; i < n_blocks; i++) {
        fx_block(fx, WW_BLOCK_PRE);
    }
}

#endif
