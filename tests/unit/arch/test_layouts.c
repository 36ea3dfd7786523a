/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the test's own, for storage layouts that no built-in family has: they
 * show that a new architecture needs a JSON file and no code.
 */
#include "ww_model_fixture.h"

#include "layout_check.h"

struct toy {
    struct ww_fx *fx;
    char *folder;
    struct ww_layout *layout;
};

#define HEAD                                                                             \
    "{\"schema\": \"weightward.descriptor/1\", \"id\": \"toy\", \"model_types\": "       \
    "[\"toy\"],"                                                                         \
    " \"prefixes\": [\"\"], \"residual\": {\"group\": \"signed\","                       \
    " \"heads\": {\"head\": \"causal-lm\"}}, "
#define TAIL ", \"model\": [[\"head\", \"head\", \"-vocab\", \"res'\"]]}"
#define STACK(facts, rows)                                                               \
    HEAD "\"facts\": {" facts                                                            \
         "}, \"stacks\": [{\"name\": \"d\", \"layers\": \"$layers\","                    \
         " \"layer\": \"{l}.\", \"rows\": [" rows "]}]" TAIL
#define CONFIG(more)                                                                     \
    "{\"model_type\": \"toy\", \"hidden_size\": 10, \"vocab_size\": 7,"                  \
    " \"num_hidden_layers\": 1, \"num_attention_heads\": 4" more "}"

static void start(struct toy *t, const char *config)
{
    t->fx = ww_fx_new(config);
    t->folder = ww_test_mkdir();
    ww_fx_add(t->fx, "7,10", "head");
}

static enum ww_err try_resolve(struct toy *t, const char *descriptor,
                               struct ww_error *err)
{
    char path[400];
    struct ww_layout_options options = {.descriptor_dir = t->folder};
    snprintf(path, sizeof(path), "%s/toy.json", t->folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(descriptor, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return ww_layout_resolve(ww_fx_open(t->fx), &options, &t->layout, err);
}

static void resolve(struct toy *t, const char *descriptor)
{
    struct ww_error err = {0};
    const char *fault = NULL;
    OK(try_resolve(t, descriptor, &err));
    fault = ww_layout_check(t->layout);
    if (fault) {
        fail_msg("%s", fault);
    }
}

static void stop(struct toy *t)
{
    ww_layout_free(t->layout);
    ww_fx_free(t->fx);
    ww_test_rmdir(t->folder);
}

/* Segment i of an axis must be exactly this. */
static void segment_is(const struct toy *t, const char *name, unsigned axis, uint32_t i,
                       uint32_t space, enum ww_action action, uint64_t offset,
                       uint64_t stride, uint64_t count, uint64_t width)
{
    const struct ww_layout *l = t->layout;
    const struct ww_axis *a = &l->bindings[ww_model_find(l->model, name)].axis[axis];
    assert_true(i < a->n_segments);
    const struct ww_segment *s = &l->segments[a->first_segment + i];
    assert_int_equal(s->space, space);
    assert_int_equal(s->action, action);
    assert_int_equal(s->offset, offset);
    assert_int_equal(s->stride, stride);
    assert_int_equal(s->count, count);
    assert_int_equal(s->width, width);
    assert_int_equal(s->space_start, 0);
}

static void mla_cuts_every_projection_into_its_parts(void **state)
{
    (void)state;
    struct toy t = {0};
    /* n 6, r 2, v 5, c 8, p 9 */
    start(&t,
          CONFIG(", \"qk_nope_head_dim\": 6, \"qk_rope_head_dim\": 2, \"v_head_dim\": 5,"
                 " \"kv_lora_rank\": 8, \"q_lora_rank\": 9"));
    ww_fx_add(t.fx, "9,10", "0.q_a");
    ww_fx_add(t.fx, "9", "0.q_a_norm");
    ww_fx_add(t.fx, "32,9", "0.q_b");
    ww_fx_add(t.fx, "10,10", "0.kv_a");
    ww_fx_add(t.fx, "8", "0.kv_a_norm");
    ww_fx_add(t.fx, "44,8", "0.kv_b");
    ww_fx_add(t.fx, "10,20", "0.o");
    resolve(&t,
            STACK("\"nope\": \"qk_nope_head_dim\", \"rope_dims\": \"qk_rope_head_dim\","
                  "\"latent\": \"kv_lora_rank\", \"q_latent\": \"q_lora_rank|0\","
                  "\"head_dim\": \"$nope + $rope_dims\", \"rope\": \"'adjacent'\"",
                  "[\"q_a\", \"self.q_a\", \"q_latent\", \"res'\"],"
                  "[\"q_a_norm\", \"self.q_a_norm\", \"q_latent*\"],"
                  "[\"q_b\", \"self.q_b\", \"perhead(q_nope, q_rope)\", \"q_latent'\"],"
                  "[\"kv_a\", \"self.kv_a\", \"cat(latent, k_rope')\", \"res'\"],"
                  "[\"kv_a_norm\", \"self.kv_a_norm\", \"latent*\"],"
                  "[\"kv_b\", \"self.kv_b\", \"perhead(k_nope', v)\", \"latent'\"],"
                  "[\"o\", \"self.o\", \"res\", \"ctx'\"]"));
    const struct ww_attention *a = &t.layout->attentions[0];
    assert_int_equal(a->qk_class, WW_QK_MLA);
    assert_int_equal(a->head_dim, 8);
    assert_int_equal(a->query, WW_NONE);
    assert_int_not_equal(a->q_a.weight, WW_NONE);
    assert_int_not_equal(a->q.weight, WW_NONE);
    assert_int_not_equal(a->kv_a.weight, WW_NONE);
    assert_int_not_equal(a->kv_b.weight, WW_NONE);
    assert_int_equal(a->q_a_norm.kind, WW_NORM_RMS);
    assert_int_equal(a->kv_a_norm.kind, WW_NORM_RMS);
    assert_int_equal(t.layout->spaces[a->q_nope].size, 24);
    assert_int_equal(t.layout->spaces[a->k_rope].size, 2);
    segment_is(&t, "0.q_b", 0, 0, a->q_nope, WW_ACT_DIRECT, 0, 8, 4, 6);
    segment_is(&t, "0.q_b", 0, 1, a->q_rope, WW_ACT_DIRECT, 6, 8, 4, 2);
    segment_is(&t, "0.q_b", 1, 0, a->query_latent, WW_ACT_INVERSE, 0, 9, 1, 9);
    segment_is(&t, "0.kv_a", 0, 0, a->kv_latent, WW_ACT_DIRECT, 0, 10, 1, 8);
    segment_is(&t, "0.kv_a", 0, 1, a->k_rope, WW_ACT_INVERSE, 8, 10, 1, 2);
    segment_is(&t, "0.kv_b", 0, 0, a->k_nope, WW_ACT_INVERSE, 0, 11, 4, 6);
    segment_is(&t, "0.kv_b", 0, 1, a->value, WW_ACT_DIRECT, 6, 11, 4, 5);
    segment_is(&t, "0.o", 1, 0, a->context, WW_ACT_INVERSE, 0, 20, 1, 20);
    stop(&t);
}

#define PLAIN_KVO                                                                        \
    "[\"k\", \"self.k\", \"k'\", \"res'\"], [\"v\", \"self.v\", \"v\", \"res'\"],"       \
    "[\"o\", \"self.o\", \"res\", \"ctx'\"]"

static void add_kvo(struct toy *t, const char *kv, const char *o)
{
    ww_fx_add(t->fx, kv, "0.k");
    ww_fx_add(t->fx, kv, "0.v");
    ww_fx_add(t->fx, o, "0.o");
}

static void gated_queries_carry_the_gate_behind_each_head(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "48,10", "0.q");
    add_kvo(&t, "12,10", "10,24");
    resolve(&t, STACK("\"rope\": \"'half'\"",
                      "[\"q\", \"self.q\", \"gated(q, ctx*)\", \"res'\"]," PLAIN_KVO));
    const struct ww_attention *a = &t.layout->attentions[0];
    assert_int_equal(a->vo_class, WW_VO_GATE);
    segment_is(&t, "0.q", 0, 0, a->query, WW_ACT_DIRECT, 0, 12, 4, 6);
    segment_is(&t, "0.q", 0, 1, a->context, WW_ACT_PERMUTE, 6, 12, 4, 6);
    uint32_t q = ww_model_find(t.layout->model, "0.q");
    assert_int_equal(a->q.weight, q);
    assert_int_equal(a->gate.weight, q);
    assert_int_equal(a->q.out_segment, t.layout->bindings[q].axis[0].first_segment);
    assert_int_equal(a->gate.out_segment,
                     t.layout->bindings[q].axis[0].first_segment + 1);
    assert_int_equal(a->o.in_segment, WW_NONE);
    stop(&t);
}

static void stacked_experts_may_interleave_gate_and_up(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_local_experts\": 3, \"num_experts_per_tok\": 2,"
                     " \"intermediate_size\": 5, \"hidden_act\": \"silu\""));
    ww_fx_add(t.fx, "3,10", "0.router");
    ww_fx_add(t.fx, "3", "0.router.bias");
    ww_fx_add(t.fx, "3,10,10", "0.gate_up");
    ww_fx_add(t.fx, "3,10", "0.gate_up.bias");
    ww_fx_add(t.fx, "3,5,10", "0.down");
    ww_fx_add(t.fx, "3,10", "0.down.bias");
    resolve(
        &t,
        STACK("\"mlp_moves\": \"'perm'\"",
              "[\"router\", \"moe.router\", \"ex\", \"res'\"],"
              "[\"router.bias\", \"moe.router.bias\", \"ex\"],"
              "[\"gate_up\", \"expert.gate_up\", \"ex\", \"res'\", \"pairs(ff*, ff)\"],"
              "[\"gate_up.bias\", \"expert.gate_up.bias\", \"ex\", \"pairs(ff*, ff)\"],"
              "[\"down\", \"expert.down\", \"ex\", \"ff'\", \"res\"],"
              "[\"down.bias\", \"expert.down.bias\", \"ex\", \"res\"]"));
    const struct ww_layout *l = t.layout;
    assert_int_equal(l->n_moes, 1);
    assert_int_equal(l->n_mlps, 3);
    assert_int_equal(l->moes[0].top_k, 2);
    assert_int_equal(l->moes[0].router.bias, ww_model_find(l->model, "0.router.bias"));
    segment_is(&t, "0.gate_up", 2, 0, l->mlps[0].neuron, WW_ACT_PERMUTE, 0, 2, 5, 1);
    segment_is(&t, "0.gate_up", 2, 1, l->mlps[0].neuron, WW_ACT_DIRECT, 1, 2, 5, 1);
    segment_is(&t, "0.gate_up", 0, 0, l->moes[0].expert, WW_ACT_DIRECT, 0, 3, 1, 3);
    for (uint32_t e = 0; e < 3; e++) {
        const struct ww_mlp *m = &l->mlps[e];
        assert_int_equal(m->neuron, l->mlps[0].neuron);
        assert_true(m->gated && !m->sign_moves && !m->scale_moves);
        assert_int_equal(m->gate.weight, ww_model_find(l->model, "0.gate_up"));
        assert_int_equal(m->gate.expert_axis, 0);
        assert_int_equal(m->gate.expert, e);
        assert_int_equal(m->gate.in_axis, 1);
        assert_int_equal(m->gate.out_axis, 2);
        assert_int_not_equal(m->gate.out_segment, m->up.out_segment);
        assert_int_equal(m->gate.bias, ww_model_find(l->model, "0.gate_up.bias"));
        assert_int_equal(m->down.in_axis, 1);
        assert_int_equal(m->down.out_axis, 2);
        assert_int_equal(m->down.bias, ww_model_find(l->model, "0.down.bias"));
    }
    stop(&t);
}

static void joined_experts_have_a_space_each(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_local_experts\": 3, \"num_experts_per_tok\": 2,"
                     " \"intermediate_size\": 5, \"hidden_act\": \"silu\""));
    ww_fx_add(t.fx, "3,10", "0.router");
    ww_fx_add(t.fx, "15,10", "0.gate");
    ww_fx_add(t.fx, "15,10", "0.up");
    ww_fx_add(t.fx, "15,10", "0.down");
    resolve(&t, STACK("\"experts_move\": false",
                      "[\"router\", \"moe.router\", \"ex\", \"res'\"],"
                      "[\"gate\", \"expert.gate\", \"experts(ff*)\", \"res'\"],"
                      "[\"up\", \"expert.up\", \"experts(ff)\", \"res'\"],"
                      "[\"down\", \"expert.down\", \"experts(ff')\", \"res\"]"));
    const struct ww_layout *l = t.layout;
    assert_false(l->moes[0].experts_move);
    for (uint32_t e = 0; e < 3; e++) {
        const struct ww_mlp *m = &l->mlps[e];
        assert_int_equal(m->gate.weight, ww_model_find(l->model, "0.gate"));
        assert_int_equal(m->up.weight, ww_model_find(l->model, "0.up"));
        assert_int_equal(m->down.weight, ww_model_find(l->model, "0.down"));
        assert_int_equal(m->down.in_axis, 0);
        assert_int_equal(l->spaces[m->neuron].size, 5);
        assert_int_equal(l->spaces[m->neuron].owner, e);
        segment_is(&t, "0.up", 0, e, m->neuron, WW_ACT_DIRECT, 5 * e, 5, 1, 5);
        segment_is(&t, "0.down", 0, e, m->neuron, WW_ACT_INVERSE, 5 * e, 5, 1, 5);
    }
    stop(&t);
}

static void named_experts_move_between_names(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_local_experts\": 3, \"intermediate_size\": 5,"
                     " \"hidden_act\": \"silu\""));
    ww_fx_add(t.fx, "3,10", "0.router");
    for (int e = 0; e < 3; e++) {
        ww_fx_add(t.fx, "5,10", "0.e.%d.up", e);
        ww_fx_add(t.fx, "10,5", "0.e.%d.down", e);
    }
    const char *d = STACK("", "[\"router\", \"moe.router\", \"ex\", \"res'\"],"
                              "[\"e.{e}.up\", \"expert.up\", \"ff\", \"res'\"],"
                              "[\"e.{e}.down\", \"expert.down\", \"res\", \"ff'\"]");
    resolve(&t, d);
    const struct ww_layout *l = t.layout;
    const struct ww_binding *up = &l->bindings[ww_model_find(l->model, "0.e.2.up")];
    const struct ww_binding *down = &l->bindings[ww_model_find(l->model, "0.e.2.down")];
    const struct ww_binding *up0 = &l->bindings[ww_model_find(l->model, "0.e.0.up")];
    assert_int_equal(up->name_space, l->moes[0].expert);
    assert_int_equal(up->name_index, 2);
    assert_int_equal(up->name_family, up0->name_family);
    assert_int_not_equal(up->name_family, down->name_family);
    assert_int_not_equal(l->mlps[0].neuron, l->mlps[1].neuron);
    assert_string_equal(l->mlps[1].name, "d.0.mlp.1");
    assert_false(l->mlps[1].gated || l->mlps[1].sign_moves || l->mlps[1].scale_moves);
    ww_layout_free(t.layout);
    t.layout = NULL;
    ww_model_close(t.fx->model);
    t.fx->model = NULL;
    ww_fx_drop(t.fx, "0.e.2.up");
    struct ww_error err = {0};
    FAILS(try_resolve(&t, d, &err), WW_E_TENSOR);
    assert_non_null(strstr(err.text, "0.e.2.up"));
    stop(&t);
}

static void codegen_blocks_hold_query_value_key(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"head_dim\": 6"));
    ww_fx_add(t.fx, "72,10", "0.qkv");
    ww_fx_add(t.fx, "10,24", "0.o");
    resolve(&t, STACK("\"rope\": \"'adjacent'\", \"rope_dims\": 4",
                      "[\"qkv\", \"self.qkv\", \"blocks4(q, v, k')\", \"res'\"],"
                      "[\"o\", \"self.o\", \"res\", \"ctx'\"]"));
    const struct ww_attention *a = &t.layout->attentions[0];
    segment_is(&t, "0.qkv", 0, 0, a->query, WW_ACT_DIRECT, 0, 18, 4, 6);
    segment_is(&t, "0.qkv", 0, 1, a->value, WW_ACT_DIRECT, 6, 18, 4, 6);
    segment_is(&t, "0.qkv", 0, 2, a->key, WW_ACT_INVERSE, 12, 18, 4, 6);
    assert_int_equal(a->qk_class, WW_QK_ROPE);
    assert_non_null(strstr(a->qk_reason, "adjacent pairs on 4 of 6"));
    stop(&t);
}

static void groups_hold_their_queries_then_key_and_value(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 3"));
    ww_fx_add(t.fx, "10,24", "0.qkv");
    ww_fx_add(t.fx, "24", "0.qkv.bias");
    ww_fx_add(t.fx, "12,10", "0.o");
    resolve(&t, STACK("", "[\"qkv\", \"self.qkv\", \"res'\", \"groups(q, k', v)\"],"
                          "[\"qkv.bias\", \"self.qkv.bias\", \"groups(q, k', v)\"],"
                          "[\"o\", \"self.o\", \"ctx'\", \"res\"]"));
    const struct ww_attention *a = &t.layout->attentions[0];
    segment_is(&t, "0.qkv", 1, 0, a->query, WW_ACT_DIRECT, 0, 12, 2, 6);
    segment_is(&t, "0.qkv", 1, 1, a->key, WW_ACT_INVERSE, 6, 12, 2, 3);
    segment_is(&t, "0.qkv.bias", 0, 2, a->value, WW_ACT_DIRECT, 9, 12, 2, 3);
    assert_int_equal(a->q.out_axis, 1);
    assert_int_equal(a->q.in_axis, 0);
    assert_int_equal(a->o.in_axis, 0);
    assert_int_equal(a->o.out_axis, 1);
    assert_int_equal(a->v.bias, ww_model_find(t.layout->model, "0.qkv.bias"));
    assert_int_not_equal(a->v.bias_segment, WW_NONE);
    assert_int_equal(a->qk_class, WW_QK_GL);
    stop(&t);
}

static void gain_lengths_tell_norms_over_heads_from_norms_over_all(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "24,10", "0.q");
    ww_fx_add(t.fx, "24", "0.qn");
    ww_fx_add(t.fx, "12", "0.kn");
    add_kvo(&t, "12,10", "10,24");
    resolve(&t, STACK("\"rope\": \"'half'\", \"eps\": 0.5",
                      "[\"q\", \"self.q\", \"q\", \"res'\"],"
                      "[\"qn\", \"self.q_norm\", \"q*\"], [\"kn\", \"self.k_norm\", "
                      "\"k*\"]," PLAIN_KVO));
    const struct ww_attention *a = &t.layout->attentions[0];
    assert_int_equal(a->qk_class, WW_QK_RMS_FULL);
    assert_true(a->qk_gain_per_head);
    assert_false(a->qk_norm_bias);
    NEAR(a->q_norm.eps, 0.5, 0);
    segment_is(&t, "0.kn", 0, 0, a->key, WW_ACT_PERMUTE, 0, 12, 1, 12);
    stop(&t);
}

static void tiles_repeat_their_part(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "24,10", "0.q");
    ww_fx_add(t.fx, "7,30", "0.join");
    add_kvo(&t, "12,10", "10,24");
    resolve(&t, STACK("\"rope\": \"'half'\"",
                      "[\"q\", \"self.q\", \"q\", \"res'\"],"
                      "[\"join\", \"other\", \"-\", \"tiles(res')\"]," PLAIN_KVO));
    for (uint32_t i = 0; i < 3; i++) {
        segment_is(&t, "0.join", 1, i, t.layout->residual.space, WW_ACT_INVERSE,
                   10 * (uint64_t)i, 10, 1, 10);
    }
    stop(&t);
}

static void stack_may_stand_outside_of_the_prefix(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"rms_norm_eps\": 1e-5"));
    ww_fx_add(t.fx, "10", "m.0.n");
    ww_fx_add(t.fx, "10,10", "next.0.w");
    resolve(&t,
            "{\"schema\": \"weightward.descriptor/1\", \"id\": \"toy\","
            "\"model_types\": [\"toy\"], \"prefixes\": [\"\", \"m.\"],"
            "\"residual\": {\"group\": \"signed\", \"heads\": {\"/head\":"
            " \"causal-lm\"}}, \"stacks\": [{\"name\": \"d\", \"layers\": \"$layers\","
            "\"layer\": \"{l}.\", \"rows\": [[\"n\", \"norm.self\", \"res*\"]]},"
            "{\"name\": \"x\", \"layers\": 1, \"layer\": \"/next.{l}.\", \"rows\":"
            "[[\"w\", \"other\", \"res\", \"res'\"]]}],"
            "\"model\": [[\"/head\", \"head\", \"-vocab\", \"res'\"]]}");
    segment_is(&t, "next.0.w", 0, 0, t.layout->residual.space, WW_ACT_DIRECT, 0, 10, 1,
               10);
    assert_int_equal(t.layout->n_blocks, 2);
    stop(&t);
}

static void tiles_must_fit(void **state)
{
    (void)state;
    struct toy t = {0};
    struct ww_error err = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "24,10", "0.q");
    ww_fx_add(t.fx, "7,31", "0.join");
    add_kvo(&t, "12,10", "10,24");
    FAILS(try_resolve(&t,
                      STACK("\"rope\": \"'half'\"",
                            "[\"q\", \"self.q\", \"q\", \"res'\"],"
                            "[\"join\", \"other\", \"-\", \"tiles(res')\"]," PLAIN_KVO),
                      &err),
          WW_E_SHAPE);
    stop(&t);
}

static void heads_stay_for_a_reason_and_norms_may_come_last(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "24,10", "0.q");
    ww_fx_add(t.fx, "6", "0.qn");
    add_kvo(&t, "12,10", "10,24");
    resolve(&t, STACK("\"rope\": \"'half'\", \"qk_norm_last\": true,"
                      "\"heads_reason\": \"'they are counted'\"",
                      "[\"q\", \"self.q\", \"q\", \"res'\"],"
                      "[\"qn\", \"self.q_norm\", \"qk*\"]," PLAIN_KVO));
    const struct ww_attention *a = &t.layout->attentions[0];
    assert_true(a->qk_norm_last);
    assert_false(a->heads_move);
    assert_string_equal(a->heads_reason, "they are counted");
    stop(&t);
}

static void layer_norm_per_head_may_have_a_gain_per_head_or_per_name(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 6"));
    ww_fx_add(t.fx, "24,10", "0.q");
    ww_fx_add(t.fx, "4,6", "0.qn");
    ww_fx_add(t.fx, "6", "0.kn.0");
    ww_fx_add(t.fx, "6", "0.kn.1");
    add_kvo(&t, "12,10", "10,24");
    resolve(&t, STACK("\"rope\": \"'half'\", \"norm\": \"'layer'\"",
                      "[\"q\", \"self.q\", \"q\", \"res'\"],"
                      "[\"qn\", \"self.q_norm\", \"qh\", \"-head_dim\"],"
                      "[\"kn.{h}\", \"self.k_norm\", \"-head_dim\"]," PLAIN_KVO));
    const struct ww_layout *l = t.layout;
    const struct ww_attention *a = &l->attentions[0];
    assert_int_equal(a->qk_class, WW_QK_LN_HEAD);
    assert_true(a->qk_gain_per_head);
    segment_is(&t, "0.qn", 0, 0, a->query_head, WW_ACT_DIRECT, 0, 4, 1, 4);
    assert_int_equal(l->bindings[ww_model_find(l->model, "0.kn.1")].name_space,
                     a->kv_head);
    assert_int_equal(l->bindings[ww_model_find(l->model, "0.kn.1")].name_index, 1);
    stop(&t);
}

static void layers_differ_by_kind(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, "{\"model_type\": \"toy\", \"hidden_size\": 10, \"vocab_size\": 7,"
              " \"num_hidden_layers\": 4, \"num_attention_heads\": 2, \"head_dim\": 4,"
              " \"no_rope_layers\": [1, 0, 1, 0], \"window\": 9, \"clip_qkv\": 3,"
              " \"num_kv_shared_layers\": 1}");
    for (int l = 0; l < 4; l++) {
        ww_fx_add(t.fx, "8,10", "%d.q", l);
        if (l % 2 == 0) {
            ww_fx_add(t.fx, "8", "%d.q.bias", l);
        }
        ww_fx_add(t.fx, "8,10", "%d.k", l);
        ww_fx_add(t.fx, "8,10", "%d.v", l);
        ww_fx_add(t.fx, "10,8", "%d.o", l);
    }
    resolve(
        &t,
        STACK("\"kind\": \"no_rope_layers[l] ? 'rope' : 'nope'\","
              "\"rope\": \"$kind == 'rope' ? 'half' : 'none'\","
              "\"window\": \"$kind == 'rope' ? window : 0\","
              "\"clip\": \"l == 2 ? clip_qkv : 0\","
              "\"qk\": \"l == 0 ? 'l2_post' : ''\","
              "\"vo\": \"l == 3 ? 'none' : ''\", \"vo_reason\": \"l == 3 ? 'why' : ''\","
              "\"kv_owner\": \"l == $layers - num_kv_shared_layers ? l - 2 : l\"",
              "[\"q\", \"self.q\", \"q\", \"res'\"],"
              "[\"q.bias\", \"self.q.bias?\", \"q\"]," PLAIN_KVO));
    const struct ww_attention *a = t.layout->attentions;
    assert_int_equal(a[0].qk_class, WW_QK_L2_POST);
    assert_int_equal(a[0].window, 9);
    assert_int_equal(a[1].qk_class, WW_QK_GL);
    assert_int_equal(a[1].window, 0);
    assert_int_equal(a[2].qk_class, WW_QK_CLAMP);
    assert_int_equal(a[2].vo_class, WW_VO_CLAMP);
    assert_int_equal(a[3].vo_class, WW_VO_NONE);
    assert_string_equal(a[3].vo_reason, "why");
    assert_int_equal(a[3].element_owner, 1);
    assert_int_equal(a[2].element_owner, 2);
    stop(&t);
}

static void surplus_layers_can_be_a_stack_of_their_own(void **state)
{
    (void)state;
    struct toy t = {0};
    start(&t, "{\"model_type\": \"toy\", \"hidden_size\": 10, \"vocab_size\": 7,"
              " \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"head_dim\": 4,"
              " \"mtp\": 1}");
    for (int l = 0; l < 2; l++) {
        ww_fx_add(t.fx, "10,8", "%d.o", l);
    }
    ww_fx_add(t.fx, "10,20", "1.eh");
    resolve(&t, HEAD "\"stacks\": [{\"name\": \"d\", \"layers\": \"$layers\", \"layer\": "
                     "\"{l}.\", \"rows\": [[\"o\", \"self.o\", \"res\", \"ctx'\"]]},"
                     "{\"name\": \"mtp\", \"layers\": \"mtp\", \"first\": \"$layers\","
                     "\"layer\": \"{l}.\", \"when\": \"stored('1.o')\","
                     "\"rows\": [[\"o\", \"self.o\", \"res\", \"ctx'\"],"
                     "[\"eh\", \"other\", \"res\", \"cat(res', res')\"]]}]" TAIL);
    assert_int_equal(t.layout->n_stacks, 2);
    assert_string_equal(t.layout->attentions[1].name, "mtp.1.self");
    segment_is(&t, "1.eh", 1, 1, t.layout->residual.space, WW_ACT_INVERSE, 10, 20, 1, 10);
    stop(&t);
}

#define TOWER_CONFIG                                                                     \
    CONFIG(", \"head_dim\": 6, \"vision\": {\"hidden_size\": 6,"                         \
           " \"num_attention_heads\": 3, \"num_hidden_layers\": 1}")
#define TOWER(residual)                                                                  \
    HEAD                                                                                 \
        "\"stacks\": [{\"name\": \"d\", \"layers\": \"$layers\", \"layer\": "            \
        "\"{l}.\", \"rows\": [[\"o\", \"self.o\", \"res\", \"ctx'\"]]},"                 \
        "{\"name\": \"eye\", \"layers\": 1, \"layer\": \"v.\", \"section\": \"vision\"," \
        "\"residual\": " residual ","                                                    \
        "\"rows\": [[\"o\", \"self.o\", \"res\", \"ctx'\"]],"                            \
        "\"outer\": [[\"join\", \"other\", \"main\", \"res'\"]]}]" TAIL

static void start_tower(struct toy *t)
{
    start(t, TOWER_CONFIG);
    ww_fx_add(t->fx, "10,24", "0.o");
    ww_fx_add(t->fx, "6,6", "v.o");
    ww_fx_add(t->fx, "10,6", "join");
}

static void a_tower_has_a_stream_of_its_own(void **state)
{
    (void)state;
    struct toy t = {0};
    start_tower(&t);
    resolve(&t, TOWER("{\"group\": \"perm_sign\", \"when\": \"stored('join')\"}"));
    const struct ww_residual *own = ww_layout_stream(t.layout, 1);
    assert_ptr_equal(ww_layout_stream(t.layout, 0), &t.layout->residual);
    assert_int_equal(own->width, 6);
    assert_int_equal(own->group, WW_RESIDUAL_PERM_SIGN);
    assert_int_not_equal(own->space, t.layout->residual.space);
    assert_string_equal(t.layout->spaces[own->space].name, "eye.residual");
    assert_int_equal(t.layout->attentions[1].n_heads, 3);
    segment_is(&t, "v.o", 0, 0, own->space, WW_ACT_DIRECT, 0, 6, 1, 6);
    segment_is(&t, "join", 1, 0, own->space, WW_ACT_INVERSE, 0, 6, 1, 6);
    segment_is(&t, "join", 0, 0, t.layout->residual.space, WW_ACT_DIRECT, 0, 10, 1, 10);
    stop(&t);
}

static void a_tower_whose_stream_is_the_answer_stays(void **state)
{
    (void)state;
    struct toy t = {0};
    start_tower(&t);
    resolve(&t, TOWER("{\"group\": \"perm_sign\", \"when\": \"stored('nothing')\"}"));
    assert_int_equal(ww_layout_stream(t.layout, 1)->group, WW_RESIDUAL_FIXED);
    assert_int_equal(ww_layout_stream(t.layout, 1)->space, WW_NONE);
    assert_int_equal(t.layout->residual.group, WW_RESIDUAL_SIGNED);
    stop(&t);
}

static void a_stream_of_no_stack_is_a_descriptor_error(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct toy t = {0};
    start_tower(&t);
    FAILS(try_resolve(&t, TOWER("{\"of\": \"ear\"}"), &err), WW_E_DESCRIPTOR);
    assert_non_null(strstr(err.text, "'ear'"));
    stop(&t);
}

static void two_rows_for_one_tensor_are_a_descriptor_error(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct toy t = {0};
    start(&t, CONFIG(", \"head_dim\": 6"));
    ww_fx_add(t.fx, "10,24", "0.o");
    FAILS(try_resolve(&t,
                      STACK("", "[\"o\", \"self.o\", \"res\", \"ctx'\"],"
                                "[\"o\", \"self.other\", \"res\", \"ctx'\"]"),
                      &err),
          WW_E_DESCRIPTOR);
    assert_non_null(strstr(err.text, "0.o"));
    stop(&t);
}

static void axes_without_an_owner_are_a_descriptor_error(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "[\"o\", \"other\", \"res\", \"ctx'\"]", "[\"o\", \"self.o\", \"ff\", \"ctx'\"]",
        "[\"o\", \"norm.self\", \"res\", \"heads(q, k)\"]",
        "[\"o\", \"self.o\", \"ex\", \"ctx'\"]", "[\"o\", \"mlp.up\", \"q\", \"res'\"]"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *d = NULL;
        struct ww_error err = {0};
        struct toy t = {0};
        start(&t, CONFIG(", \"head_dim\": 6, \"intermediate_size\": 4,"
                         " \"hidden_act\": \"silu\""));
        ww_fx_add(t.fx, "10,24", "0.o");
        assert_true(asprintf(&d, STACK("", "%s"), rows[i]) > 0);
        FAILS(try_resolve(&t, d, &err), WW_E_DESCRIPTOR);
        free(d);
        stop(&t);
    }
}

/* What config.json says cannot be, or the descriptor does not cover it. */
static void refused(const char *config, const char *dims, const char *tensor,
                    const char *descriptor, enum ww_err code, const char *text)
{
    struct ww_error err = {0};
    struct toy t = {0};
    start(&t, config);
    ww_fx_add(t.fx, dims, "%s", tensor);
    FAILS(try_resolve(&t, descriptor, &err), code);
    assert_non_null(strstr(err.text, text));
    stop(&t);
}

static void checks_refuse_variants_by_name(void **state)
{
    (void)state;
    refused(CONFIG(", \"head_dim\": 6, \"odd\": true"), "10,24", "0.o",
            HEAD "\"checks\": [[\"not odd\", \"odd ones\"]], \"stacks\":"
                 "[{\"name\": \"d\", \"layers\": 1, \"layer\": \"{l}.\","
                 "\"rows\": [[\"o\", \"self.o\", \"res\", \"ctx'\"]]}]" TAIL,
            WW_E_ARCH, "odd ones");
}

static void rotary_dimensions_and_groups_of_experts_must_fit(void **state)
{
    (void)state;
    refused(CONFIG(", \"head_dim\": 6"), "24,10", "0.q",
            STACK("\"rope\": \"'half'\", \"rope_dims\": 3",
                  "[\"q\", \"self.q\", \"q\", \"res'\"]"),
            WW_E_CONFIG, "3 rotary dimensions in a head of 6, expected an even number");
    /* A third expert from a group of two would be one of those that are masked. */
    refused(CONFIG(", \"num_local_experts\": 4, \"num_experts_per_tok\": 3,"
                   " \"n_group\": 2, \"topk_group\": 1"),
            "4,10", "0.router",
            STACK("", "[\"router\", \"moe.router\", \"ex\", \"res'\"]"), WW_E_CONFIG,
            "3 experts per token cannot come from 1 of 2 groups of 2");
}

static void faulty_file_in_the_users_folder_is_named(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct toy t = {0};
    start(&t, CONFIG(""));
    ww_fx_add(t.fx, "10,24", "0.o");
    FAILS(try_resolve(&t, "{\"schema\": 1}", &err), WW_E_DESCRIPTOR);
    assert_non_null(strstr(err.text, "toy.json"));
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mla_cuts_every_projection_into_its_parts),
        cmocka_unit_test(gated_queries_carry_the_gate_behind_each_head),
        cmocka_unit_test(stacked_experts_may_interleave_gate_and_up),
        cmocka_unit_test(joined_experts_have_a_space_each),
        cmocka_unit_test(named_experts_move_between_names),
        cmocka_unit_test(codegen_blocks_hold_query_value_key),
        cmocka_unit_test(groups_hold_their_queries_then_key_and_value),
        cmocka_unit_test(gain_lengths_tell_norms_over_heads_from_norms_over_all),
        cmocka_unit_test(tiles_repeat_their_part),
        cmocka_unit_test(tiles_must_fit),
        cmocka_unit_test(stack_may_stand_outside_of_the_prefix),
        cmocka_unit_test(heads_stay_for_a_reason_and_norms_may_come_last),
        cmocka_unit_test(layer_norm_per_head_may_have_a_gain_per_head_or_per_name),
        cmocka_unit_test(layers_differ_by_kind),
        cmocka_unit_test(surplus_layers_can_be_a_stack_of_their_own),
        cmocka_unit_test(a_tower_has_a_stream_of_its_own),
        cmocka_unit_test(a_tower_whose_stream_is_the_answer_stays),
        cmocka_unit_test(a_stream_of_no_stack_is_a_descriptor_error),
        cmocka_unit_test(two_rows_for_one_tensor_are_a_descriptor_error),
        cmocka_unit_test(axes_without_an_owner_are_a_descriptor_error),
        cmocka_unit_test(rotary_dimensions_and_groups_of_experts_must_fit),
        cmocka_unit_test(checks_refuse_variants_by_name),
        cmocka_unit_test(faulty_file_in_the_users_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
