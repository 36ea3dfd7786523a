/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of a layout, made from facts: stacks and blocks up front, attentions, MLPs
 * and experts when the first row that speaks of them comes by. So a descriptor's rows
 * alone decide what a block consists of.
 */
#include "arch/builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/facts.h"
#include "arch/roles.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_EXPERTS 8192

static const char *const form_words[] = {"pre", "parallel", "post", "sandwich", "pool"};
static const char *const rope_words[] = {"none", "half", "adjacent"};
static const char *const move_words[] = {"perm", "sign", "all"};

static const struct {
    const char *word;
    enum ww_act_kind act;
} acts[] = {
    {"gelu", WW_FN_GELU},
    {"gelu_python", WW_FN_GELU},
    {"gelu_new", WW_FN_GELU_TANH},
    {"gelu_pytorch_tanh", WW_FN_GELU_TANH},
    {"gelu_fast", WW_FN_GELU_TANH},
    {"gelu_python_tanh", WW_FN_GELU_TANH},
    {"gelu_accurate", WW_FN_GELU_TANH},
    {"quick_gelu", WW_FN_QUICK_GELU},
    {"silu", WW_FN_SILU},
    {"swish", WW_FN_SILU},
    {"relu", WW_FN_RELU},
    {"relu2", WW_FN_RELU2},
    {"relu_squared", WW_FN_RELU2},
    {"tanh", WW_FN_TANH},
    {"swiglu_clamped", WW_FN_SWIGLU_CLAMPED},
};

enum ww_err ww_build_act(struct ww_builder *b, enum ww_act_kind *act,
                         struct ww_error *err)
{
    const char *words[WW_LEN(acts)];
    unsigned i = 0;
    enum ww_err rc = WW_OK;

    for (size_t n = 0; n < WW_LEN(acts); n++) {
        words[n] = acts[n].word;
    }
    rc = ww_fact_word(&b->scope, "act", words, WW_LEN(acts), &i, err);
    *act = rc ? WW_FN_SILU : acts[i].act;
    return rc;
}

enum ww_err ww_build_stack(struct ww_builder *b, const struct ww_stack_desc *desc,
                           uint32_t *stack, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct ww_stack *s = NULL;
    enum ww_err rc = ww_builder_grow((void **)&l->stacks, &l->n_stacks,
                                     &b->impl->cap_stacks, sizeof(*l->stacks), err);

    if (rc) {
        return rc;
    }
    *stack = l->n_stacks - 1;
    s = &l->stacks[*stack];
    s->name = desc->name;
    s->first_block = l->n_blocks;
    ww_norm_none(&s->embed_norm);
    ww_norm_none(&s->final_norm);
    return ww_fact_double(&b->scope, "embed_multiplier", &s->embed_multiplier, err);
}

enum ww_err ww_build_block(struct ww_builder *b, uint32_t stack, uint64_t layer,
                           uint32_t *block, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct ww_block *k = NULL;
    char text[100] = "";
    unsigned form = 0;
    enum ww_err rc = ww_builder_grow((void **)&l->blocks, &l->n_blocks,
                                     &b->impl->cap_blocks, sizeof(*l->blocks), err);

    if (rc) {
        return rc;
    }
    *block = l->n_blocks - 1;
    k = &l->blocks[*block];
    k->stack = stack;
    k->layer = (uint32_t)layer;
    k->self = k->cross = k->mlp = k->moe = WW_NONE;
    k->scale_self = k->scale_mlp = WW_NONE;
    ww_norm_none(&k->norm_self);
    ww_norm_none(&k->norm_cross);
    ww_norm_none(&k->norm_mlp);
    ww_norm_none(&k->post_self);
    ww_norm_none(&k->post_mlp);
    l->stacks[stack].n_blocks++;
    rc = ww_builder_name(b, &k->name, err, "%s.%u", l->stacks[stack].name, k->layer);
    rc = rc ? rc
            : ww_fact_word(&b->scope, "form", form_words, WW_LEN(form_words), &form, err);
    rc = rc ? rc
            : ww_fact_double(&b->scope, "residual_multiplier", &k->residual_multiplier,
                             err);
    rc = rc ? rc : ww_fact_double(&b->scope, "numbered", &k->numbered, err);
    rc = rc ? rc : ww_fact_text(&b->scope, "uncovered", text, sizeof(text), err);
    if (rc == WW_OK && text[0]) {
        rc = ww_builder_name(b, &k->uncovered, err, "%s", text);
    }
    k->form = (enum ww_block_form)form;
    return rc;
}

static enum ww_err attention_sizes(struct ww_builder *b, struct ww_attention *a,
                                   struct ww_error *err)
{
    struct {
        const char *fact;
        uint64_t *out;
        bool may_be_zero;
    } sizes[] = {
        {"heads", &a->n_heads, false},     {"kv_heads", &a->n_kv_heads, false},
        {"head_dim", &a->head_dim, false}, {"v_dim", &a->v_dim, false},
        {"nope", &a->mla_nope, true},      {"latent", &a->latent, true},
        {"q_latent", &a->q_latent, true},
    };
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(sizes) && rc == WW_OK; i++) {
        rc = sizes[i].may_be_zero
                 ? ww_fact_u64(&b->scope, sizes[i].fact, sizes[i].out, err)
                 : ww_fact_size(&b->scope, sizes[i].fact, sizes[i].out, err);
    }
    if (rc == WW_OK && a->n_heads % a->n_kv_heads != 0) {
        char heads[WW_ORIGIN_BYTES], groups[WW_ORIGIN_BYTES];
        ww_fact_origin(&b->scope, "heads", heads);
        ww_fact_origin(&b->scope, "kv_heads", groups);
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: %llu query heads (%s) cannot share %llu KV heads (%s)",
                     (unsigned long long)a->n_heads, heads,
                     (unsigned long long)a->n_kv_heads, groups);
    }
    return rc;
}

/* A key that a family does not know rotates all of a head in one program and a part of it
 * in another, and no lock fits both. */
static enum ww_err rope_share(struct ww_builder *b, const struct ww_attention *a,
                              struct ww_error *err)
{
    double share = 0;
    enum ww_err rc = ww_fact_double(&b->scope, "rope_share", &share, err);

    if (rc || a->latent > 0 || share == 0 ||
        trunc(share * (double)a->head_dim) == (double)a->rope.dims) {
        return rc;
    }
    return WW_FAIL(
        err, WW_E_ARCH,
        "config.json: partial_rotary_factor is %g, but heads of this model_type "
        "rotate %llu of %llu dimensions; programs differ in what they make of it",
        share, (unsigned long long)a->rope.dims, (unsigned long long)a->head_dim);
}

static enum ww_err attention_rope(struct ww_builder *b, struct ww_attention *a,
                                  struct ww_error *err)
{
    char text[128];
    unsigned style = 0;
    enum ww_err rc = WW_OK;

    a->rope.type = "default";
    a->rope.params_path = "";
    if (a->cross) {
        return WW_OK;
    }
    rc = ww_fact_word(&b->scope, "rope", rope_words, WW_LEN(rope_words), &style, err);
    if (rc || (style == WW_ROPE_NONE && a->latent == 0)) {
        return rc;
    }
    /* Under a latent these are the dimensions of the shared key, rotated or not. */
    rc = ww_fact_u64(&b->scope, "rope_dims", &a->rope.dims, err);
    if (rc == WW_OK && (a->rope.dims > a->head_dim || a->rope.dims % 2 != 0)) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: %llu rotary dimensions in a head of %llu, expected an "
                     "even number that fits",
                     (unsigned long long)a->rope.dims, (unsigned long long)a->head_dim);
    }
    if (rc || a->rope.dims == 0 || style == WW_ROPE_NONE) {
        return rc;
    }
    a->rope.style = (enum ww_rope_style)style;
    rc = rope_share(b, a, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "rope_theta", &a->rope.theta, err);
    rc = rc ? rc : ww_fact_text(&b->scope, "rope_type", text, sizeof(text), err);
    rc = rc ? rc : ww_builder_name(b, &a->rope.type, err, "%s", text);
    rc = rc ? rc : ww_fact_text(&b->scope, "rope_params", text, sizeof(text), err);
    return rc ? rc : ww_builder_name(b, &a->rope.params_path, err, "%s", text);
}

static enum ww_err attention_facts(struct ww_builder *b, struct ww_attention *a,
                                   struct ww_error *err)
{
    struct {
        const char *fact;
        double *out;
    } numbers[] = {{"scale", &a->scale},
                   {"softcap", &a->softcap},
                   {"clip", &a->clip},
                   {"temper", &a->temper},
                   {"temper_floor", &a->temper_floor}};
    enum ww_err rc = attention_sizes(b, a, err);

    rc = rc ? rc : attention_rope(b, a, err);
    for (size_t i = 0; i < WW_LEN(numbers) && rc == WW_OK; i++) {
        rc = ww_fact_double(&b->scope, numbers[i].fact, numbers[i].out, err);
    }
    if (rc || a->cross) {
        return rc;
    }
    rc = ww_fact_bool(&b->scope, "causal", &a->causal, err);
    rc = rc ? rc : ww_fact_bool(&b->scope, "qk_norm_last", &a->qk_norm_last, err);
    rc = rc ? rc : ww_fact_u64(&b->scope, "chunk", &a->chunk, err);
    rc = rc ? rc : ww_fact_bool(&b->scope, "alibi", &a->alibi, err);
    rc = rc ? rc : ww_fact_bool(&b->scope, "alibi_scaled", &a->alibi_scaled, err);
    rc = rc ? rc : ww_fact_u64(&b->scope, "relative_buckets", &a->relative_buckets, err);
    rc = rc ? rc
            : ww_fact_u64(&b->scope, "relative_distance", &a->relative_max_distance, err);
    if (rc == WW_OK) {
        double window = 0;
        rc = ww_fact_double(&b->scope, "window", &window, err);
        a->window = window >= 1 && window < (double)WW_FACT_MAX ? (uint64_t)window : 0;
    }
    return rc;
}

static void attention_none(struct ww_attention *a)
{
    uint32_t *spaces[] = {&a->query,        &a->key,     &a->value,        &a->context,
                          &a->query_head,   &a->kv_head, &a->qk_gain,      &a->q_nope,
                          &a->k_nope,       &a->q_rope,  &a->k_rope,       &a->kv_latent,
                          &a->query_latent, &a->sinks,   &a->relative_bias};
    struct ww_linear *linears[] = {&a->q,    &a->k,   &a->v,    &a->o,
                                   &a->gate, &a->q_a, &a->kv_a, &a->kv_b};

    for (size_t i = 0; i < WW_LEN(spaces); i++) {
        *spaces[i] = WW_NONE;
    }
    for (size_t i = 0; i < WW_LEN(linears); i++) {
        ww_linear_none(linears[i]);
    }
    ww_norm_none(&a->q_norm);
    ww_norm_none(&a->k_norm);
    ww_norm_none(&a->q_a_norm);
    ww_norm_none(&a->kv_a_norm);
}

static enum ww_err build_attention(struct ww_builder *b, uint32_t block, bool cross,
                                   uint32_t *out, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct ww_attention *a = NULL;
    enum ww_err rc =
        ww_builder_grow((void **)&l->attentions, &l->n_attentions,
                        &b->impl->cap_attentions, sizeof(*l->attentions), err);

    if (rc) {
        return rc;
    }
    *out = l->n_attentions - 1;
    a = &l->attentions[*out];
    attention_none(a);
    a->stack = l->blocks[block].stack;
    a->layer = l->blocks[block].layer;
    a->cross = cross;
    a->element_owner = a->heads_owner = *out;
    rc = ww_builder_name(b, &a->name, err, "%s.%s", l->blocks[block].name,
                         cross ? "cross" : "self");
    return rc ? rc : attention_facts(b, a, err);
}

static enum ww_err build_mlp(struct ww_builder *b, uint32_t block, const char *ff,
                             const char *suffix, uint32_t *out, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct ww_mlp *m = NULL;
    unsigned moves = 0;
    enum ww_err rc = ww_builder_grow((void **)&l->mlps, &l->n_mlps, &b->impl->cap_mlps,
                                     sizeof(*l->mlps), err);

    if (rc) {
        return rc;
    }
    *out = l->n_mlps - 1;
    m = &l->mlps[*out];
    m->stack = l->blocks[block].stack;
    m->layer = l->blocks[block].layer;
    m->neuron = WW_NONE;
    ww_linear_none(&m->gate);
    ww_linear_none(&m->up);
    ww_linear_none(&m->down);
    rc = ww_builder_name(b, &m->name, err, "%s.mlp%s", l->blocks[block].name, suffix);
    rc = rc ? rc : ww_fact_size(&b->scope, ff, &m->n_neurons, err);
    rc = rc ? rc : ww_build_act(b, &m->act, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "down_multiplier", &m->down_multiplier, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "limit", &m->limit, err);
    rc = rc ? rc
            : ww_fact_word(&b->scope, "mlp_moves", move_words, WW_LEN(move_words), &moves,
                           err);
    m->sign_moves = moves >= 1; /* only the gated keep them: finish.c */
    m->scale_moves = moves >= 2;
    return rc;
}

static enum ww_err moe_facts(struct ww_builder *b, struct ww_moe *m, struct ww_error *err)
{
    const struct {
        const char *fact;
        uint64_t *out;
    } sizes[] = {
        {"experts", &m->n_experts},      {"top_k", &m->top_k},
        {"expert_groups", &m->n_groups}, {"top_groups", &m->top_groups},
        {"group_best", &m->group_best},
    };
    const struct {
        const char *fact;
        bool *out;
    } flags[] = {
        {"normalise", &m->normalise},       {"softmax_first", &m->softmax_first},
        {"experts_move", &m->experts_move}, {"sigmoid", &m->sigmoid},
        {"weighs_input", &m->weighs_input},
    };
    enum ww_err rc = ww_fact_double(&b->scope, "routed_multiplier", &m->multiplier, err);

    rc = rc ? rc : ww_fact_double(&b->scope, "mixer", &m->mixer, err);

    for (size_t i = 0; i < WW_LEN(sizes) && rc == WW_OK; i++) {
        rc = ww_fact_size(&b->scope, sizes[i].fact, sizes[i].out, err);
    }
    for (size_t i = 0; i < WW_LEN(flags) && rc == WW_OK; i++) {
        rc = ww_fact_bool(&b->scope, flags[i].fact, flags[i].out, err);
    }
    if (rc == WW_OK && (m->n_experts % m->n_groups != 0 || m->top_groups > m->n_groups)) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: %llu of %llu groups are chosen for %llu experts, "
                     "expected groups of one size and no more of them than there are",
                     (unsigned long long)m->top_groups, (unsigned long long)m->n_groups,
                     (unsigned long long)m->n_experts);
    }
    /* Those beyond would be drawn among experts that are all masked alike. */
    if (rc == WW_OK && m->top_k > m->n_experts / m->n_groups * m->top_groups) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: %llu experts per token cannot come from %llu of %llu "
                     "groups of %llu experts",
                     (unsigned long long)m->top_k, (unsigned long long)m->top_groups,
                     (unsigned long long)m->n_groups,
                     (unsigned long long)(m->n_experts / m->n_groups));
    }
    if (rc == WW_OK && (m->n_experts > MAX_EXPERTS || m->top_k > m->n_experts)) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: %llu experts per token of %llu, expected no more than "
                     "there are",
                     (unsigned long long)m->top_k, (unsigned long long)m->n_experts);
    }
    return rc;
}

static enum ww_err build_moe(struct ww_builder *b, uint32_t block, uint32_t *out,
                             struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct ww_moe *m = NULL;
    uint64_t n_experts = 0;
    enum ww_err rc = ww_builder_grow((void **)&l->moes, &l->n_moes, &b->impl->cap_moes,
                                     sizeof(*l->moes), err);

    if (rc) {
        return rc;
    }
    *out = l->n_moes - 1;
    m = &l->moes[*out];
    m->expert = m->shared_mlp = m->correction = WW_NONE;
    m->first_mlp = l->n_mlps;
    ww_linear_none(&m->router);
    ww_linear_none(&m->shared_gate);
    rc = ww_builder_name(b, &m->name, err, "%s.experts", l->blocks[block].name);
    rc = rc ? rc : moe_facts(b, m, err);
    n_experts = m->n_experts;
    for (uint64_t e = 0; e < n_experts && rc == WW_OK; e++) {
        char suffix[24];
        uint32_t mlp = 0;
        (void)snprintf(suffix, sizeof(suffix), ".%llu", (unsigned long long)e);
        rc = build_mlp(b, block, "expert_ff", suffix, &mlp, err);
    }
    return rc;
}

static enum ww_err place_attention(struct ww_builder *b, bool cross,
                                   struct ww_place *place, struct ww_error *err)
{
    struct ww_block *block = &b->layout->blocks[place->block];
    uint32_t *slot = cross ? &block->cross : &block->self;

    if (*slot == WW_NONE) {
        enum ww_err rc = build_attention(b, place->block, cross, slot, err);
        if (rc) {
            return rc;
        }
    }
    place->attention = *slot;
    return WW_OK;
}

static enum ww_err place_moe(struct ww_builder *b, enum ww_role_group group,
                             uint32_t expert, struct ww_place *place,
                             struct ww_error *err)
{
    struct ww_block *block = &b->layout->blocks[place->block];
    enum ww_err rc = WW_OK;

    if (block->moe == WW_NONE) {
        rc = build_moe(b, place->block, &block->moe, err);
    }
    if (rc) {
        return rc;
    }
    place->moe = block->moe;
    struct ww_moe *moe = &b->layout->moes[block->moe];
    if (group == WW_ROLE_EXPERT) {
        place->mlp = moe->first_mlp + (expert == WW_NONE ? 0 : expert);
    } else if (group == WW_ROLE_SHARED) {
        if (moe->shared_mlp == WW_NONE) {
            rc =
                build_mlp(b, place->block, "shared_ff", ".shared", &moe->shared_mlp, err);
        }
        place->mlp = moe->shared_mlp;
    }
    return rc;
}

enum ww_err ww_build_place(struct ww_builder *b, const char *role, uint32_t expert,
                           struct ww_place *place, struct ww_error *err)
{
    enum ww_role_group group = ww_role_group(role);

    place->attention = place->mlp = place->moe = WW_NONE;
    if (group == WW_ROLE_MODEL) {
        return WW_OK;
    }
    if (place->block == WW_NONE) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "role '%s' stands outside of a layer", role);
    }
    switch (group) {
    case WW_ROLE_SELF:
    case WW_ROLE_CROSS:
        return place_attention(b, group == WW_ROLE_CROSS, place, err);
    case WW_ROLE_MLP:
        place->mlp = b->layout->blocks[place->block].mlp;
        if (place->mlp == WW_NONE) {
            enum ww_err rc = build_mlp(b, place->block, "ff", "",
                                       &b->layout->blocks[place->block].mlp, err);
            place->mlp = b->layout->blocks[place->block].mlp;
            return rc;
        }
        return WW_OK;
    case WW_ROLE_EXPERT:
    case WW_ROLE_SHARED:
    case WW_ROLE_MOE:
        return place_moe(b, group, expert, place, err);
    case WW_ROLE_MODEL:
    case WW_ROLE_BLOCK:
        break;
    }
    return WW_OK;
}
