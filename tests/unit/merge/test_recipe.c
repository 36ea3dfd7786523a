/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "merge/recipe.h"
#include "util/fail.h"

static void parse(const char *text, struct ww_recipe_file *file)
{
    struct ww_error err = {0};
    OK(ww_recipe_parse((const uint8_t *)text, strlen(text), "t", file, &err));
}

static void refused(const char *text, enum ww_err code, const char *part)
{
    struct ww_error err = {0};
    struct ww_recipe_file file;
    FAILS(ww_recipe_parse((const uint8_t *)text, strlen(text), "t", &file, &err), code);
    if (!strstr(err.text, part)) {
        fail_msg("'%s' does not say '%s'", err.text, part);
    }
}

#define TWO                                                                              \
    "models:\n- model: a\n  parameters: {weight: 1}\n- model: b\n  parameters: "         \
    "{weight: 2}\n"
#define HEAD "merge_method: linear\n"

static void models_become_one_slice_of_whole_models(void **state)
{
    struct ww_recipe_file file;
    (void)state;
    parse("merge_method: task_arithmetic\nbase_model: c\ndtype: torch.bfloat16\n" TWO,
          &file);
    const struct ww_recipe *r = &file.recipes[0];
    assert_int_equal(r->n_modules, 1);
    assert_int_equal(r->modules[0].n_slices, 1);
    assert_false(r->modules[0].is_sliced);
    assert_int_equal(r->modules[0].slices[0].n_inputs, 2);
    assert_int_equal(r->n_models, 3);
    assert_string_equal(r->models[0].text, "a");
    assert_string_equal(r->models[2].text, "c");
    assert_int_equal(r->base, 2);
    assert_true(r->has_dtype && r->dtype == WW_DTYPE_BF16);
    assert_false(r->has_out_dtype);
    ww_recipe_release(&file);
}

static void slices_keep_ranges_and_bases_of_their_own(void **state)
{
    struct ww_recipe_file file;
    (void)state;
    parse("merge_method: task_arithmetic\nbase_model: a\nslices:\n"
          "- sources:\n  - {model: a, layer_range: [0, 2]}\n"
          "  - {model: b, layer_range: [1, 3], parameters: {weight: 0.5}}\n"
          "- base_model: b\n  sources:\n  - {model: b, layer_range: [2, 4]}\n"
          "  - {model: c@main, layer_range: [2, 4], parameters: {weight: 1}}\n",
          &file);
    const struct ww_recipe *r = &file.recipes[0];
    assert_int_equal(r->modules[0].n_slices, 2);
    assert_true(r->modules[0].is_sliced);
    assert_int_equal(r->modules[0].slices[0].inputs[1].first_layer, 1);
    assert_int_equal(r->modules[0].slices[0].inputs[1].end_layer, 3);
    assert_int_equal(ww_recipe_base(r, &r->modules[0].slices[0]), 0);
    assert_int_equal(ww_recipe_base(r, &r->modules[0].slices[1]), 1);
    assert_string_equal(r->models[2].path, "c");
    assert_string_equal(r->models[2].revision, "main");
    ww_recipe_release(&file);
}

static void the_same_model_twice_is_refused(void **state)
{
    (void)state;
    refused(HEAD "models:\n- {model: 'x+y@r', parameters: {weight: 1}}\n"
                 "- {model: {model: {path: x}, lora: {path: y, revision: r}}, "
                 "parameters: {weight: 1}}\n",
            WW_E_RECIPE, "is an input already, in line 3");
}

static void what_makes_no_recipe_is_refused_with_its_line(void **state)
{
    (void)state;
    refused("", WW_E_RECIPE, "is empty");
    refused("[1]", WW_E_RECIPE, "a map is expected");
    refused(HEAD, WW_E_RECIPE,
            "exactly one of models, slices and modules, this one has 0");
    refused(HEAD TWO "slices: []\n", WW_E_RECIPE, "this one has 2");
    refused(TWO, WW_E_RECIPE, "no merge_method");
    refused("merge_method: linaer\n" TWO, WW_E_RULE, "is 'linear' meant?");
    refused(HEAD "base_modle: x\n" TWO, WW_E_RECIPE, "is 'base_model' meant?");
    refused(HEAD "dtype: int8\n" TWO, WW_E_RECIPE, "none of bfloat16");
    refused(HEAD "models:\n- modle: x\n", WW_E_RECIPE,
            "line 3: an input has an unknown key");
    refused(HEAD "models:\n- parameters: {weight: 1}\n", WW_E_RECIPE, "names no model");
    refused(HEAD "models:\n- model: a++b\n", WW_E_RECIPE, "is not PATH[@REVISION]");
    refused(HEAD "models:\n- model: a@b@c\n", WW_E_RECIPE, "is not PATH[@REVISION]");
    refused(HEAD "models:\n- model: {model: {path: a, revision: [b]}}\n", WW_E_RECIPE,
            "line 3: the revision of a model is a list, not text");
    refused(HEAD "models:\n- model: {model: {path: a}, override_architecture: X}\n",
            WW_E_UNSUPPORTED, "leave it away, say --allow-mixed");
    refused("merge_method: task_arithmetic\n" TWO, WW_E_RECIPE, "needs a base_model");
    refused("merge_method: passthrough\n" TWO, WW_E_RECIPE, "takes 1 model, here are 2");
    refused("merge_method: slerp\nbase_model: c\n" TWO "parameters: {t: 1}\n",
            WW_E_RECIPE,
            "takes 1 model beside the base, here are 2; one of them may be base_model");
    refused("merge_method: nuslerp\nbase_model: c\nmodels: [{model: a}]\n", WW_E_RECIPE,
            "takes 2 models beside the base, here are 1");
    refused("merge_method: LINEAR\n" TWO, WW_E_RULE, "is 'linear' meant?");
    refused(HEAD "chat_template: [1]\n" TWO, WW_E_RECIPE, "text is expected");
}

static void keys_in_a_wrong_place_are_refused_with_the_right_one(void **state)
{
    (void)state;
    refused(HEAD "normalize: false\n" TWO, WW_E_RECIPE,
            "normalize is a parameter; put it under parameters");
    refused(HEAD "models:\n- {model: a, weight: 1}\n", WW_E_RECIPE,
            "weight is a parameter; put it under parameters");
    refused(HEAD "pad_to_multiple_of: 8\n" TWO, WW_E_RECIPE, "belongs under tokenizer");
    refused(HEAD "layer_range: [0, 2]\n" TWO, WW_E_RECIPE,
            "layer_range belongs to a model");
    refused(HEAD "models:\n- {model: a, revision: v1}\n", WW_E_RECIPE,
            "revision belongs behind the name of the model: NAME@REVISION");
    refused(HEAD TWO "parameters: {normalize: true, filter: mlp}\n", WW_E_RECIPE,
            "filter belongs beside a value");
    refused(HEAD TWO "parameters: {dtype: float32}\n", WW_E_RECIPE,
            "dtype is one for the whole recipe");
    refused("gate_mode: hidden\nexperts: []\n", WW_E_RECIPE, "mergekit-moe");
    refused("genome: {models: [a]}\n", WW_E_RECIPE, "mergekit-evolve");
    refused("merge_method: dare\n" TWO, WW_E_RULE,
            "is 'dare_linear' or 'dare_ties' meant?");
    refused(HEAD TWO "tokenizer_source: model:b\n", WW_E_RECIPE, "write 'b'");
    refused(HEAD TWO "tokenizer: union\n", WW_E_RECIPE, "write tokenizer_source: union");
}

static void keys_that_change_nothing_anywhere_are_warnings(void **state)
{
    struct ww_recipe_file file;
    (void)state;
    parse(HEAD "random_seed: 0\nint8_mask: true\nlambda: 1\n" TWO
               "parameters: {embed_slerp: true, t: 0.5}\n",
          &file);
    const struct ww_strlist *said = &file.recipes[0].warnings;
    assert_int_equal(said->n, 5);
    assert_string_equal(said->items[0], "line 2: random_seed has no effect, here as in "
                                        "mergekit; --seed is the seed of the masks");
    assert_string_equal(
        said->items[2],
        "line 4: lambda is no parameter of method 'linear'; it is ignored");
    ww_recipe_release(&file);
}

static void slices_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    refused("merge_method: passthrough\nslices:\n- sources:\n  - {model: a}\n",
            WW_E_RECIPE, "has no layer_range");
    refused("merge_method: passthrough\nslices:\n- sources:\n"
            "  - {model: a, layer_range: [3, 3]}\n",
            WW_E_RECIPE, "layer_range is not [FIRST, END]");
    refused(HEAD "slices:\n- sources:\n  - {model: a, layer_range: [0, 3]}\n"
                 "  - {model: b, layer_range: [0, 2]}\n",
            WW_E_RECIPE, "different numbers of layers");
    refused("merge_method: task_arithmetic\nbase_model: c\nslices:\n- sources:\n"
            "  - {model: a, layer_range: [0, 3], parameters: {weight: 1}}\n",
            WW_E_RECIPE, "the base 'c' is no input of this slice");
    refused("merge_method: passthrough\nslices: []\n", WW_E_RECIPE, "no list of slices");
}

static void vocabulary_is_read_and_checked(void **state)
{
    struct ww_recipe_file file;
    (void)state;
    parse(HEAD TWO "tokenizer:\n  source: union\n  pad_to_multiple_of: 8\n  tokens:\n"
                   "    <a>: {source: a, force: true}\n"
                   "    <b>: {source: {kind: zero}}\n"
                   "    <c>: {source: {kind: model_token, model: b, token_id: 5}}\n"
                   "    <d>:\n",
          &file);
    const struct ww_recipe_vocab *v = &file.recipes[0].vocab;
    assert_int_equal(v->source, WW_VOCAB_UNION);
    assert_int_equal(v->pad_to_multiple_of, 8);
    assert_int_equal(v->n_tokens, 4);
    assert_true(v->tokens[0].kind == WW_TOKEN_MODEL && v->tokens[0].force);
    assert_int_equal(v->tokens[1].kind, WW_TOKEN_ZERO);
    assert_true(v->tokens[2].kind == WW_TOKEN_OTHER && v->tokens[2].other_id == 5);
    assert_int_equal(v->tokens[3].kind, WW_TOKEN_DEFAULT);
    ww_recipe_release(&file);
    refused(HEAD TWO "tokenizer_source: union\ntokenizer: {source: base}\n", WW_E_RECIPE,
            "exclude each other");
    refused(HEAD TWO "tokenizer: {pad_to_multiple_of: 0}\n", WW_E_RECIPE,
            "pad_to_multiple_of");
    refused(HEAD TWO
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}\n",
            WW_E_RECIPE, "needs token or token_id");
}

#define STEP(name, from)                                                                 \
    "name: " name "\nmerge_method: linear\nmodels: [{model: " from                       \
    ", parameters: {weight: 1}}]\n"

static void recipes_of_a_file_run_in_order_of_need(void **state)
{
    struct ww_recipe_file file;
    (void)state;
    parse(STEP("x", "y") "---\n" STEP(
              "y", "base") "---\n" HEAD "models: [{model: x, parameters: {weight: 1}}, "
                           "{model: y, parameters: {weight: 1}}]\n",
          &file);
    assert_int_equal(file.n_recipes, 3);
    assert_int_equal(file.order[0], 1);
    assert_int_equal(file.order[1], 0);
    assert_int_equal(file.order[2], 2);
    assert_int_equal(file.last, 2);
    assert_int_equal(file.recipes[2].models[0].recipe, 0);
    assert_int_equal(file.recipes[1].models[0].recipe, WW_NONE);
    ww_recipe_release(&file);
}

static void circles_and_twins_among_recipes_are_refused(void **state)
{
    (void)state;
    refused(STEP("x", "y") "---\n" STEP("y", "x"), WW_E_RECIPE, "takes its own result");
    refused(STEP("x", "x") "---\n" STEP("y", "z"), WW_E_RECIPE, "takes its own result");
    refused(STEP("x", "a") "---\n" STEP("x", "b"), WW_E_RECIPE, "two recipes named 'x'");
    refused(STEP("x", "a") "---\n" STEP("y", "b"), WW_E_RECIPE,
            "2 recipes are taken by no");
    refused(STEP("../x", "a") "---\n" STEP("y", "b"), WW_E_RECIPE,
            "is no name for a recipe");
    refused(HEAD TWO "---\n" HEAD TWO, WW_E_RECIPE, "2 recipes without a name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_become_one_slice_of_whole_models),
        cmocka_unit_test(slices_keep_ranges_and_bases_of_their_own),
        cmocka_unit_test(the_same_model_twice_is_refused),
        cmocka_unit_test(what_makes_no_recipe_is_refused_with_its_line),
        cmocka_unit_test(keys_in_a_wrong_place_are_refused_with_the_right_one),
        cmocka_unit_test(keys_that_change_nothing_anywhere_are_warnings),
        cmocka_unit_test(slices_that_do_not_fit_are_refused),
        cmocka_unit_test(vocabulary_is_read_and_checked),
        cmocka_unit_test(recipes_of_a_file_run_in_order_of_need),
        cmocka_unit_test(circles_and_twins_among_recipes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
