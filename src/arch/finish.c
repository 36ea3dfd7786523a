/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can only be said once all tensors of a block, stack or model are bound: kinds of
 * norms, classes, gated or not, shared head orders, the tied head.
 */
#include "arch/builder.h"

#include <string.h>

#include "arch/classes.h"
#include "arch/facts.h"
#include "arch/roles.h"
#include "model/config.h"
#include "util/fail.h"

static const char *const norm_words[] = {"none", "rms", "layer"};

struct norm_facts {
    enum ww_norm_kind kind;
    double eps;
    bool plus_one;
    bool weightless;
};

static enum ww_err read_norm_facts(struct ww_builder *b, const char *eps,
                                   struct norm_facts *f, struct ww_error *err)
{
    unsigned kind = 0;
    enum ww_err rc =
        ww_fact_word(&b->scope, "norm", norm_words, WW_LEN(norm_words), &kind, err);

    f->kind = (enum ww_norm_kind)kind;
    rc = rc ? rc : ww_fact_double(&b->scope, eps, &f->eps, err);
    rc = rc ? rc : ww_fact_bool(&b->scope, "plus_one", &f->plus_one, err);
    return rc ? rc : ww_fact_bool(&b->scope, "weightless", &f->weightless, err);
}

static void fill_norm(struct ww_norm *norm, const struct norm_facts *f,
                      bool may_lack_gain)
{
    if (norm->gain != WW_NONE || (may_lack_gain && f->weightless)) {
        norm->kind = f->kind;
        norm->eps = f->eps;
        norm->plus_one = f->plus_one;
    }
}

/* Whose keys and values an attention reads: its own layer's, unless a fact says so. */
static enum ww_err own_elements(struct ww_builder *b, uint32_t attention,
                                struct ww_error *err)
{
    struct ww_attention *a = &b->layout->attentions[attention];
    const struct ww_stack *stack = &b->layout->stacks[a->stack];
    uint64_t owner = 0;
    enum ww_err rc = ww_fact_u64(&b->scope, "kv_owner", &owner, err);

    if (rc || a->cross || owner == a->layer) {
        return rc;
    }
    for (uint32_t i = stack->first_block; i < b->layout->n_blocks; i++) {
        if (b->layout->blocks[i].layer == owner) {
            a->element_owner = b->layout->blocks[i].self;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_DESCRIPTOR,
                   "kv_owner of layer %u is %llu, which comes later", a->layer,
                   (unsigned long long)owner);
}

static enum ww_err finish_attention(struct ww_builder *b, uint32_t attention,
                                    struct ww_error *err)
{
    struct ww_attention *a = NULL;
    struct norm_facts f = {0};
    enum ww_err rc = WW_OK;

    if (attention == WW_NONE) {
        return WW_OK;
    }
    a = &b->layout->attentions[attention];
    rc = read_norm_facts(b, "qk_eps", &f, err);
    if (rc) {
        return rc;
    }
    fill_norm(&a->q_norm, &f, false);
    fill_norm(&a->k_norm, &f, false);
    rc = read_norm_facts(b, "latent_eps", &f, err);
    fill_norm(&a->q_a_norm, &f, false);
    fill_norm(&a->kv_a_norm, &f, false);
    rc = rc ? rc : ww_class_attention(b, attention, err);
    if (rc == WW_OK && a->qk_class == WW_QK_L2_POST && a->q_norm.gain == WW_NONE) {
        rc = read_norm_facts(b, "qk_eps", &f, err);
        f.weightless = true;
        fill_norm(&a->q_norm, &f, true);
        fill_norm(&a->k_norm, &f, true);
    }
    return rc ? rc : own_elements(b, attention, err);
}

static void finish_mlp(struct ww_builder *b, uint32_t mlp)
{
    struct ww_mlp *m = NULL;

    if (mlp == WW_NONE) {
        return;
    }
    m = &b->layout->mlps[mlp];
    m->gated = m->gate.weight != WW_NONE;
    m->sign_moves = m->sign_moves && m->gated;
    m->scale_moves = m->scale_moves && m->gated;
}

enum ww_err ww_finish_block(struct ww_builder *b, uint32_t block, struct ww_error *err)
{
    struct ww_block *k = &b->layout->blocks[block];
    struct norm_facts f = {0};
    enum ww_err rc = read_norm_facts(b, "eps", &f, err);

    if (rc) {
        return rc;
    }
    fill_norm(&k->norm_self, &f, true);
    fill_norm(&k->norm_cross, &f, k->cross != WW_NONE);
    fill_norm(&k->norm_mlp, &f, true);
    fill_norm(&k->post_self, &f, false);
    fill_norm(&k->post_mlp, &f, false);
    if (k->form == WW_BLOCK_PARALLEL && k->norm_mlp.gain == WW_NONE) {
        k->norm_mlp = k->norm_self;
    }
    rc = finish_attention(b, k->self, err);
    rc = rc ? rc : finish_attention(b, k->cross, err);
    finish_mlp(b, k->mlp);
    if (k->moe != WW_NONE) {
        struct ww_moe *moe = &b->layout->moes[k->moe];
        for (uint64_t e = 0; e < moe->n_experts; e++) {
            finish_mlp(b, moe->first_mlp + (uint32_t)e);
        }
        finish_mlp(b, moe->shared_mlp);
        moe->shared_gated = moe->shared_gate.weight != WW_NONE;
    }
    return rc;
}

/* One table of relative positions in the first block serves all: then all share its head
 * order too. */
static void share_bias_table(struct ww_builder *b, const struct ww_stack *stack)
{
    uint32_t owner = WW_NONE;

    for (uint32_t i = 0; i < stack->n_blocks; i++) {
        uint32_t self = b->layout->blocks[stack->first_block + i].self;
        struct ww_attention *a = self == WW_NONE ? NULL : &b->layout->attentions[self];
        if (!a) {
            continue;
        }
        a->relative_bias_causal = a->relative_bias != WW_NONE && a->causal;
        if (a->relative_bias != WW_NONE) {
            owner = self;
        } else if (owner != WW_NONE) {
            const struct ww_attention *o = &b->layout->attentions[owner];
            a->relative_bias = o->relative_bias;
            a->relative_bias_causal = o->relative_bias_causal;
            a->heads_owner = owner;
            a->heads_reason = "one bias table serves the heads of the whole stack";
        }
    }
}

enum ww_err ww_finish_stack(struct ww_builder *b, uint32_t stack, struct ww_error *err)
{
    struct ww_stack *s = &b->layout->stacks[stack];
    struct norm_facts f = {0};
    enum ww_err rc = read_norm_facts(b, "eps", &f, err);

    fill_norm(&s->embed_norm, &f, false);
    fill_norm(&s->final_norm, &f, true);
    share_bias_table(b, s);
    return rc;
}

static enum ww_err finish_head(struct ww_builder *b, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    struct norm_facts f = {0};
    enum ww_err rc = WW_OK;

    if (l->head_norm.gain == WW_NONE) {
        return WW_OK;
    }
    rc = read_norm_facts(b, "head_eps", &f, err);
    fill_norm(&l->head_norm, &f, false);
    return rc ? rc : ww_build_act(b, &l->head_act, err);
}

/* True for a task whose answer is scores over the vocabulary. */
static bool speaks(const char *task)
{
    return strcmp(task, "headless") != 0 && strcmp(task, "classifier") != 0;
}

enum ww_err ww_finish_model(struct ww_builder *b, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    char text[160];
    double offset = 0;
    bool tied = false;
    enum ww_err rc = ww_tied(b, &tied, err);

    if (rc == WW_OK && l->head.weight == WW_NONE && tied && speaks(l->task)) {
        l->head.weight = l->embed;
    }
    rc = rc ? rc : finish_head(b, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "head_multiplier", &l->head_multiplier, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "logit_softcap", &l->logit_softcap, err);
    rc = rc ? rc : ww_fact_double(&b->scope, "position_offset", &offset, err);
    l->position_offset = (int64_t)offset;
    rc = rc ? rc : ww_fact_text(&b->scope, "no_forward", text, sizeof(text), err);
    rc = rc ? rc : ww_builder_name(b, &l->no_forward, err, "%s", text);
    return rc;
}
