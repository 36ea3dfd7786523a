/* SPDX-License-Identifier: Apache-2.0 */
/* Resolving a small Llama: what is found, and every way in which a folder can be wrong.
 */
#include "ww_model_fixture.h"

#include "arch/lacks.h"
#include "layout_check.h"
#include "util/fault.h"

/* hidden 24, heads 4 of 8, groups 2, ff 20, vocab 11, 2 layers */
#define CONFIG(more)                                                                     \
    "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"],"             \
    " \"hidden_size\": 24, \"num_hidden_layers\": 2, \"intermediate_size\": 20,"         \
    " \"num_attention_heads\": 4, \"vocab_size\": 11, \"rms_norm_eps\": 1e-5" more "}"
#define USUAL ", \"num_key_value_heads\": 2, \"head_dim\": 8, \"rope_theta\": 5000.0"

static struct ww_fx *llama(const char *config)
{
    struct ww_fx *fx = ww_fx_new(config);
    ww_fx_add(fx, "11,24", "model.embed_tokens.weight");
    ww_fx_add(fx, "11,24", "lm_head.weight");
    ww_fx_add(fx, "24", "model.norm.weight");
    for (int l = 0; l < 2; l++) {
        ww_fx_add(fx, "24", "model.layers.%d.input_layernorm.weight", l);
        ww_fx_add(fx, "32,24", "model.layers.%d.self_attn.q_proj.weight", l);
        ww_fx_add(fx, "16,24", "model.layers.%d.self_attn.k_proj.weight", l);
        ww_fx_add(fx, "16,24", "model.layers.%d.self_attn.v_proj.weight", l);
        ww_fx_add(fx, "24,32", "model.layers.%d.self_attn.o_proj.weight", l);
        ww_fx_add(fx, "24", "model.layers.%d.post_attention_layernorm.weight", l);
        ww_fx_add(fx, "20,24", "model.layers.%d.mlp.gate_proj.weight", l);
        ww_fx_add(fx, "20,24", "model.layers.%d.mlp.up_proj.weight", l);
        ww_fx_add(fx, "24,20", "model.layers.%d.mlp.down_proj.weight", l);
    }
    return fx;
}

static struct ww_layout *resolve(struct ww_fx *fx)
{
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    const char *fault = NULL;
    OK(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err));
    fault = ww_layout_check(l);
    if (fault) {
        fail_msg("%s", fault);
    }
    return l;
}

/* Resolving must fail with that code, and the text must hold both words. */
static void refuse(struct ww_fx *fx, enum ww_err code, const char *first,
                   const char *second)
{
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    FAILS(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err), code);
    assert_null(l);
    if (!strstr(err.text, first) || !strstr(err.text, second)) {
        fail_msg("'%s' lacks '%s' or '%s'", err.text, first, second);
    }
    ww_fx_free(fx);
}

static enum ww_err lacks(struct ww_fx *fx, bool *part)
{
    struct ww_error err = {0};
    const enum ww_err rc = ww_layout_lacks(ww_fx_open(fx), part, &err);
    assert_true(!rc == !strstr(err.text, "is missing"));
    ww_fx_free(fx);
    return rc;
}

static struct ww_fx *whisper_encoder(void)
{
    struct ww_fx *fx =
        ww_fx_new("{\"model_type\": \"whisper\", \"d_model\": 8, \"encoder_layers\": 1,"
                  " \"encoder_attention_heads\": 2, \"encoder_ffn_dim\": 12}");
    static const char *const norms[] = {"layers.0.self_attn_layer_norm",
                                        "layers.0.final_layer_norm", "layer_norm"};
    static const char *const square[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    for (int i = 0; i < 3; i++) {
        ww_fx_add(fx, "8", "encoder.%s.weight", norms[i]);
        ww_fx_add(fx, "8", "encoder.%s.bias", norms[i]);
    }
    for (int i = 0; i < 4; i++) {
        ww_fx_add(fx, "8,8", "encoder.layers.0.self_attn.%s.weight", square[i]);
        ww_fx_add(fx, "8", "encoder.layers.0.self_attn.%s.bias", square[i]);
    }
    ww_fx_add(fx, "12,8", "encoder.layers.0.fc1.weight");
    ww_fx_add(fx, "12", "encoder.layers.0.fc1.bias");
    ww_fx_add(fx, "8,12", "encoder.layers.0.fc2.weight");
    ww_fx_add(fx, "8", "encoder.layers.0.fc2.bias");
    ww_fx_add(fx, "8,4,3", "encoder.conv1.weight");
    ww_fx_add(fx, "8", "encoder.conv1.bias");
    ww_fx_add(fx, "8,8,3", "encoder.conv2.weight");
    ww_fx_add(fx, "8", "encoder.conv2.bias");
    ww_fx_add(fx, "16,8", "encoder.embed_positions.weight");
    return fx;
}

/* Of an encoder for sounds nothing is missing but the decoder's words. */
static void a_missing_part_is_no_missing_tensor(void **state)
{
    (void)state;
    bool part = true;
    assert_int_equal(lacks(llama(CONFIG(USUAL)), &part), WW_OK);
    assert_false(part);
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_drop(fx, "model.embed_tokens.weight");
    assert_int_equal(lacks(fx, &part), WW_E_TENSOR);
    assert_false(part);
    assert_int_equal(lacks(whisper_encoder(), &part), WW_E_TENSOR);
    assert_true(part);
    fx = whisper_encoder();
    ww_fx_drop(fx, "encoder.conv1.bias");
    assert_int_equal(lacks(fx, &part), WW_E_TENSOR);
    assert_false(part);
    fx = whisper_encoder(); /* something of the decoder is there */
    ww_fx_add(fx, "8", "decoder.layer_norm.weight");
    assert_int_equal(lacks(fx, &part), WW_E_TENSOR);
    assert_false(part);
}

static void facts_and_spaces_are_found(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    struct ww_layout *l = resolve(fx);
    assert_string_equal(l->descriptor, "llama");
    assert_string_equal(l->model_type, "llama");
    assert_string_equal(l->task, "causal-lm");
    assert_int_equal(l->residual.group, WW_RESIDUAL_SIGNED);
    assert_int_equal(l->residual.width, 24);
    assert_int_equal(l->n_stacks, 1);
    assert_int_equal(l->n_blocks, 2);
    assert_int_equal(l->n_attentions, 2);
    assert_int_equal(l->n_mlps, 2);
    assert_int_equal(l->n_spaces, 1 + 2 * 5);
    const struct ww_attention *a = &l->attentions[1];
    assert_string_equal(a->name, "decoder.1.self");
    assert_int_equal(a->n_heads, 4);
    assert_int_equal(a->n_kv_heads, 2);
    assert_int_equal(a->head_dim, 8);
    assert_int_equal(a->rope.style, WW_ROPE_HALF);
    assert_int_equal(a->rope.dims, 8);
    NEAR(a->rope.theta, 5000.0, 0);
    assert_string_equal(a->rope.type, "default");
    NEAR(a->scale, 1 / sqrt(8), 1e-15);
    assert_int_equal(a->qk_class, WW_QK_ROPE);
    assert_int_equal(a->vo_class, WW_VO_GL);
    assert_true(a->heads_move);
    assert_true(a->causal);
    assert_string_equal(l->spaces[a->context].name, "decoder.1.self.context");
    assert_int_equal(l->spaces[a->context].size, 32);
    assert_int_equal(l->spaces[a->context].owner, 1);
    assert_int_equal(a->q.weight,
                     ww_model_find(fx->model, "model.layers.1.self_attn.q_proj.weight"));
    assert_int_equal(a->q.out_axis, 0);
    assert_int_equal(a->o.in_axis, 1);
    assert_int_equal(a->o.out_axis, 0);
    assert_int_equal(a->q.bias, WW_NONE);
    assert_true(l->mlps[0].gated && l->mlps[0].sign_moves && l->mlps[0].scale_moves);
    assert_int_equal(l->mlps[0].act, WW_FN_SILU);
    NEAR(l->blocks[0].norm_mlp.eps, 1e-5, 0);
    assert_int_equal(l->head.weight, ww_model_find(fx->model, "lm_head.weight"));
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void actions_follow_the_formulas(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    struct ww_layout *l = resolve(fx);
    static const struct {
        const char *name;
        enum ww_action axis[2];
        unsigned rank;
    } want[] = {
        {"self_attn.q_proj.weight", {WW_ACT_DIRECT, WW_ACT_INVERSE}, 2},
        {"self_attn.k_proj.weight", {WW_ACT_INVERSE, WW_ACT_INVERSE}, 2},
        {"self_attn.v_proj.weight", {WW_ACT_DIRECT, WW_ACT_INVERSE}, 2},
        {"self_attn.o_proj.weight", {WW_ACT_DIRECT, WW_ACT_INVERSE}, 2},
        {"mlp.gate_proj.weight", {WW_ACT_PERMUTE, WW_ACT_INVERSE}, 2},
        {"mlp.up_proj.weight", {WW_ACT_DIRECT, WW_ACT_INVERSE}, 2},
        {"mlp.down_proj.weight", {WW_ACT_DIRECT, WW_ACT_INVERSE}, 2},
        {"input_layernorm.weight", {WW_ACT_PERMUTE, WW_ACT_DIRECT}, 1},
    };
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        char name[100];
        snprintf(name, sizeof(name), "model.layers.0.%s", want[i].name);
        const struct ww_binding *b = &l->bindings[ww_model_find(fx->model, name)];
        for (unsigned x = 0; x < want[i].rank; x++) {
            assert_int_equal(b->axis[x].n_segments, 1);
            assert_int_equal(l->segments[b->axis[x].first_segment].action,
                             want[i].axis[x]);
        }
        assert_int_equal(b->block, 0);
    }
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void null_head_dim_and_kv_heads_mean_derived(void **state)
{
    (void)state;
    struct ww_fx *fx =
        llama(CONFIG(", \"num_key_value_heads\": null, \"head_dim\": null"));
    for (int l = 0; l < 2; l++) {
        char name[80];
        snprintf(name, sizeof(name), "model.layers.%d.self_attn.q_proj.weight", l);
        ww_fx_find(fx, name)->shape[0] = 24;
        snprintf(name, sizeof(name), "model.layers.%d.self_attn.k_proj.weight", l);
        ww_fx_find(fx, name)->shape[0] = 24;
        snprintf(name, sizeof(name), "model.layers.%d.self_attn.v_proj.weight", l);
        ww_fx_find(fx, name)->shape[0] = 24;
        snprintf(name, sizeof(name), "model.layers.%d.self_attn.o_proj.weight", l);
        ww_fx_find(fx, name)->shape[1] = 24;
    }
    struct ww_layout *l = resolve(fx);
    assert_int_equal(l->attentions[0].head_dim, 6);
    assert_int_equal(l->attentions[0].n_kv_heads, 4);
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void rope_parameters_of_both_versions_are_read(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 8,"
                                    " \"rope_parameters\": {\"rope_theta\": 77.0,"
                                    " \"rope_type\": \"llama3\"}"));
    struct ww_layout *l = resolve(fx);
    NEAR(l->attentions[0].rope.theta, 77.0, 0);
    assert_string_equal(l->attentions[0].rope.type, "llama3");
    assert_string_equal(l->attentions[0].rope.params_path, "rope_parameters");
    ww_layout_free(l);
    ww_fx_free(fx);
    fx = llama(
        CONFIG(USUAL ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}"));
    l = resolve(fx);
    NEAR(l->attentions[0].rope.theta, 5000.0, 0);
    assert_string_equal(l->attentions[0].rope.type, "linear");
    assert_string_equal(l->attentions[0].rope.params_path, "rope_scaling");
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void tied_head_is_the_embedding(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL ", \"tie_word_embeddings\": true"));
    ww_fx_drop(fx, "lm_head.weight");
    struct ww_layout *l = resolve(fx);
    assert_int_equal(l->head.weight, l->embed);
    assert_string_equal(l->task, "causal-lm");
    assert_int_equal(l->residual.group, WW_RESIDUAL_SIGNED);
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void stored_head_beside_tying_is_used_and_moves(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL ", \"tie_word_embeddings\": true"));
    struct ww_layout *l = resolve(fx);
    uint32_t head = ww_model_find(fx->model, "lm_head.weight");
    assert_int_equal(l->head.weight, head);
    assert_int_equal(l->bindings[head].axis[1].n_segments, 1);
    assert_int_equal(l->bindings[l->embed].axis[1].n_segments, 1);
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void headless_model_keeps_its_residual(void **state)
{
    (void)state;
    struct ww_fx *fx = NULL;
    fx =
        llama("{\"model_type\": \"llama\", \"architectures\": [\"LlamaModel\"],"
              " \"hidden_size\": 24, \"num_hidden_layers\": 2, \"intermediate_size\": 20,"
              " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8,"
              " \"vocab_size\": 11}");
    ww_fx_drop(fx, "lm_head.weight");
    struct ww_layout *l = resolve(fx);
    assert_string_equal(l->task, "headless");
    assert_int_equal(l->residual.group, WW_RESIDUAL_FIXED);
    assert_int_equal(l->residual.space, WW_NONE);
    assert_non_null(strstr(l->residual.reason, "headless"));
    assert_int_equal(l->bindings[l->embed].axis[1].n_segments, 0);
    assert_int_equal(l->attentions[0].q.in_axis, 1);
    ww_layout_free(l);
    ww_fx_free(fx);
    /* Nor does a head that the named class does not read make one. */
    fx =
        llama("{\"model_type\": \"llama\", \"architectures\": [\"LlamaModel\"],"
              " \"hidden_size\": 24, \"num_hidden_layers\": 2, \"intermediate_size\": 20,"
              " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8,"
              " \"vocab_size\": 11}");
    l = resolve(fx);
    assert_string_equal(l->task, "headless");
    assert_int_equal(l->residual.group, WW_RESIDUAL_FIXED);
    ww_layout_free(l);
    ww_fx_free(fx);
}

/* Families of one descriptor have other defaults: Sarvam has no query latent where
 * config.json does not say, DeepSeek V3 has. What is stored tells. */
static void a_query_latent_is_there_where_it_is_stored(void **state)
{
    (void)state;
    struct ww_fx *fx = ww_fx_new(
        "{\"model_type\": \"sarvam_mla\", \"hidden_size\": 8,"
        " \"num_hidden_layers\": 1, \"intermediate_size\": 6,"
        " \"num_attention_heads\": 2, \"vocab_size\": 11, \"kv_lora_rank\": 4,"
        " \"qk_nope_head_dim\": 2, \"qk_rope_head_dim\": 2, \"v_head_dim\": 3}");
    ww_fx_add(fx, "11,8", "model.embed_tokens.weight");
    ww_fx_add(fx, "11,8", "lm_head.weight");
    ww_fx_add(fx, "8", "model.norm.weight");
    ww_fx_add(fx, "8", "model.layers.0.input_layernorm.weight");
    ww_fx_add(fx, "8", "model.layers.0.post_attention_layernorm.weight");
    ww_fx_add(fx, "8,8", "model.layers.0.self_attn.q_proj.weight");
    ww_fx_add(fx, "6,8", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight");
    ww_fx_add(fx, "4", "model.layers.0.self_attn.kv_a_layernorm.weight");
    ww_fx_add(fx, "10,4", "model.layers.0.self_attn.kv_b_proj.weight");
    ww_fx_add(fx, "8,6", "model.layers.0.self_attn.o_proj.weight");
    ww_fx_add(fx, "6,8", "model.layers.0.mlp.gate_proj.weight");
    ww_fx_add(fx, "6,8", "model.layers.0.mlp.up_proj.weight");
    ww_fx_add(fx, "8,6", "model.layers.0.mlp.down_proj.weight");
    struct ww_layout *l = resolve(fx);
    assert_int_equal(l->attentions[0].q_latent, 0);
    assert_int_equal(l->attentions[0].latent, 4);
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void sentence_embedders_keep_their_residual(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_file(fx, "modules.json", "[]");
    struct ww_layout *l = resolve(fx);
    assert_int_equal(l->residual.group, WW_RESIDUAL_FIXED);
    assert_non_null(strstr(l->residual.reason, "sentence-transformers"));
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void prefix_may_be_absent(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    for (unsigned i = 0; i < fx->n; i++) {
        char *name = fx->tensors[i].name;
        if (strncmp(name, "model.", 6) == 0) {
            memmove(name, name + 6, strlen(name + 6) + 1);
        }
    }
    ww_layout_free(resolve(fx));
    ww_fx_free(fx);
}

static void buffers_are_ignored(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_add(fx, "4", "model.layers.0.self_attn.rotary_emb.inv_freq");
    struct ww_layout *l = resolve(fx);
    uint32_t t = ww_model_find(fx->model, "model.layers.0.self_attn.rotary_emb.inv_freq");
    assert_true(l->bindings[t].ignored);
    assert_string_equal(l->bindings[t].role, "ignore");
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void tensors_must_all_be_known_and_present(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_drop(fx, "model.layers.1.mlp.up_proj.weight");
    refuse(fx, WW_E_TENSOR, "model.layers.1.mlp.up_proj.weight", "missing");
    fx = llama(CONFIG(USUAL));
    ww_fx_add(fx, "24", "model.layers.1.self_attn.strange");
    refuse(fx, WW_E_TENSOR, "model.layers.1.self_attn.strange", "unknown");
    fx = llama(CONFIG(USUAL));
    ww_fx_drop(fx, "model.embed_tokens.weight");
    refuse(fx, WW_E_TENSOR, "model.embed_tokens.weight", "missing");
    fx = llama(CONFIG(USUAL));
    ww_fx_drop(fx, "lm_head.weight");
    refuse(fx, WW_E_TENSOR, "lm_head.weight", "LlamaForCausalLM");
}

static void layers_must_be_as_many_as_config_says(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_add(fx, "24", "model.layers.2.input_layernorm.weight");
    refuse(fx, WW_E_ARCH, "hold 3 layers", "says 2");
    fx =
        llama("{\"model_type\": \"llama\", \"hidden_size\": 24, \"num_hidden_layers\": 3,"
              " \"num_attention_heads\": 4}");
    refuse(fx, WW_E_ARCH, "hold 2 layers", "num_hidden_layers");
    fx = llama("{\"model_type\": \"llama\", \"num_hidden_layers\": 123456789}");
    refuse(fx, WW_E_ARCH, "hold 2 layers", "123456789");
}

static void shapes_must_fit_the_config(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "model.layers.1.self_attn.k_proj.weight")->shape[0] = 32;
    refuse(fx, WW_E_SHAPE, "[32, 24], axis 0 must be 16", "num_key_value_heads");
    fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "model.layers.0.self_attn.o_proj.weight")->shape[1] = 24;
    refuse(fx, WW_E_SHAPE, "axis 1 must be 32", "num_attention_heads");
    fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "model.norm.weight")->shape[0] = 23;
    refuse(fx, WW_E_SHAPE, "[23]", "hidden_size");
    fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "lm_head.weight")->shape[0] = 12;
    refuse(fx, WW_E_SHAPE, "lm_head.weight", "11");
    fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "model.layers.0.mlp.down_proj.weight")->rank = 3;
    ww_fx_find(fx, "model.layers.0.mlp.down_proj.weight")->shape[2] = 1;
    refuse(fx, WW_E_SHAPE, "[24, 20, 1]", "2 axes");
}

static void optional_tensors_are_in_all_layers_or_none(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    ww_fx_add(fx, "32", "model.layers.1.self_attn.q_proj.bias");
    refuse(fx, WW_E_TENSOR, "model.layers.1.self_attn.q_proj.bias",
           "model.layers.0.self_attn.q_proj.bias");
    fx = llama(CONFIG(USUAL));
    ww_fx_add(fx, "32", "model.layers.0.self_attn.q_proj.bias");
    ww_fx_add(fx, "32", "model.layers.1.self_attn.q_proj.bias");
    struct ww_layout *l = resolve(fx);
    assert_int_equal(l->attentions[0].q.bias,
                     ww_model_find(fx->model, "model.layers.0.self_attn.q_proj.bias"));
    assert_int_equal(l->attentions[0].k.bias, WW_NONE);
    ww_layout_free(l);
    ww_fx_free(fx);
}

static void quantised_weights_are_refused(void **state)
{
    (void)state;
    static const char *const companions[] = {
        "qweight", "SCB",           "weight_scale",    "weight_packed",
        "k_scale", "weight.absmax", "weight_scale_inv"};
    for (size_t i = 0; i < sizeof(companions) / sizeof(companions[0]); i++) {
        struct ww_fx *fx = llama(CONFIG(USUAL));
        ww_fx_add(fx, "4", "model.layers.0.self_attn.q_proj.%s", companions[i]);
        refuse(fx, WW_E_QUANTISED, "model.layers.0.self_attn.q_proj", "original");
    }
    struct ww_fx *fx = llama(CONFIG(USUAL)); /* GPT-OSS as it is published */
    ww_fx_add(fx, "4,16", "model.layers.0.mlp.experts.gate_up_proj_blocks");
    ww_fx_find(fx, "model.layers.0.mlp.experts.gate_up_proj_blocks")->dtype = "U8";
    ww_fx_find(fx, "model.layers.0.mlp.experts.gate_up_proj_blocks")->bytes = 1;
    refuse(fx, WW_E_QUANTISED, "mlp.experts.gate_up_proj", "MXFP4");
    fx = llama(CONFIG(USUAL));
    ww_fx_find(fx, "model.layers.0.self_attn.q_proj.weight")->dtype = "I8";
    ww_fx_find(fx, "model.layers.0.self_attn.q_proj.weight")->bytes = 1;
    refuse(fx, WW_E_QUANTISED, "model.layers.0.self_attn.q_proj.weight", "I8");
}

static void models_with_code_of_their_own_need_a_descriptor_by_name(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    struct ww_layout_options named = {.descriptor = "llama"};
    struct ww_fx *fx = llama(CONFIG(USUAL ", \"auto_map\": {\"AutoModel\": \"m.M\"}"));
    FAILS(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err), WW_E_ARCH);
    assert_non_null(strstr(err.text, "auto_map"));
    OK(ww_layout_resolve(fx->model, &named, &l, &err));
    ww_layout_free(l);
    named.descriptor = "lama";
    FAILS(ww_layout_resolve(fx->model, &named, &l, &err), WW_E_ARCH);
    assert_non_null(strstr(err.text, "'llama'"));
    ww_fx_free(fx);
}

static void unusable_configs_are_refused(void **state)
{
    (void)state;
    refuse(llama(CONFIG(USUAL ", \"pruned_heads\": {\"0\": [1]}")), WW_E_ARCH,
           "pruned_heads", "not supported");
    refuse(llama("{\"model_type\": \"lama\"}"), WW_E_ARCH, "'lama'", "'llama'");
    refuse(llama("{\"model_type\": \"unheard\", \"text_config\": {\"model_type\":"
                 " \"gemma3_text\"}}"),
           WW_E_ARCH, "'unheard'", "'gemma3_text'");
    refuse(llama("{\"model_type\": \"swin\"}"), WW_E_ARCH, "'swin' is refused",
           "per window");
    refuse(llama("{\"hidden_size\": 24}"), WW_E_ARCH, "model_type", "descriptor");
    refuse(llama(CONFIG(", \"num_key_value_heads\": 3, \"head_dim\": 8")), WW_E_CONFIG,
           "4 query heads (num_attention_heads)", "3 KV heads (num_key_value_heads)");
    refuse(llama(CONFIG(", \"num_key_value_heads\": \"two\"")), WW_E_CONFIG,
           "num_key_value_heads", "number");
    refuse(llama(CONFIG(", \"num_key_value_heads\": 0")), WW_E_CONFIG, "kv_heads", "0");
    refuse(llama(CONFIG(USUAL ", \"hidden_act\": \"gulu\"")), WW_E_ARCH, "'gulu'",
           "gelu");
    refuse(llama(CONFIG(", \"num_key_value_heads\": 2, \"head_dim\": 8,"
                        " \"partial_rotary_factor\": 0.5")),
           WW_E_ARCH, "partial_rotary_factor is 0.5", "8 of 8");
    refuse(
        llama(CONFIG(USUAL ", \"rope_parameters\": {\"partial_rotary_factor\": 0.25}")),
        WW_E_ARCH, "partial_rotary_factor is 0.25", "programs differ");
    struct ww_fx *whole = llama(CONFIG(USUAL ", \"partial_rotary_factor\": 1.0"));
    ww_layout_free(resolve(whole));
    ww_fx_free(whole);
}

/* Names and shapes of another language model may be those of Llama, and its pairs are
 * not. */
static void wrappers_hold_language_models_that_they_know(void **state)
{
    (void)state;
    static const char *const types[] = {"llava",    "llava_next", "llava_onevision",
                                        "vipllava", "internvl",   "idefics2",
                                        "idefics3", "mistral3"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char config[200];
        snprintf(
            config, sizeof(config),
            "{\"model_type\": \"%s\", \"text_config\": {\"model_type\": \"helium\"}}",
            types[i]);
        struct ww_fx *fx = ww_fx_new(config);
        ww_fx_add(fx, "4", "language_model.model.layers.0.input_layernorm.weight");
        ww_fx_add(fx, "4", "model.text_model.layers.0.input_layernorm.weight");
        ww_fx_add(fx, "4,3,2,2", "vision_tower.patch_conv.weight");
        refuse(fx, WW_E_ARCH, types[i], "language model inside");
    }
}

static void other_names_find_no_layer(void **state)
{
    (void)state;
    struct ww_fx *fx = ww_fx_new(CONFIG(USUAL));
    ww_fx_add(fx, "11,24", "tok_embeddings.weight");
    refuse(fx, WW_E_TENSOR, "no layer found", "tok_embeddings.weight");
}

static void folder_without_config_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    struct ww_model *model = NULL;
    char path[400];
    (void)ww_fx_open(fx);
    snprintf(path, sizeof(path), "%s/config.json", fx->path);
    assert_int_equal(unlink(path), 0);
    OK(ww_model_open(fx->path, &model, &err));
    FAILS(ww_layout_resolve(model, NULL, &l, &err), WW_E_ARCH);
    ww_model_close(model);
    ww_fx_free(fx);
}

/* Every allocation fails once: each time it is out of memory, and nothing leaks. */
static void resolving_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct ww_fx *fx = llama(CONFIG(USUAL));
    const struct ww_model *model = ww_fx_open(fx);
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    ww_fault_arm(WW_FAULT_ALLOC, 1ul << 40);
    OK(ww_layout_resolve(model, NULL, &l, &err));
    unsigned long n = ww_fault_seen(WW_FAULT_ALLOC);
    ww_layout_free(l);
    assert_true(n > 100);
    for (unsigned long i = 1; i <= n; i += i < 60 ? 1 : 7) {
        ww_error_clear(&err);
        ww_fault_arm(WW_FAULT_ALLOC, i);
        enum ww_err rc = ww_layout_resolve(model, NULL, &l, &err);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        if (rc != WW_E_NOMEM || l) {
            fail_msg("allocation %lu of %lu: %s (%s)", i, n, ww_err_name(rc), err.text);
        }
    }
    ww_fx_free(fx);
}

static void class_names_cover_all_classes(void **state)
{
    (void)state;
    assert_string_equal(ww_qk_class_name(WW_QK_GL), "gl");
    assert_string_equal(ww_qk_class_name(WW_QK_NONE), "none");
    assert_string_equal(ww_vo_class_name(WW_VO_SUBNORM), "subnorm");
    assert_string_equal(ww_vo_class_name((enum ww_vo_class)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_and_spaces_are_found),
        cmocka_unit_test(actions_follow_the_formulas),
        cmocka_unit_test(null_head_dim_and_kv_heads_mean_derived),
        cmocka_unit_test(rope_parameters_of_both_versions_are_read),
        cmocka_unit_test(tied_head_is_the_embedding),
        cmocka_unit_test(stored_head_beside_tying_is_used_and_moves),
        cmocka_unit_test(headless_model_keeps_its_residual),
        cmocka_unit_test(a_query_latent_is_there_where_it_is_stored),
        cmocka_unit_test(sentence_embedders_keep_their_residual),
        cmocka_unit_test(prefix_may_be_absent),
        cmocka_unit_test(buffers_are_ignored),
        cmocka_unit_test(tensors_must_all_be_known_and_present),
        cmocka_unit_test(layers_must_be_as_many_as_config_says),
        cmocka_unit_test(shapes_must_fit_the_config),
        cmocka_unit_test(optional_tensors_are_in_all_layers_or_none),
        cmocka_unit_test(quantised_weights_are_refused),
        cmocka_unit_test(models_with_code_of_their_own_need_a_descriptor_by_name),
        cmocka_unit_test(unusable_configs_are_refused),
        cmocka_unit_test(wrappers_hold_language_models_that_they_know),
        cmocka_unit_test(other_names_find_no_layer),
        cmocka_unit_test(a_missing_part_is_no_missing_tensor),
        cmocka_unit_test(folder_without_config_is_refused),
        cmocka_unit_test(resolving_survives_each_failed_allocation),
        cmocka_unit_test(class_names_cover_all_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
