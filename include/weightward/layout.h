/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The layout of a model: which axis of which tensor runs over which space, and what may
 * legally move there.
 *
 * A *space* is an index set that several tensor axes share (the residual stream, the
 * query rows of one attention, the neurons of one MLP, ...). A symmetry of the model acts
 * on spaces; a tensor moves because its axes run over them. An axis is cut into
 * *segments*, so fused, per-head, per-group and interleaved storage are all the same
 * thing: a list of (space, offset, stride, count, width, action). Everything downstream
 * (lock, attack, lineage, merge) consumes this and nothing else.
 *
 * Immutable once resolved. Borrows the model, which must outlive it.
 */
#ifndef WEIGHTWARD_LAYOUT_H
#define WEIGHTWARD_LAYOUT_H

#include "weightward/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ww_space_kind {
    WW_SPACE_RESIDUAL,   /* D */
    WW_SPACE_QUERY,      /* H * d, head-major */
    WW_SPACE_KEY,        /* G * d */
    WW_SPACE_VALUE,      /* G * d_v */
    WW_SPACE_CONTEXT,    /* H * d_v: what the output projection reads */
    WW_SPACE_QUERY_HEAD, /* H */
    WW_SPACE_KV_HEAD,    /* G */
    WW_SPACE_QK_GAIN,    /* d: norm gains that all heads share */
    WW_SPACE_NEURON,     /* F */
    WW_SPACE_EXPERT,     /* E */
    WW_SPACE_MLA_Q_NOPE, /* H * n */
    WW_SPACE_MLA_K_NOPE, /* H * n */
    WW_SPACE_MLA_Q_ROPE, /* H * r */
    WW_SPACE_MLA_K_ROPE, /* r: one rope key for all heads */
    WW_SPACE_LATENT,     /* kv_lora_rank */
    WW_SPACE_Q_LATENT    /* q_lora_rank */
};

struct ww_space {
    enum ww_space_kind kind;
    uint64_t size;
    uint32_t owner;   /* index of the attention, MLP or MoE it belongs to, of the stack
                         for a tower's stream; WW_NONE for the model's stream */
    const char *name; /* "residual", "decoder.3.self.query", "decoder.3.mlp.neuron";
                         independent of file names: keys are derived from it */
};

/** How a segment's indices move under an element S of its space (a signed permutation
 * with powers of two: x'[i] = sign[i] * 2^exp[i] * x[perm[i]]). */
enum ww_action {
    WW_ACT_DIRECT,  /* rows of a writer: W' = S W;   also biases, betas */
    WW_ACT_INVERSE, /* columns of a reader: W' = W S^-1 (same permutation and signs,
                       exponents negated); key rows: K' = A^-T K */
    WW_ACT_PERMUTE  /* gains and gates: permutation only, no sign, no exponent */
};

/** Index (c, w), c < count, w < width, of a segment is tensor index
 *  offset + c * stride + w and space index space_start + c * width + w. */
struct ww_segment {
    uint32_t space;
    enum ww_action action;
    uint64_t offset;
    uint64_t stride;
    uint64_t count;
    uint64_t width;
    uint64_t space_start;
};

/** An axis without segments is fixed: nothing moves along it. Segments of one axis never
 *  overlap; indices that none covers are fixed. */
struct ww_axis {
    uint32_t first_segment; /* into ww_layout.segments */
    uint32_t n_segments;
};

/** A tensor of the model and its axes. bindings[i] belongs to model->tensors[i]. */
struct ww_binding {
    struct ww_axis axis[WW_MAX_RANK];
    const char *role;     /* from the descriptor: "self.q", "mlp.down", "ignore", ... */
    uint32_t block;       /* index into blocks, WW_NONE outside of any */
    uint32_t name_space;  /* expert (or head) space when the tensor's name carries
                             such a number: these then move between names; else
                             WW_NONE */
    uint64_t name_index;  /* that number */
    uint32_t name_family; /* tensors that differ only in that number share it */
    bool ignored;         /* a buffer or a dead copy: copied unchanged */
};

/** One linear map y = W x + b: a rectangle of a weight tensor, and its bias. */
struct ww_linear {
    uint32_t weight; /* tensor, WW_NONE when absent */
    uint8_t out_axis;
    uint8_t in_axis;
    uint32_t out_segment; /* into segments; WW_NONE: the whole axis */
    uint32_t in_segment;
    uint32_t bias;         /* tensor or WW_NONE */
    uint32_t bias_segment; /* on the bias's last axis */
    uint8_t expert_axis;   /* stacked experts: axis that counts them, else UINT8_MAX */
    uint64_t expert;       /* slice on that axis */
};

enum ww_norm_kind { WW_NORM_NONE, WW_NORM_RMS, WW_NORM_LAYER };

struct ww_norm {
    enum ww_norm_kind kind;
    uint32_t gain; /* tensor or WW_NONE (then 1) */
    uint32_t bias;
    double eps;
    bool plus_one; /* stored as w, used as 1 + w */
};

enum ww_rope_style { WW_ROPE_NONE, WW_ROPE_HALF, WW_ROPE_ADJACENT };

enum ww_qk_class {
    WW_QK_GL,
    WW_QK_ROPE,
    WW_QK_RMS_HEAD,
    WW_QK_RMS_FULL,
    WW_QK_LN_HEAD,
    WW_QK_L2_POST,
    WW_QK_CLAMP,
    WW_QK_MLA,
    WW_QK_NONE /* NONE: nothing may move, see the reason */
};
enum ww_vo_class {
    WW_VO_GL,
    WW_VO_GATE,
    WW_VO_VNORM,
    WW_VO_SUBNORM,
    WW_VO_CLAMP,
    WW_VO_NONE
};
/** Words for the classes ("rope", "gl"), as descriptors and reports have them. */
WW_API const char *ww_qk_class_name(enum ww_qk_class c);
WW_API const char *ww_vo_class_name(enum ww_vo_class c);

/** Rotary embedding as the forward pass applies it. */
struct ww_rope {
    enum ww_rope_style style;
    uint64_t dims; /* r: the first r of d dims rotate */
    double theta;
    const char *type;        /* "default", "linear", "dynamic", "llama3", "yarn",
                                "longrope" */
    const char *params_path; /* where in the config its parameters lie: read by forward */
};

struct ww_attention {
    const char *name; /* "decoder.3.self" */
    uint32_t stack;
    uint32_t layer;
    bool cross;          /* keys and values come from the encoder stream */
    uint64_t n_heads;    /* H */
    uint64_t n_kv_heads; /* G, divides H */
    uint64_t head_dim;   /* d */
    uint64_t v_dim;      /* d_v */
    uint64_t mla_nope;   /* n, 0 unless MLA; d = n + r there */
    uint64_t latent;     /* c */
    uint64_t q_latent;   /* p, 0: plain q_proj */
    struct ww_rope rope;
    enum ww_qk_class qk_class;
    enum ww_vo_class vo_class;
    /* "rotary, half-split pairs", "q_norm has length 128 = head_dim" */
    const char *qk_reason;
    const char *vo_reason;
    bool heads_move; /* false under ALiBi and for position-bound heads */
    const char *heads_reason;
    uint32_t element_owner; /* attention whose in-head elements these are: itself, or
                               the layer whose keys and values it reuses */
    uint32_t heads_owner;   /* attention whose head order this is: itself, or the first
                               of the stack when one bias table serves all */
    bool qk_gain_per_head;  /* LN_HEAD, RMS_FULL: gains [H*d], not [d] */
    bool qk_norm_bias;      /* the QK norm has a bias */
    bool qk_norm_last;      /* it lies behind the rotation, as under L2_POST */
    struct ww_norm q_norm, k_norm;
    uint32_t query, key, value, context; /* spaces, WW_NONE when absent */
    uint32_t query_head, kv_head, qk_gain;
    uint32_t q_nope, k_nope, q_rope, k_rope, kv_latent, query_latent; /* MLA */
    struct ww_linear q, k, v, o;
    /* Latent attention: q_a writes the query latent (absent: q reads the stream), kv_a
       [latent c][rope key r], and kv_b reads the normed latent and writes for each head
       [key n][value d_v]. k and v are absent then. */
    struct ww_linear q_a, kv_a, kv_b;
    struct ww_norm q_a_norm, kv_a_norm;
    uint32_t sinks;         /* tensors, or WW_NONE */
    uint32_t relative_bias; /* T5: [buckets, H], may lie in another block */
    bool relative_bias_causal;
    uint64_t relative_buckets, relative_max_distance;
    bool causal;
    bool alibi;
    bool alibi_scaled;     /* Falcon: bias rounded to bf16, added before the scale */
    struct ww_linear gate; /* output gate, read only under WW_VO_GATE */
    double scale;          /* factor on q.k */
    double softcap;        /* 0: none */
    uint64_t window;       /* sliding window, 0: none */
    double clip;           /* clip_qkv, 0: none */
    uint64_t chunk;        /* only keys of the same chunk are seen, 0: all */
    double temper;         /* queries times log(1 + floor((p + 1) / temper_floor)) * */
    double temper_floor;   /* temper + 1 at position p; 0: none */
};

enum ww_act_kind {
    WW_FN_GELU,
    WW_FN_GELU_TANH,
    WW_FN_QUICK_GELU,
    WW_FN_SILU,
    WW_FN_RELU,
    WW_FN_RELU2,
    WW_FN_TANH,
    WW_FN_SWIGLU_CLAMPED /* GPT-OSS: gate and up clamped, SiLU of 1.702 gate, up + 1 */
};

struct ww_mlp {
    const char *name; /* "decoder.3.mlp", "decoder.3.mlp.7" (expert 7) */
    uint32_t stack;
    uint32_t layer;
    uint64_t n_neurons;
    bool gated; /* down(act(gate x) * up x), else down(act(up x)) */
    enum ww_act_kind act;
    bool sign_moves;  /* gated: the sign of up and down is free */
    bool scale_moves; /* gated: power of two on up against down */
    uint32_t neuron;  /* space */
    struct ww_linear gate, up, down;
    double down_multiplier; /* 1 normally */
    double limit;           /* SWIGLU_CLAMPED: largest gate, and size of up */
};

/** A mixture of experts over mlps [first_mlp, first_mlp + n_experts). */
struct ww_moe {
    const char *name; /* "decoder.3.experts" */
    uint64_t n_experts;
    uint64_t top_k;
    uint64_t n_groups;   /* group-limited routing, 1: none */
    uint64_t top_groups; /* experts are chosen from so many groups */
    uint64_t group_best; /* a group counts as the sum of its so many best scores */
    bool sigmoid;        /* scores are sigmoids, else a softmax */
    uint32_t correction; /* tensor added to scores for the choice only, WW_NONE */
    double multiplier;   /* factor on the weights, 1 normally */
    double mixer;        /* PhiMoE: a softmax over those that are this close to the
                            best, once per choice; 0: none */
    bool weighs_input;   /* the weight scales what the expert reads (Llama 4) */
    bool normalise;      /* weights of the chosen are scaled to sum to one */
    bool softmax_first;  /* softmax over all before the choice */
    bool experts_move;
    uint32_t expert; /* space */
    struct ww_linear router;
    uint32_t first_mlp;
    uint32_t shared_mlp; /* or WW_NONE */
    bool shared_gated;   /* Qwen2-MoE: shared output times sigmoid(shared_gate x) */
    struct ww_linear shared_gate;
};

enum ww_block_form {
    WW_BLOCK_PRE,      /* x += attn(n1(x)); x += mlp(n2(x)) */
    WW_BLOCK_PARALLEL, /* x += attn(n1(x)) + mlp(n2(x)) (n2 may be n1) */
    WW_BLOCK_POST,     /* x = n1(x + attn(x)); x = n2(x + mlp(x)) */
    WW_BLOCK_SANDWICH, /* x += p1(attn(n1(x))); x += p2(mlp(n2(x))) */
    WW_BLOCK_POOL      /* y = attn(x); y += mlp(n2(y)); y is no stream: it stays */
};

struct ww_block {
    const char *name; /* "decoder.3" */
    uint32_t stack;
    uint32_t layer;
    enum ww_block_form form;
    uint32_t self;  /* attention, WW_NONE */
    uint32_t cross; /* attention, WW_NONE */
    uint32_t mlp;   /* mlp, WW_NONE */
    uint32_t moe;   /* moe, WW_NONE */
    struct ww_norm norm_self, norm_cross, norm_mlp;
    struct ww_norm post_self, post_mlp; /* SANDWICH */
    uint32_t scale_self, scale_mlp;     /* LayerScale tensors, WW_NONE */
    double residual_multiplier;         /* 1 normally */
    double numbered;       /* changes with what it computes by its number; 0 normally */
    const char *uncovered; /* what in it the forward pass does not know: "linear
                              attention"; NULL normally */
};

enum ww_residual_group {
    WW_RESIDUAL_FIXED,     /* see reason */
    WW_RESIDUAL_PERM,      /* permutation */
    WW_RESIDUAL_PERM_SIGN, /* permutation and one sign for the whole stream */
    WW_RESIDUAL_SIGNED     /* signed permutation */
};

struct ww_residual {
    uint32_t space; /* WW_NONE when fixed */
    uint64_t width; /* D */
    enum ww_residual_group group;
    const char *reason; /* "headless: the output is the residual stream", ... */
};

struct ww_stack {
    const char *name; /* "decoder", "encoder", "vision" */
    uint32_t first_block;
    uint32_t n_blocks;
    struct ww_norm embed_norm; /* behind the embeddings (BERT) */
    struct ww_norm final_norm;
    double embed_multiplier; /* Gemma: sqrt(D) rounded as the library does; else 1 */
    bool has_position;       /* a position table of its own (BART's two stacks) */
    uint32_t position;       /* that tensor */
    bool own_stream;         /* a tower beside the model: its blocks read and write the
                                stream below, not the layout's */
    struct ww_residual stream;
};

struct ww_layout {
    const struct ww_model *model;
    const char *descriptor; /* id, "llama" */
    uint8_t descriptor_sha256[32];
    const char *model_type;
    const char *task;       /* "causal-lm", "masked-lm", "seq2seq", "headless",
                               "classifier", "embedding" */
    const char *no_forward; /* why the reference forward pass does not answer for it;
                               NULL or "": it does */
    struct ww_residual residual;
    struct ww_space *spaces;
    uint32_t n_spaces;
    struct ww_segment *segments;
    uint32_t n_segments;
    struct ww_binding *bindings; /* model->n_tensors of them */
    struct ww_stack *stacks;
    uint32_t n_stacks;
    struct ww_block *blocks;
    uint32_t n_blocks;
    struct ww_attention *attentions;
    uint32_t n_attentions;
    struct ww_mlp *mlps;
    uint32_t n_mlps;
    struct ww_moe *moes;
    uint32_t n_moes;
    uint32_t embed, embed_position, embed_type; /* tensors or WW_NONE */
    int64_t position_offset;                    /* row of position 0 (OPT: 2) */
    struct ww_linear head;                      /* lm_head or the tied embedding */
    struct ww_linear head_transform; /* BERT: in front of head, norm(act(W x + b)); all */
    enum ww_act_kind head_act;       /* three are read only when head_norm.kind is not */
    struct ww_norm head_norm;        /* WW_NORM_NONE */
    double head_multiplier;          /* T5 tied: D^-0.5; else 1 */
    double logit_softcap;            /* 0: none */
    void *impl;
};

struct ww_layout_options {
    const char *descriptor_dir; /* extra descriptors, searched first; may be NULL */
    const char *descriptor;     /* force this id (overrides auto_map and model_type) */
};

/**
 * Resolve a model against its descriptor: every tensor gets its binding, every shape is
 * cross-checked with config.json. options may be NULL.
 * Errors: WW_E_ARCH (unknown model_type, auto_map, pruned heads, unmatched layer),
 * WW_E_TENSOR (missing or unknown tensor), WW_E_SHAPE, WW_E_QUANTISED, WW_E_CONFIG.
 */
WW_API enum ww_err ww_layout_resolve(const struct ww_model *model,
                                     const struct ww_layout_options *options,
                                     struct ww_layout **out,
                                     struct ww_error *err) WW_MUST_USE;
WW_API void ww_layout_free(struct ww_layout *layout);

/** The residual stream that a stack's blocks read and write. */
WW_API const struct ww_residual *ww_layout_stream(const struct ww_layout *layout,
                                                  uint32_t stack);

/** Ids of the compiled-in descriptors, NULL-terminated, borrowed for ever. */
WW_API const char *const *ww_descriptor_ids(void);

#ifdef __cplusplus
}
#endif
#endif
