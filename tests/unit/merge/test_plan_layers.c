/* SPDX-License-Identifier: Apache-2.0 */
/* Plans that put layers into other places, by slices. */
#include "plan_fixture.h"

#define MOVED_LAYERS(a, b)                                                               \
    "merge_method: passthrough\nslices:\n- sources: [{model: m0, layer_range: [" a       \
    "]}]\n- sources: [{model: m0, layer_range: [" b "]}]\n"

/* Layers 1, 3, 5, ... of m0 have a router; config: of more layers, with or without a list
 * of what they are. */
static struct pm *alternating(const char *config, unsigned layers)
{
    struct pm *pm = pm_new();

    snprintf(pm->config[0], sizeof(pm->config[0]), "%s", config);
    for (unsigned l = 0; l < layers; l++) {
        if (l >= 3) {
            ww_fx_add(pm->model[0], "4,4", "model.layers.%u.mlp.weight", l);
            ww_fx_add(pm->model[0], "4", "model.layers.%u.norm.weight", l);
        }
        if (l % 2) {
            ww_fx_add(pm->model[0], "2,4", "model.layers.%u.router.weight", l);
        }
    }
    return pm;
}

static void a_layer_in_the_place_of_another_kind_is_refused(void **state)
{
    static const char plain[] = "{\"model_type\":\"plain\",\"num_hidden_layers\":6}";
    static const char listed[] = "{\"model_type\":\"plain\",\"num_hidden_layers\":4,"
                                 "\"mlp_only_layers\":[0,2]}";
    struct pm *pm = alternating(plain, 6);
    (void)state;
    PM_FAILS(MOVED_LAYERS("0, 2", "1, 6"), WW_E_UNSUPPORTED,
             "layer 2 of the output, layer 1 of 'm0', is of another kind");
    pm_free(pm);
    pm = alternating(plain, 6); /* every second has a router: so it is in the output */
    PM_OK(MOVED_LAYERS("0, 4", "2, 6"));
    pm_free(pm);
    pm = alternating(plain, 6);
    pm->options.allow_mixed = true;
    PM_OK(MOVED_LAYERS("0, 2", "1, 6"));
    assert_true(warned(pm, "is of another kind"));
    pm_free(pm);
    pm = alternating(listed, 4); /* the list moves with them */
    PM_OK(MOVED_LAYERS("0, 2", "1, 4"));
    assert_true(file_has(pm, "config.json", "\"mlp_only_layers\":[0, 3]"));
    pm_free(pm);
    pm = alternating("{\"model_type\":\"plain\",\"num_hidden_layers\":3}", 2);
    PM_FAILS(MOVED_LAYERS("0, 1", "0, 3"), WW_E_UNSUPPORTED,
             "layer 1 of the output, layer 0");
    pm_free(pm);
    pm = pm_new(); /* one that predicts a further token */
    ww_fx_add(pm->model[0], "4,4", "model.layers.3.mlp.weight");
    PM_FAILS(MOVED_LAYERS("0, 2", "1, 4"), WW_E_UNSUPPORTED,
             "behind those that config.json");
    pm_free(pm);
}

#define FROM_BOTH(a, b)                                                                  \
    "merge_method: passthrough\nslices:\n- sources: [{model: m0, layer_range: [" a       \
    "]}]\n- sources: [{model: m1, layer_range: [" b "]}]\n"

/* The output has the lists of the donor, whichever model a layer comes from. */
static void lists_of_another_model_are_held_against_the_donors(void **state)
{
    static const char plain[] = "{\"model_type\":\"plain\",\"num_hidden_layers\":3";
    struct pm *pm = pm_new();
    (void)state;
    snprintf(pm->config[0], sizeof(pm->config[0]), "%s,\"mlp_only_layers\":[]}", plain);
    snprintf(pm->config[1], sizeof(pm->config[1]), "%s,\"mlp_only_layers\":[0]}", plain);
    ww_fx_add(pm->model[1], "2,4", "model.layers.0.router.weight");
    PM_FAILS(FROM_BOTH("0, 2", "0, 1"), WW_E_UNSUPPORTED,
             "layer 2 of the output, layer 0 of 'm1', is of another kind than the lists");
    pm_free(pm);
    pm = pm_new(); /* weights do not tell the kinds apart */
    snprintf(pm->config[0], sizeof(pm->config[0]),
             "%s,\"layer_types\":[\"a\",\"b\",\"a\"]}", plain);
    snprintf(pm->config[1], sizeof(pm->config[1]),
             "%s,\"layer_types\":[\"b\",\"a\",\"b\"]}", plain);
    PM_OK(FROM_BOTH("0, 2", "2, 3"));
    assert_true(warned(pm, "layer 2 of 'm1', is another one by the lists"));
    pm_free(pm);
    pm = pm_new(); /* a list that says one thing of all is as good as none */
    snprintf(pm->config[0], sizeof(pm->config[0]), "%s}", plain);
    snprintf(pm->config[1], sizeof(pm->config[1]),
             "%s,\"layer_types\":[\"a\",\"a\",\"a\"]}", plain);
    PM_OK(FROM_BOTH("0, 2", "2, 3"));
    assert_false(warned(pm, "by the lists"));
    pm_free(pm);
}

static void slices_of_a_layer_behind_all_limits_are_refused(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_add(pm->model[0], "4,4", "model.layers.300000000.mlp.weight");
    PM_FAILS(MOVED_LAYERS("0, 2", "1, 3"), WW_E_LIMIT,
             "slices cut models of at most 1024");
    pm_free(pm);
    pm = pm_new(); /* nor are the kinds of a base_model's so many told apart */
    ww_fx_add(pm->model[1], "4,4", "model.layers.300000000.mlp.weight");
    PM_FAILS(MOVED_LAYERS("0, 2", "1, 3") "base_model: m1\n", WW_E_LIMIT,
             "'m1' has 300000001 layers");
    pm_free(pm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_in_the_place_of_another_kind_is_refused),
        cmocka_unit_test(lists_of_another_model_are_held_against_the_donors),
        cmocka_unit_test(slices_of_a_layer_behind_all_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
