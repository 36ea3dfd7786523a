/* SPDX-License-Identifier: Apache-2.0 */
/* What a merge copies: limits among the weights, and the folders of modules.json. */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan_fixture.h"

#include "merge/extract_pair.h"
#include "merge/sum.h"

#define OPCM "merge_method: opcm\nbase_model: m2\nmodels: [{model: m0}, {model: m1}]\n"
#define DENSE "2_Dense/model.safetensors"

/* Models with a number that stands alone: infinite in two of them, and what is given. */
static struct pm *limits(float last)
{
    struct pm *pm = pm_new();

    for (int m = 0; m < 3; m++) {
        struct ww_fx *fx = pm->model[m];
        ww_fx_add(fx, "", "clip.input_max");
        ww_fx_open(fx);
        ww_fx_number(fx, "clip.input_max", m == 2 ? last : INFINITY);
    }
    return pm;
}

static void a_limit_of_all_models_is_copied(void **state)
{
    struct pm *pm = limits(INFINITY);
    (void)state;
    PM_OK(OPCM);
    assert_string_equal(find(pm, "clip.input_max")->method->name, "passthrough");
    assert_int_equal(find(pm, "clip.input_max")->n_sources, 1);
    assert_null(find(pm, "clip.input_max")->base);
    assert_string_equal(find(pm, "model.norm.weight")->method->name, "opcm");
    pm_free(pm);
}

/* So what was merged by a sum is one, and comes back out of it. */
static void a_limit_is_no_term_of_a_sum(void **state)
{
    struct pm *pm = limits(INFINITY);
    struct ww_merge_sum sum = {0};
    struct ww_error err = {0};
    (void)state;
    PM_OK("merge_method: linear\nparameters: {weight: 0.5}\n"
          "models: [{model: m0}, {model: m1}]\n");
    OK(ww_merge_sum_find(&pm->plan, "t", &sum, &err));
    assert_true(sum.weights[0] == 0.5 && sum.weights[1] == 0.5);
    ww_merge_sum_release(&sum);
    pm_free(pm);
}

static void limits_that_differ_are_refused(void **state)
{
    const float others[] = {-INFINITY, 1, NAN};
    (void)state;
    for (size_t i = 0; i < WW_LEN(others); i++) {
        struct pm *pm = limits(others[i]);
        PM_FAILS(OPCM, WW_E_NONFINITE, "'clip.input_max' is inf in 'm");
        pm_free(pm);
    }
}

static void a_limit_of_two_models_is_no_change(void **state)
{
    struct pm *pm = limits(-INFINITY);
    const struct ww_model *base = pm->model[0]->model;
    const uint32_t t = ww_model_find(base, "clip.input_max");
    struct ww_pair pair;
    bool changed = true;
    double norm = 1;
    struct ww_error err = {0};
    (void)state;
    OK(ww_pair_open(base, pm->model[1]->model, t, &pair, &err));
    OK(ww_pair_compare(&pair, &changed, &norm, &err));
    assert_false(changed);
    OK(ww_pair_open(base, pm->model[2]->model, t, &pair, &err));
    FAILS(ww_pair_compare(&pair, &changed, &norm, &err), WW_E_NONFINITE);
    pm_free(pm);
}

static void add_module(const struct ww_fx *fx, const char *weights)
{
    static const char *const folders[] = {"attestations", ".github", "2_Dense"};
    char path[400];

    ww_fx_file(fx, "modules.json",
               "[{\"path\":\"\"},{\"path\":\"2_Dense/\"},{\"path\":\"2_Dense\"},"
               "{\"path\":\"attestations\"},{\"path\":\".github\"},{\"path\":\"../x\"}]");
    for (size_t i = 0; i < WW_LEN(folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", fx->path, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    ww_fx_file(fx, "attestations/said.json", "{}");
    ww_fx_file(fx, ".github/unsigned.json", "{}");
    ww_fx_file(fx, "2_Dense/config.json", "{}");
    ww_fx_file(fx, DENSE, weights);
}

/* Read when it is written, so nobody holds it in memory. */
static void is_copied(const struct pm *pm, const char *weights)
{
    const struct ww_merge_file *file = find_file(pm, DENSE);
    char bytes[16] = "";
    struct ww_error err = {0};

    assert_true(file && file->copied_sha256 && file->header_bytes == 0);
    assert_int_equal(pm->plan.inputs[file->copied].size_bytes, strlen(weights));
    OK(ww_merge_input_read(&pm->plan, file->copied, bytes, strlen(weights), 0, &err));
    assert_string_equal(bytes, weights);
}

static void what_modules_json_names_goes_along(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    add_module(pm->model[0], "same");
    add_module(pm->model[1], "same");
    PM_OK(LINEAR);
    assert_true(file_has(pm, "2_Dense/config.json", "{}"));
    is_copied(pm, "same");
    assert_null(find_file(pm, "attestations/said.json"));
    assert_null(find_file(pm, ".github/unsigned.json"));
    pm_free(pm);
}

static void weights_of_modules_are_known_by_no_name(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    add_module(pm->model[0], "same");
    add_module(pm->model[1], "same");
    ww_fx_file(pm->model[0], "2_Dense/projection.npz", "this");
    PM_FAILS(LINEAR, WW_E_UNSUPPORTED, "'2_Dense/projection.npz' is a part of the model");
    pm_free(pm);
}

static void weights_of_modules_that_differ_are_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    add_module(pm->model[0], "this");
    add_module(pm->model[1], "that");
    PM_FAILS(LINEAR, WW_E_UNSUPPORTED, "'m1' has another or none");
    ww_merge_plan_release(&pm->plan);
    ww_recipe_release(&pm->file);
    pm->options.allow_mixed = true;
    PM_OK(LINEAR);
    is_copied(pm, "this");
    assert_true(warned(pm, "not merged: 'm1' has another or none"));
    pm_free(pm);
}

/* It is copied when it is written, long after it was compared. */
static void a_module_that_changes_is_told(void **state)
{
    struct pm *pm = pm_new();
    struct ww_merge_result result;
    struct ww_error err = {0};
    char path[400];
    (void)state;
    add_module(pm->model[0], "same");
    add_module(pm->model[1], "same");
    PM_OK(LINEAR);
    OK(ww_merge_run(&pm->plan, NULL, NULL, NULL, &result, &err));
    ww_merge_result_release(&result);
    snprintf(path, sizeof(path), "%s/" DENSE, pm->model[0]->path);
    const int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "S", 1, 0), 1);
    close(fd);
    FAILS(ww_merge_run(&pm->plan, NULL, NULL, NULL, &result, &err), WW_E_CHANGED);
    ww_merge_result_release(&result);
    pm_free(pm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_of_all_models_is_copied),
        cmocka_unit_test(a_limit_is_no_term_of_a_sum),
        cmocka_unit_test(limits_that_differ_are_refused),
        cmocka_unit_test(a_limit_of_two_models_is_no_change),
        cmocka_unit_test(what_modules_json_names_goes_along),
        cmocka_unit_test(weights_of_modules_are_known_by_no_name),
        cmocka_unit_test(weights_of_modules_that_differ_are_refused),
        cmocka_unit_test(a_module_that_changes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
