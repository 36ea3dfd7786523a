/* SPDX-License-Identifier: Apache-2.0 */
/* Plans over small models of zeros: names, layers, files, and what does not go together.
 */
#include "plan_fixture.h"

static void whole_models_give_the_donors_tensors(void **state)
{
    struct pm *pm = pm_new();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    PM_OK(LINEAR "out_dtype: bfloat16\n");
    assert_int_equal(pm->plan.n_tensors, 9);
    t = find(pm, "model.layers.1.mlp.weight");
    assert_int_equal(t->n_sources, 2);
    assert_int_equal(t->dtype, WW_DTYPE_BF16);
    assert_int_equal(t->compute, WW_DTYPE_F32);
    NEAR(t->sources[1].params[ww_method_param(t->method, "weight")], 0.5, 0);
    t = find(pm, "model.layers.2.norm.weight");
    NEAR(t->sources[1].params[ww_method_param(t->method, "weight")], 1, 0);
    t = find(pm, "lm_head.weight");
    NEAR(t->sources[1].params[ww_method_param(t->method, "weight")], 0, 0);
    assert_true(file_has(pm, "config.json", "\"rope_theta\":10000.0"));
    assert_true(file_has(pm, "config.json", "\"dtype\": \"bfloat16\""));
    assert_true(file_has(pm, "README.md", "- \"m1\"\n"));
    assert_true(file_has(pm, "mergekit_config.yml", LINEAR));
    pm_free(pm);
}

static void slices_number_layers_anew(void **state)
{
    struct pm *pm = pm_new();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    PM_OK(
        "merge_method: passthrough\nslices:\n- sources: [{model: m0, layer_range: [0, "
        "2]}]\n"
        "- sources: [{model: m1, layer_range: [1, 3], parameters: {scale: [0.5, 2]}}]\n");
    assert_int_equal(pm->plan.n_tensors, 11);
    t = find(pm, "model.layers.3.mlp.weight");
    assert_non_null(t);
    assert_int_equal(t->sources[0].model, 1);
    assert_int_equal(
        t->sources[0].offset,
        pm->plan.models[1]
            ->tensors[ww_model_find(pm->plan.models[1], "model.layers.2.mlp.weight")]
            .offset);
    NEAR(t->sources[0].params[ww_method_param(t->method, "scale")], 2, 0);
    assert_int_equal(find(pm, "model.embed_tokens.weight")->sources[0].model, 0);
    assert_int_equal(find(pm, "lm_head.weight")->sources[0].model, 1);
    assert_true(file_has(pm, "config.json", "\"num_hidden_layers\":4"));
    assert_true(file_has(pm, "config.json", "[\"a\", \"b\", \"b\", \"c\"]"));
    pm_free(pm);
}

static void base_comes_last_and_is_no_source(void **state)
{
    struct pm *pm = pm_new();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    PM_OK("merge_method: task_arithmetic\nbase_model: m2\n"
          "models: [{model: m2}, {model: m0, parameters: {weight: 1}}]\n");
    t = find(pm, "model.norm.weight");
    assert_int_equal(t->n_sources, 1);
    assert_int_equal(t->base->model, 0); /* m2 is named first */
    assert_int_equal(t->sources[0].model, 1);
    pm_free(pm);
}

static void shards_are_cut_at_the_size(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    pm->options.shard_bytes = 200;
    PM_OK(LINEAR);
    assert_non_null(find_file(pm, "model-00001-of-00004.safetensors"));
    assert_true(file_has(pm, "model.safetensors.index.json",
                         "\"model.norm.weight\": \"model-00004-of-00004.safetensors\""));
    pm_free(pm);
}

static void missing_and_strange_tensors_are_refused_or_named(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_drop(pm->model[1], "model.norm.weight");
    ww_fx_add(pm->model[1], "3", "extra.weight");
    PM_FAILS(LINEAR, WW_E_TENSOR, "'model.norm.weight' is in 'm0' and not in 'm1'");
    ww_recipe_release(&pm->file);
    pm->options.allow_mixed = true;
    PM_OK(LINEAR);
    assert_int_equal(find(pm, "model.norm.weight")->n_sources, 1);
    assert_null(find(pm, "extra.weight"));
    assert_true(warned(pm, "'extra.weight' of 'm1' is dropped"));
    assert_true(warned(pm, "'model.norm.weight' is not in 'm1': merged without it"));
    pm_free(pm);
}

static void surplus_tensor_is_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_add(pm->model[1], "3", "extra.weight");
    PM_FAILS(LINEAR, WW_E_TENSOR, "'extra.weight' is in 'm1' and not in 'm0'");
    pm_free(pm);
}

static void shapes_and_dtypes_must_agree(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_find(pm->model[1], "model.embed_tokens.weight")->shape[0] = 11;
    PM_FAILS(LINEAR, WW_E_SHAPE,
             "if the vocabularies differ say tokenizer_source: union");
    pm_free(pm);
    pm = pm_new();
    ww_fx_find(pm->model[1], "model.layers.0.mlp.weight")->shape[1] = 5;
    PM_FAILS(LINEAR, WW_E_SHAPE, "is [4, 4] in 'm0' and [4, 5] in 'm1'");
    pm_free(pm);
    pm = pm_new();
    ww_fx_find(pm->model[1], "model.norm.weight")->dtype = "I32";
    PM_FAILS(LINEAR, WW_E_TENSOR, "is F32 in 'm0' and I32 in 'm1'");
    pm_free(pm);
    pm = pm_new();
    ww_fx_find(pm->model[1], "model.norm.weight")->dtype = "F8_E4M3";
    ww_fx_find(pm->model[1], "model.norm.weight")->bytes = 1;
    PM_FAILS(LINEAR, WW_E_QUANTISED, "F8_E4M3");
    pm_free(pm);
}

static void mixed_floats_are_promoted(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_find(pm->model[0], "model.norm.weight")->dtype = "F16";
    ww_fx_find(pm->model[0], "model.norm.weight")->bytes = 2;
    ww_fx_find(pm->model[1], "model.norm.weight")->dtype = "BF16";
    ww_fx_find(pm->model[1], "model.norm.weight")->bytes = 2;
    PM_OK(LINEAR);
    assert_int_equal(find(pm, "model.norm.weight")->dtype, WW_DTYPE_F32);
    pm_free(pm);
}

static void architectures_must_be_one_unless_told(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    memcpy(strstr(pm->config[1], "Llama"), "Qwen2", 5);
    PM_FAILS(LINEAR, WW_E_RECIPE, "say --allow-mixed");
    ww_recipe_release(&pm->file);
    pm->options.allow_mixed = true;
    PM_OK(LINEAR);
    assert_true(warned(pm, "is a LlamaForCausalLM and 'm1' a Qwen2ForCausalLM"));
    pm_free(pm);
}

static void layer_range_past_the_end_is_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    PM_FAILS("merge_method: passthrough\nslices:\n"
             "- sources: [{model: m0, layer_range: [1, 4]}]\n",
             WW_E_RECIPE, "layer_range ends at 4 and 'm0' has 3 layers");
    pm_free(pm);
}

static void layer_range_beside_a_whole_model_is_all_of_it(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    PM_OK("merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
          "- {model: m0, layer_range: [0, 3]}\n- {model: m1, layer_range: [0, 3]}\n");
    pm_free(pm);
    pm = pm_new();
    PM_FAILS("merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
             "- {model: m0, layer_range: [0, 3]}\n- {model: m1, layer_range: [0, 2]}\n",
             WW_E_RECIPE, "layer_range is not all of the 3 layers of 'm1'");
    pm_free(pm);
}

static void slices_need_a_config_of_a_model_with_layers(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_free(pm->model[2]);
    pm->model[2] = ww_fx_new(pm->config[2]);
    ww_fx_add(pm->model[2], "10,4", "model.embed_tokens.weight");
    PM_FAILS("merge_method: passthrough\nbase_model: m2\nslices:\n"
             "- sources: [{model: m0, layer_range: [0, 2]}]\n",
             WW_E_UNSUPPORTED, "is that of 'm2', which has 0 stacks of layers");
    pm_free(pm);
}

static void missing_weight_names_model_and_tensor(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    PM_FAILS("merge_method: linear\nmodels: [{model: m0, parameters: {weight: 1}}, "
             "{model: m1, parameters: {weight: {filter: mlp, value: 1}}}]\n",
             WW_E_RECIPE, "needs weight for model 'm1'");
    pm_free(pm);
}

static void tied_head_beside_a_free_one_comes_from_the_embedding(void **state)
{
    struct pm *pm = pm_new();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    ww_fx_drop(pm->model[0], "lm_head.weight");
    snprintf(pm->config[0], sizeof(pm->config[0]), CONFIG, 3, "true");
    PM_OK(LINEAR);
    t = find(pm, "lm_head.weight");
    assert_non_null(t);
    assert_int_equal(t->sources[0].offset,
                     find(pm, "model.embed_tokens.weight")->sources[0].offset);
    assert_true(file_has(pm, "config.json", "\"tie_word_embeddings\":false"));
    assert_true(warned(pm, "ties its head to the embedding and 'm1' has its own"));
    pm_free(pm);
}

static void tied_in_another_than_the_donor_is_taken_from_its_embedding(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_drop(pm->model[1], "lm_head.weight");
    snprintf(pm->config[1], sizeof(pm->config[1]), CONFIG, 3, "true");
    PM_OK(LINEAR);
    assert_int_equal(find(pm, "lm_head.weight")->n_sources, 2);
    pm_free(pm);
}

static void filters_see_a_tied_head_by_its_own_name(void **state)
{
    struct pm *pm = pm_new();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    ww_fx_drop(pm->model[1], "lm_head.weight");
    snprintf(pm->config[1], sizeof(pm->config[1]), CONFIG, 3, "true");
    PM_OK("merge_method: linear\nmodels: [{model: m0}, {model: m1}]\n"
          "parameters: {weight: [{filter: lm_head, value: 0.25}, {value: 1}]}\n");
    t = find(pm, "lm_head.weight");
    NEAR(t->sources[1].params[ww_method_param(t->method, "weight")], 0.25, 0);
    t = find(pm, "model.embed_tokens.weight");
    NEAR(t->sources[1].params[ww_method_param(t->method, "weight")], 1, 0);
    pm_free(pm);
}

/* m1 ties its head; config.json of the output is that of base_model or the first model.
 */
static struct pm *pm_with_tied(void)
{
    struct pm *pm = pm_new();
    ww_fx_drop(pm->model[1], "lm_head.weight");
    snprintf(pm->config[1], sizeof(pm->config[1]), CONFIG, 3, "true");
    return pm;
}

#define STACK(first, last)                                                               \
    "slices:\n- sources: [{model: " first ", layer_range: [0, 1]}]\n"                    \
    "- sources: [{model: " last ", layer_range: [1, 3]}]\n"

static void the_head_of_a_stack_is_that_of_its_last_slice(void **state)
{
    struct pm *pm = pm_with_tied();
    const struct ww_merge_tensor *t = NULL;
    (void)state;
    PM_OK("merge_method: passthrough\n" STACK("m0", "m1"));
    t = find(pm, "lm_head.weight");
    assert_non_null(t); /* the embedding that m1 is read with */
    assert_int_equal(t->sources[0].model, 1);
    assert_true(file_has(pm, "config.json", "\"tie_word_embeddings\":false"));
    pm_free(pm);
    pm = pm_with_tied();
    PM_OK("merge_method: passthrough\n" STACK("m1", "m0"));
    assert_int_equal(find(pm, "lm_head.weight")->sources[0].model, 1);
    assert_true(file_has(pm, "config.json", "\"tie_word_embeddings\":false"));
    assert_true(warned(pm, "ties its head to the embedding and 'm0' has its own"));
    pm_free(pm);
    pm = pm_with_tied();
    PM_OK("merge_method: linear\nparameters: {weight: 1}\nslices:\n- sources:\n"
          "  - {model: m1, layer_range: [0, 3]}\n  - {model: m0, layer_range: [0, 3]}\n");
    assert_int_equal(find(pm, "lm_head.weight")->n_sources, 2);
    assert_true(file_has(pm, "config.json", "\"tie_word_embeddings\":false"));
    pm_free(pm);
}

static void a_stack_of_tied_models_shares_the_embedding_of_the_first(void **state)
{
    struct pm *pm = pm_with_tied();
    (void)state;
    ww_fx_drop(pm->model[2], "lm_head.weight");
    snprintf(pm->config[2], sizeof(pm->config[2]), CONFIG, 3, "true");
    PM_OK("merge_method: passthrough\n" STACK("m1", "m2"));
    assert_null(find(pm, "lm_head.weight"));
    assert_true(file_has(pm, "config.json", "\"tie_word_embeddings\":true"));
    assert_true(warned(pm, "that of 'm1'; the head of 'm2', whose layers come last"));
    pm_free(pm);
}

static void what_an_input_of_a_slice_has_more_is_refused(void **state)
{
    static const char both[] = "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
                               "- sources:\n  - {model: m0, layer_range: [0, 2]}\n"
                               "  - {model: m1, layer_range: [1, 3]}\n";
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_add(pm->model[1], "4", "model.layers.0.mlp.bias"); /* in no slice */
    PM_OK(both);
    pm_free(pm);
    pm = pm_new();
    ww_fx_add(pm->model[1], "4", "model.layers.2.mlp.bias");
    PM_FAILS(both, WW_E_TENSOR, "'model.layers.2.mlp.bias' is in 'm1' and not in 'm0'");
    pm_free(pm);
    pm = pm_new();
    ww_fx_add(pm->model[1], "4", "model.norm.bias");
    PM_FAILS(both, WW_E_TENSOR, "'model.norm.bias' is in 'm1' and not in 'm0'");
    pm_free(pm);
}

static void tensors_of_one_kind_are_told_together(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    for (unsigned l = 0; l < 3; l++) {
        ww_fx_add(pm->model[1], "4", "model.layers.%u.experts.7.bias", l);
        ww_fx_add(pm->model[0], "4", "model.layers.%u.gate", l);
    }
    pm->options.allow_mixed = true;
    PM_OK(LINEAR);
    assert_int_equal(pm->warnings.n, 2);
    assert_true(
        warned(pm, "3 tensors 'model.layers.*.experts.*.bias' of 'm1' are dropped"));
    assert_true(warned(pm, "3 tensors 'model.layers.*.gate' are not in 'm1': merged"));
    pm_free(pm);
}

static void more_kinds_than_anybody_reads_are_told_as_one(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        ww_fx_add(pm->model[1], "4", "model.extra%u.bias", i);
    }
    pm->options.allow_mixed = true;
    PM_OK(LINEAR);
    assert_int_equal(pm->warnings.n, 257);
    assert_true(warned(pm, "44 tensors '*' of 'm1' are dropped"));
    pm_free(pm);
}

static void a_model_of_which_nothing_is_selected_is_named(void **state)
{
    static const char some[] =
        "merge_method: ties\nbase_model: m2\nparameters: {weight: 1}\nmodels:\n"
        "- {model: m0, parameters: {density: [0, 0.5]}}\n"
        "- {model: m1, parameters: {density: 0}}\n";
    struct pm *pm = pm_new();
    (void)state;
    PM_OK(some);
    assert_true(warned(pm, "density is 0 in every tensor of 'm1'"));
    assert_false(warned(pm, "in every tensor of 'm0'"));
    pm_free(pm);
    pm = pm_new();
    PM_OK("merge_method: sce\nbase_model: m2\nparameters: {select_topk: 0.0}\n"
          "models: [{model: m0}]\n");
    assert_true(warned(pm, "select_topk is 0 in every tensor of 'm0'"));
    pm_free(pm);
}

#define TWO(all, m0, m1)                                                                 \
    "merge_method: ties\nbase_model: m2\nparameters: {" all "}\nmodels:\n"               \
    "- {model: m0, parameters: {weight: " m0 "}}\n"                                      \
    "- {model: m1, parameters: {weight: " m1 "}}\n"

static void a_recipe_that_gives_the_base_is_warned_about(void **state)
{
    static const struct {
        const char *recipe;
        const char *warning; /* NULL: something of a model is in it */
    } cases[] = {
        {TWO("", "0", "0"), "weight is 0 in every tensor of every model: the output is"},
        {TWO("lambda: 0", "1", "1"),
         "lambda is 0 in every tensor: the output is the base"},
        {TWO("lambda: [0, 1]", "0", "[0, 1]"), NULL},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct pm *pm = pm_new();
        PM_OK(cases[i].recipe);
        if (cases[i].warning) {
            assert_true(warned(pm, cases[i].warning));
        } else {
            assert_false(warned(pm, "the output is the base"));
        }
        pm_free(pm);
    }
}

static void doubtful_lists_are_warned_about(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    PM_OK("merge_method: linear\nmodels: [{model: m0}, {model: m1}]\n"
          "parameters: {weight: [0.3, 0.7]}\n");
    assert_true(warned(pm, "weight has as many values as there are models"));
    pm_free(pm);
    pm = pm_new();
    PM_OK("merge_method: linear\nmodels: [{model: m0}, {model: m1}]\n"
          "parameters: {weight: [1, 2, 3, 4, 5]}\n");
    assert_true(warned(pm, "weight has 5 values for 3 layers"));
    pm_free(pm);
    pm = pm_new(); /* t is one for all models */
    PM_OK("merge_method: slerp\nbase_model: m0\nmodels: [{model: m0}, {model: m1}]\n"
          "parameters: {t: [0.3, 0.7]}\n");
    assert_false(warned(pm, "as many values as there are models"));
    pm_free(pm);
}

static void values_that_no_tensor_gets_are_told(void **state)
{
    static const char two[] =
        "merge_method: slerp\nbase_model: m0\nmodels: [{model: m0}, "
        "{model: m1}]\nparameters:\n  t:\n";
    struct pm *pm = pm_new();
    char text[600];
    (void)state;
    snprintf(text, sizeof(text), "%s%s", two,
             "  - {filter: self_atn, value: 0.2}\n  - {value: 0.5}\n"
             "  - {filter: mlp, value: 0.7}\n");
    PM_OK(text);
    assert_true(warned(pm, "line 6: 'self_atn' is part of no tensor's name: this value"));
    assert_true(warned(pm, "line 8: the value of t before this one is for every tensor"));
    assert_int_equal(pm->warnings.n, 2);
    pm_free(pm);
    pm = pm_new();
    snprintf(text, sizeof(text), "%s%s", two,
             "  - {filter: mlp, value: 0.2}\n  - {filter: lm_head, value: 0}\n"
             "  - {filter: '*', value: 0.5}\n");
    PM_OK(text);
    assert_int_equal(pm->warnings.n, 0);
    pm_free(pm);
}

static void a_pair_that_lies_outside_is_told(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        const char *warning; /* NULL: none */
    } cases[] = {{"1", "-1", "their sum is 0, so the result lies halfway"},
                 {"1.5", "-0.5", "the result lies beyond one of the two models"},
                 {"-1", "-3", NULL},
                 {"0", "1", NULL}};
    char text[400];
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct pm *pm = pm_new();
        snprintf(
            text, sizeof(text),
            "merge_method: nuslerp\nmodels:\n- {model: m0, parameters: {weight: %s}}\n"
            "- {model: m1, parameters: {weight: %s}}\n",
            cases[i].a, cases[i].b);
        PM_OK(text);
        assert_true(cases[i].warning ? warned(pm, cases[i].warning)
                                     : pm->warnings.n == 0);
        pm_free(pm);
    }
}

static void a_source_of_a_token_that_all_have_is_told(void **state)
{
    static const char words[] = "{\"model\":{\"vocab\":{\"a\":0,\"b\":1}}}";
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_file(pm->model[0], "tokenizer.json", words);
    ww_fx_file(pm->model[1], "tokenizer.json", words);
    PM_OK(LINEAR "tokenizer: {source: union, tokens: {a: {source: m1}, b: {source: m0, "
                 "force: true}}}\n");
    assert_true(warned(pm, "every model has token 'a', so its source is not used"));
    assert_false(warned(pm, "token 'b'"));
    pm_free(pm);
}

/* Whether the recipe names modules or not. */
static void a_projector_has_layers_of_its_own(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    for (unsigned m = 0; m < 2; m++) {
        ww_fx_add(pm->model[m], "4", "visual.merger.mlp.0.bias");
        ww_fx_add(pm->model[m], "4", "visual.merger.ln_q.weight");
    }
    PM_OK("merge_method: slerp\nbase_model: m0\nmodels: [{model: m0}, {model: m1}]\n"
          "parameters: {t: [0, 1]}\n");
    assert_true(find(pm, "visual.merger.mlp.0.bias")->params[0] == 1);
    assert_true(find(pm, "visual.merger.ln_q.weight")->params[0] == 0);
    pm_free(pm);
}

static void ids_far_behind_the_tokens_are_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_file(pm->model[0], "tokenizer.json",
               "{\"model\":{\"vocab\":{\"a\":0,\"b\":9999999}}}");
    PM_FAILS(LINEAR "tokenizer_source: union\n", WW_E_LIMIT,
             "of 'm0' has 2 tokens and an id of 9999999");
    pm_free(pm);
    pm = pm_new(); /* holes there may be */
    ww_fx_file(pm->model[0], "tokenizer.json",
               "{\"model\":{\"vocab\":{\"a\":0,\"b\":300}}}");
    PM_OK(LINEAR "tokenizer_source: union\n");
    assert_int_equal(find(pm, "lm_head.weight")->shape[0], 301);
    pm_free(pm);
}

static void layers_of_a_model_with_other_widths_are_refused(void **state)
{
    static const char stack[] = "merge_method: passthrough\nslices:\n"
                                "- sources: [{model: m0, layer_range: [0, 2]}]\n"
                                "- sources: [{model: m1, layer_range: [2, 3]}]\n";
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_drop(pm->model[1], "model.layers.2.mlp.weight");
    ww_fx_add(pm->model[1], "4,5", "model.layers.2.mlp.weight");
    PM_FAILS(stack, WW_E_SHAPE, "is [4, 5] in 'm1' and [4, 4] in 'm0', which the");
    pm_free(pm);
    pm = pm_new();
    ww_fx_drop(pm->model[1], "model.layers.2.mlp.weight");
    ww_fx_add(pm->model[1], "4,5", "model.layers.2.mlp.weight");
    pm->options.allow_mixed = true;
    PM_OK(stack);
    assert_true(warned(pm, "is [4, 5] in 'm1' and [4, 4] in 'm0', which the"));
    pm_free(pm);
    pm = pm_new(); /* the head is that of the last slice */
    ww_fx_drop(pm->model[1], "lm_head.weight");
    ww_fx_add(pm->model[1], "12,4", "lm_head.weight");
    PM_FAILS(stack, WW_E_SHAPE, "say tokenizer_source: union");
    pm_free(pm);
}

static void copies_of_the_weights_beside_are_named(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_file(pm->model[1], "pytorch_model.bin", "x");
    PM_OK(LINEAR);
    assert_true(warned(pm, "model 'm1': "));
    assert_true(warned(pm, "pytorch_model.bin"));
    pm_free(pm);
}

static void adapters_without_a_folder_are_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    PM_FAILS("merge_method: linear\nmodels: [{model: m0+m1, parameters: {weight: 1}}]\n",
             WW_E_NOTFOUND, "is not there");
    pm_free(pm);
}

static void chat_template_is_written_or_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_file(pm->model[0], "tokenizer_config.json",
               "{\"model_max_length\": 1000000000000000019884624838656, "
               "\"chat_template\": \"old {{x}}\"}");
    PM_OK(LINEAR "chat_template: 'new {{ messages }}'\n");
    assert_true(file_has(pm, "chat_template.jinja", "new {{ messages }}"));
    assert_true(file_has(pm, "tokenizer_config.json", "\"chat_template\": null"));
    pm_free(pm);
    pm = pm_new();
    PM_OK(LINEAR "chat_template: exaone\n");
    assert_true(file_has(pm, "chat_template.jinja", "[|endofturn|]"));
    pm_free(pm);
    pm = pm_new();
    PM_FAILS(LINEAR "chat_template: nosuch\n", WW_E_UNSUPPORTED,
             "none of auto, alpaca, chatml");
    pm_free(pm);
    pm = pm_new();
    ww_fx_file(pm->model[1], "chat_template.jinja", "of m1 {{x}}");
    ww_fx_file(pm->model[0], "tokenizer_config.json",
               "{\"chat_template\": [{\"name\": \"tools\", \"template\": \"no\"}]}");
    PM_OK(LINEAR "chat_template: auto\n");
    assert_true(file_has(pm, "chat_template.jinja", "of m1 {{x}}"));
    pm_free(pm);
    pm = pm_new();
    ww_fx_file(pm->model[0], "tokenizer_config.json",
               "{\"chat_template\": [{\"name\": \"tools\", \"template\": \"no\"}, "
               "{\"name\": \"default\", \"template\": \"of m0 {{x}}\"}]}");
    ww_fx_file(pm->model[1], "chat_template.jinja", "of m1 {{x}}");
    PM_OK(LINEAR "chat_template: auto\n");
    assert_true(file_has(pm, "chat_template.jinja", "of m0 {{x}}"));
    pm_free(pm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_models_give_the_donors_tensors),
        cmocka_unit_test(slices_number_layers_anew),
        cmocka_unit_test(base_comes_last_and_is_no_source),
        cmocka_unit_test(shards_are_cut_at_the_size),
        cmocka_unit_test(missing_and_strange_tensors_are_refused_or_named),
        cmocka_unit_test(surplus_tensor_is_refused),
        cmocka_unit_test(shapes_and_dtypes_must_agree),
        cmocka_unit_test(mixed_floats_are_promoted),
        cmocka_unit_test(architectures_must_be_one_unless_told),
        cmocka_unit_test(layer_range_past_the_end_is_refused),
        cmocka_unit_test(layer_range_beside_a_whole_model_is_all_of_it),
        cmocka_unit_test(slices_need_a_config_of_a_model_with_layers),
        cmocka_unit_test(missing_weight_names_model_and_tensor),
        cmocka_unit_test(tied_head_beside_a_free_one_comes_from_the_embedding),
        cmocka_unit_test(tied_in_another_than_the_donor_is_taken_from_its_embedding),
        cmocka_unit_test(filters_see_a_tied_head_by_its_own_name),
        cmocka_unit_test(the_head_of_a_stack_is_that_of_its_last_slice),
        cmocka_unit_test(a_stack_of_tied_models_shares_the_embedding_of_the_first),
        cmocka_unit_test(what_an_input_of_a_slice_has_more_is_refused),
        cmocka_unit_test(tensors_of_one_kind_are_told_together),
        cmocka_unit_test(more_kinds_than_anybody_reads_are_told_as_one),
        cmocka_unit_test(a_model_of_which_nothing_is_selected_is_named),
        cmocka_unit_test(a_recipe_that_gives_the_base_is_warned_about),
        cmocka_unit_test(doubtful_lists_are_warned_about),
        cmocka_unit_test(values_that_no_tensor_gets_are_told),
        cmocka_unit_test(a_projector_has_layers_of_its_own),
        cmocka_unit_test(a_pair_that_lies_outside_is_told),
        cmocka_unit_test(a_source_of_a_token_that_all_have_is_told),
        cmocka_unit_test(ids_far_behind_the_tokens_are_refused),
        cmocka_unit_test(layers_of_a_model_with_other_widths_are_refused),
        cmocka_unit_test(copies_of_the_weights_beside_are_named),
        cmocka_unit_test(adapters_without_a_folder_are_refused),
        cmocka_unit_test(chat_template_is_written_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
