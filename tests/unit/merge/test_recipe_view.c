/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes whose plans are only looked at. */
#include "ww_model_fixture.h"

#include "merge/predict.h"

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
    assert_int_equal(
        ww_recipe_view_open(&view, recipe, strlen(recipe), "t", ".", 0, &run, &err),
        WW_OK);
    /* As a merge it is warned about: three layers are missing. */
    view.work.looked_at = false;
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_OK);
    assert_int_equal(view.work.warnings.n, 1);
    ww_merge_plan_release(&plan);
    ww_recipe_view_release(&view);

    assert_int_equal(
        ww_recipe_view_open(&view, recipe, strlen(recipe), "t", ".", 0, &run, &err),
        WW_OK);
    assert_int_equal(ww_recipe_view_plan(&view, WW_NONE, NULL, &plan, &err), WW_OK);
    assert_int_equal(plan.n_tensors, 1);
    assert_int_equal(view.work.warnings.n, 0);
    ww_merge_plan_release(&plan);
    ww_recipe_view_release(&view);
    ww_fx_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_that_is_looked_at_warns_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
