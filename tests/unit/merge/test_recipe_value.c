/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "merge/recipe_value.h"
#include "util/fail.h"

static const struct ww_method_param number = {
    "density", WW_PARAM_SOURCE, WW_PARAM_FLOAT, false, 1, 0, 1};
static const struct ww_method_param flag = {
    "normalize", WW_PARAM_TENSOR, WW_PARAM_BOOL, false, 0, 0, 1};
static const struct ww_method_param whole = {
    "rank", WW_PARAM_TENSOR, WW_PARAM_INT, false, 1, 0, 100};

/* The value that a map of parameters gives; NAN for none. */
static double value(const struct ww_method_param *param, const char *text,
                    const char *tensor, double t)
{
    struct ww_error err = {0};
    struct ww_yaml *yaml = NULL;
    double v = NAN;
    bool found = false;
    OK(ww_yaml_parse((const uint8_t *)text, strlen(text), "t", &ww_yaml_limits_recipe,
                     &yaml, &err));
    const struct ww_ynode *scopes[] = {NULL, ww_yget(ww_yaml_root(yaml, 0), "inner"),
                                       ww_yget(ww_yaml_root(yaml, 0), "outer")};
    const struct ww_recipe_place at = {scopes, 3, tensor, t};
    OK(ww_recipe_value(param, &at, &v, &found, &err));
    assert_true(found == !isnan(v));
    ww_yaml_free(yaml);
    return v;
}

static void inner_scope_counts_first(void **state)
{
    (void)state;
    NEAR(value(&number, "inner: {density: 0.25}\nouter: {density: 0.5}", "x", 0), 0.25,
         0);
    NEAR(value(&number, "inner: {weight: 0.25}\nouter: {density: 0.5}", "x", 0), 0.5, 0);
    NEAR(value(&number, "inner: {density: null}\nouter: {density: 0.5}", "x", 0), 0.5, 0);
    assert_true(isnan(value(&number, "outer: {weight: 1}", "x", 0)));
    NEAR(value(&number, "outer: {density: '1e-1'}", "x", 0), 0.1, 0);
    NEAR(value(&flag, "outer: {normalize: 'True'}", "x", 0), 1, 0);
    NEAR(value(&flag, "outer: {normalize: \"false\"}", "x", 0), 0, 0);
}

static void gradient_lies_between_its_neighbours(void **state)
{
    const char *g = "outer: {density: [0, 0.5, 1, 0]}";
    (void)state;
    NEAR(value(&number, g, "x", 0), 0, 0);
    NEAR(value(&number, g, "x", 1), 0, 0);
    NEAR(value(&number, g, "x", 1.0 / 3), 0.5, 1e-15);
    NEAR(value(&number, g, "x", 0.5), 0.75, 1e-15);
    NEAR(value(&number, "outer: {density: [0.25]}", "x", 0.7), 0.25, 0);
}

static void booleans_of_a_gradient_are_picked(void **state)
{
    (void)state;
    NEAR(value(&flag, "outer: {normalize: [true, false, true]}", "x", 0.4), 1, 0);
    NEAR(value(&flag, "outer: {normalize: [true, false, true]}", "x", 0.5), 0, 0);
    NEAR(value(&flag, "outer: {normalize: 1.0}", "x", 0), 1, 0);
}

static void first_filter_in_the_name_counts(void **state)
{
    const char *f =
        "inner: {density: [{filter: mlp, value: 0.1}, {filter: up, value: 0.2}]}\n"
        "outer: {density: [{filter: attn, value: [0.5, 1]}, {value: 0.9}]}";
    (void)state;
    NEAR(value(&number, f, "l.0.mlp.up", 0), 0.1, 0);
    NEAR(value(&number, f, "l.0.up", 0), 0.2, 0);
    NEAR(value(&number, f, "l.0.attn.q", 1), 1, 0);
    NEAR(value(&number, f, "norm", 0), 0.9, 0);
    NEAR(value(&number, "outer: {density: {filter: mlp, value: 0.1}}", "mlp", 0), 0.1, 0);
    assert_true(
        isnan(value(&number, "outer: {density: {filter: mlp, value: 0.1}}", "x", 0)));
    NEAR(value(&number, "outer: {density: {filter: '*', value: 0.1}, z: {filter: x}}",
               "x", 0),
         0.1, 0);
}

static void refused(const char *parameters, const char *part)
{
    struct ww_error err = {0};
    struct ww_recipe_file file;
    char text[600];
    snprintf(text, sizeof(text),
             "merge_method: task_arithmetic\nbase_model: b\nmodels: [{model: a}]\n"
             "parameters:\n  %s\n",
             parameters);
    FAILS(ww_recipe_parse((const uint8_t *)text, strlen(text), "t", &file, &err),
          WW_E_RECIPE);
    if (!strstr(err.text, part)) {
        fail_msg("'%s' does not say '%s'", err.text, part);
    }
}

static void settings_that_cannot_be_are_refused_before_any_tensor(void **state)
{
    (void)state;
    refused("density: 1.5", "line 5: density is 1.5, outside 0 to 1");
    refused("density: -0.1", "outside 0 to 1");
    refused("density: [0.5, 2]", "outside 0 to 1");
    refused("density: []", "at least one value is expected");
    refused("density: high", "density is 'high', a number is expected");
    refused("density: true", "a number is expected");
    refused("normalize: maybe", "true or false is expected");
    refused("density: [{value: 0.5}, 0.5]", "a value with a filter, like the first");
    refused("density: [0.5, {value: 0.5}]", "a number is expected");
    refused("density: {filter: mlp}", "has a filter and no value");
    refused("density: {valu: 1}", "is 'value' meant?");
    refused("density: {value: {value: 1}}", "a number is expected");
    refused("densty: 1", "is 'density' meant?");
}

static void gradient_between_whole_numbers_is_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_yaml *yaml = NULL;
    const char *text = "rank: [1, 2]";
    double v = 0;
    bool found = false;
    (void)state;
    OK(ww_yaml_parse((const uint8_t *)text, strlen(text), "t", &ww_yaml_limits_recipe,
                     &yaml, &err));
    const struct ww_ynode *scope = ww_yaml_root(yaml, 0);
    struct ww_recipe_place at = {&scope, 1, "x", 1};
    OK(ww_recipe_value(&whole, &at, &v, &found, &err));
    NEAR(v, 2, 0);
    at.t = 0.5;
    FAILS(ww_recipe_value(&whole, &at, &v, &found, &err), WW_E_RECIPE);
    ww_yaml_free(yaml);
}

static void parameter_of_another_method_is_a_warning(void **state)
{
    struct ww_error err = {0};
    struct ww_recipe_file file;
    const char *text =
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\n"
        "parameters: {density: 0.5}\n";
    (void)state;
    OK(ww_recipe_parse((const uint8_t *)text, strlen(text), "t", &file, &err));
    assert_int_equal(file.recipes[0].warnings.n, 1);
    assert_non_null(strstr(file.recipes[0].warnings.items[0], "takes no 'density'"));
    ww_recipe_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inner_scope_counts_first),
        cmocka_unit_test(gradient_lies_between_its_neighbours),
        cmocka_unit_test(booleans_of_a_gradient_are_picked),
        cmocka_unit_test(first_filter_in_the_name_counts),
        cmocka_unit_test(settings_that_cannot_be_are_refused_before_any_tensor),
        cmocka_unit_test(gradient_between_whole_numbers_is_refused),
        cmocka_unit_test(parameter_of_another_method_is_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
