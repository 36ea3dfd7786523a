/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes whose plans are only looked at. */
#include "ww_model_fixture.h"

#include "merge/method.h"
#include "merge/predict.h"
#include "util/fs.h"
#include "weightward/merge.h"

/* Thousands of them are looked at to tell a method; what only warns is not asked. */
static void a_plan_that_is_looked_at_warns_nobody(void **state)
{
    const struct ww_run_options run = {0};
    struct ww_recipe_view view;
    struct ww_merge_plan plan;
    struct ww_error err = {0};
    char recipe[400];
    (void)state;
    struct ww_fx *model = ww_fx_new("{\"model_type\":\"plain\",\"num_hidden_layers\":4}");
    ww_fx_add(model, "4,4", "model.layers.0.mlp.weight");
    ww_fx_open(model);
    snprintf(recipe, sizeof(recipe), "{merge_method: passthrough, models: [{model: %s}]}",
             model->path);
    assert_int_equal(ww_recipe_view_open(&view, recipe, "t", ".", 0, &run, &err), WW_OK);
    /* As a merge it is warned about: three layers are missing. */
    view.work.looked_at = false;
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_OK);
    assert_int_equal(view.work.warnings.n, 1);
    ww_merge_plan_release(&plan);
    ww_recipe_view_release(&view);

    assert_int_equal(ww_recipe_view_open(&view, recipe, "t", ".", 0, &run, &err), WW_OK);
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_OK);
    assert_int_equal(plan.n_tensors, 1);
    assert_int_equal(view.work.warnings.n, 0);
    ww_merge_plan_release(&plan);
    ww_recipe_view_release(&view);
    ww_fx_free(model);
}

/* Who tries hundreds of recipes of one family has its models open, and looks at a few
 * tensors: nothing of a model is read again, and no other tensor is planned. */
static void models_that_are_open_are_not_opened_again(void **state)
{
    const struct ww_run_options run = {0};
    const bool only[] = {false, true};
    struct ww_recipe_view view;
    struct ww_merge_plan plan;
    struct ww_error err = {0};
    char recipe[400];
    char config[400];
    (void)state;
    struct ww_fx *model = ww_fx_new("{\"model_type\":\"plain\",\"num_hidden_layers\":2}");
    ww_fx_add(model, "4,4", "model.layers.0.mlp.weight");
    ww_fx_add(model, "4,4", "model.layers.1.mlp.weight");
    ww_fx_open(model);
    struct ww_model *const models[] = {model->model};
    const struct ww_open_models open = {models, 1, model->model, only};
    snprintf(recipe, sizeof(recipe), "{merge_method: passthrough, models: [{model: %s}]}",
             model->path);
    snprintf(config, sizeof(config), "%s/config.json", model->path);
    assert_int_equal(ww_file_write(config, "{", 1, 0644, true, &err), WW_OK);
    assert_int_equal(ww_recipe_view_open(&view, recipe, "t", ".", 0, &run, &err), WW_OK);
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_E_JSON);
    ww_merge_plan_release(&plan);
    ww_recipe_view_lend(&view, &open);
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_OK);
    assert_int_equal(plan.n_tensors, 1);
    assert_string_equal(plan.tensors[0].name, model->model->tensors[1].name);
    assert_int_equal(plan.n_files, 1); /* no config, no card */
    ww_merge_plan_release(&plan);
    ww_recipe_view_release(&view);
    ww_fx_free(model); /* who lent it closes it */
}

/* What a policy is asked about is what a weight does, not the number in the recipe. */
static void the_share_of_a_source_is_what_it_does(void **state)
{
    static const struct {
        const char *method;
        const char *parameters;
        int64_t share;
    } rows[] = {
        {"linear", "normalize: false", 400000},
        {"linear", "normalize: true", 800000},
        {"task_arithmetic", "lambda: 1", 400000},
        {"task_arithmetic", "lambda: 2.5", 1000000},
        {"dare_linear", "normalize: true, lambda: 0.5", 400000},
        {"ties", "lambda: 0.5", 500000},
        {"ties", "normalize: false", 400000},
        {"della", "lambda: 1", 1000000},
        {"multislerp", "normalize_weights: true", 800000},
        {"multislerp", "normalize_weights: false", 400000},
        {"nuslerp", "nuslerp_flatten: true", 800000},
        {"karcher", "max_iter: 3", 1000000},
    };
    const struct ww_merge_options options = {0};
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_fx *model[3];
    char path[600];
    char recipe[2000];
    (void)state;
    for (int m = 0; m < 3; m++) {
        model[m] = ww_fx_new("{\"model_type\":\"plain\",\"num_hidden_layers\":1}");
        ww_fx_add(model[m], "4,4", "model.layers.0.mlp.weight");
        ww_fx_add(model[m], "1", "clip.input_max"); /* a limit is nobody's share */
        ww_fx_open(model[m]);
        ww_fx_number(model[m], "clip.input_max", INFINITY);
    }
    snprintf(path, sizeof(path), "%s/r.yml", dir);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const bool based = ww_method_find(rows[i].method)->base == WW_BASE_REQUIRED;
        const bool weighed =
            ww_method_param(ww_method_find(rows[i].method), "weight") != WW_NONE;
        struct ww_merge_ask ask;
        snprintf(recipe, sizeof(recipe),
                 "merge_method: %s\n%s%s\nparameters: {%s}\nmodels:\n- model: %s\n%s"
                 "- model: %s\n%s",
                 rows[i].method, based ? "base_model: " : "", based ? model[2]->path : "",
                 rows[i].parameters, model[0]->path,
                 weighed ? "  parameters: {weight: 0.4}\n" : "", model[1]->path,
                 weighed ? "  parameters: {weight: 0.1}\n" : "");
        assert_int_equal(ww_file_write(path, recipe, strlen(recipe), 0600, true, &err),
                         WW_OK);
        if (ww_merge_ask(path, &options, true, &ask, &err)) {
            fail_msg("%s: %s", rows[i].method, err.text);
        }
        if (ask.sources[0].weight != rows[i].share) {
            fail_msg("%s, %s: %lld", rows[i].method, rows[i].parameters,
                     (long long)ask.sources[0].weight);
        }
        ww_merge_ask_release(&ask);
    }
    for (int m = 0; m < 3; m++) {
        ww_fx_free(model[m]);
    }
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_that_is_looked_at_warns_nobody),
        cmocka_unit_test(models_that_are_open_are_not_opened_again),
        cmocka_unit_test(the_share_of_a_source_is_what_it_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
