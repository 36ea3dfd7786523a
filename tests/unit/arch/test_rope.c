/* SPDX-License-Identifier: Apache-2.0 */
/* Frequencies of the scaled types were printed by transformers 5.24 (single precision).
 */
#include "ww_test.h"

#include "arch/rope.h"
#include "model/config.h"

#define PAIRS 8

struct rig {
    struct ww_model model;
    struct ww_layout layout;
    struct ww_attention att;
};

static void rig_open(struct rig *rig, const char *config, const char *type, double theta)
{
    struct ww_error err;
    memset(rig, 0, sizeof(*rig));
    OK(ww_config_parse((const uint8_t *)config, strlen(config), &rig->model.config,
                       &err));
    rig->layout.model = &rig->model;
    rig->att.name = "decoder.0.self";
    rig->att.head_dim = 2 * PAIRS;
    rig->att.rope = (struct ww_rope){.style = WW_ROPE_HALF,
                                     .dims = 2 * PAIRS,
                                     .theta = theta,
                                     .type = type,
                                     .params_path = "rope_parameters"};
}

static void check_type(const char *config, const char *type, double theta, size_t length,
                       double factor, const double want[PAIRS])
{
    struct rig rig;
    struct ww_error err;
    double frequency[PAIRS];
    double got_factor = 0;
    rig_open(&rig, config, type, theta);
    OK(ww_rope_frequencies(&rig.layout, &rig.att, length, frequency, &got_factor, &err));
    NEAR(got_factor, factor, 1e-12);
    for (size_t f = 0; f < PAIRS; f++) {
        NEAR(frequency[f] / want[f], 1, 3e-7);
    }
    ww_config_free(rig.model.config);
}

static void linear_divides(void **state)
{
    (void)state;
    static const double want[PAIRS] = {0.25,          0.079056941,  0.025,
                                       0.0079056947,  0.0024999999, 0.00079056947,
                                       0.00025000001, 7.9056947e-05};
    check_type("{\"rope_parameters\":{\"factor\":4.0}}", "linear", 10000, 200, 1, want);
}

static void dynamic_grows_only_beyond_the_trained_length(void **state)
{
    (void)state;
    static const char config[] =
        "{\"max_position_embeddings\":64,\"rope_parameters\":{\"factor\":2.0}}";
    static const double near[PAIRS] = {1,           0.31622776,   0.1,
                                       0.031622779, 0.0099999998, 0.0031622779,
                                       0.001,       0.00031622779};
    static const double far[PAIRS] = {1,
                                      0.24952847,
                                      0.062264454,
                                      0.015536753,
                                      0.0038768628,
                                      0.00096738752,
                                      0.00024139074,
                                      6.0233862e-05};
    check_type(config, "dynamic", 10000, 64, 1, near);
    check_type(config, "dynamic", 10000, 200, 1, far);
}

static void llama3_bends_the_middle(void **state)
{
    (void)state;
    static const double want[PAIRS] = {1,
                                       0.024240345,
                                       0.0047007538,
                                       0.00091158313,
                                       0.00017677668,
                                       3.4281024e-05,
                                       6.6478697e-06,
                                       1.2891732e-06};
    check_type("{\"rope_parameters\":{\"factor\":8.0,\"low_freq_factor\":1.0,"
               "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}}",
               "llama3", 500000, 10, 1, want);
}

static void yarn_blends_and_scales(void **state)
{
    (void)state;
    static const double want[PAIRS] = {1,
                                       0.19764236,
                                       0.025,
                                       0.0079056947,
                                       0.0024999999,
                                       0.00079056947,
                                       0.00025000001,
                                       7.9056947e-05};
    check_type("{\"rope_parameters\":{\"factor\":4.0,"
               "\"original_max_position_embeddings\":32}}",
               "yarn", 10000, 10, 1.138629436111989, want);
    static const double mscale[PAIRS] = {1,
                                         0.31622776,
                                         0.074999996,
                                         0.015811389,
                                         0.0024999999,
                                         0.00079056947,
                                         0.00025000001,
                                         7.9056947e-05};
    check_type(
        "{\"rope_parameters\":{\"factor\":4.0,\"mscale\":0.7,\"mscale_all_dim\":1.3,"
        "\"beta_fast\":16,\"beta_slow\":2,"
        "\"original_max_position_embeddings\":512}}",
        "yarn", 10000, 10, 0.9295234923939468, mscale);
}

static const char longrope[] =
    "{\"max_position_embeddings\":128,\"original_max_position_embeddings\":32,"
    "\"rope_parameters\":{\"original_max_position_embeddings\":99,"
    "\"short_factor\":[1,1.1,1.2,1.3,1.4,1.5,1.6,1.7],"
    "\"long_factor\":[2,2.1,2.2,2.3,2.4,2.5,2.6,2.7]}}";

static void longrope_changes_lists_with_the_length(void **state)
{
    (void)state;
    static const double small[PAIRS] = {1,
                                        0.28747976,
                                        0.083333336,
                                        0.024325214,
                                        0.0071428572,
                                        0.0021081853,
                                        0.00062499999,
                                        0.00018601633};
    static const double large[PAIRS] = {0.5,           0.15058465,   0.045454547,
                                        0.013749034,   0.0041666664, 0.0012649111,
                                        0.00038461538, 0.0001171214};
    check_type(longrope, "longrope", 10000, 32, 1.1832159566199232, small);
    check_type(longrope, "longrope", 10000, 33, 1.1832159566199232, large);
}

static void fails(const char *config, const char *type, enum ww_err want)
{
    struct rig rig;
    struct ww_error err;
    double frequency[PAIRS];
    double factor;
    rig_open(&rig, config, type, 10000);
    FAILS(ww_rope_frequencies(&rig.layout, &rig.att, 10, frequency, &factor, &err), want);
    ww_config_free(rig.model.config);
}

static void bad_parameters_are_refused_by_name(void **state)
{
    (void)state;
    fails("{}", "linear", WW_E_CONFIG);
    fails("{\"rope_parameters\":{\"factor\":\"4\"}}", "linear", WW_E_CONFIG);
    fails("{\"rope_parameters\":{\"factor\":0}}", "linear", WW_E_CONFIG);
    fails("{\"rope_parameters\":{\"factor\":2}}", "dynamic", WW_E_CONFIG);
    fails("{\"rope_parameters\":{\"factor\":2}}", "yarn", WW_E_CONFIG);
    fails("{\"max_position_embeddings\":128,\"original_max_position_embeddings\":32,"
          "\"rope_parameters\":{\"short_factor\":[1,2]}}",
          "longrope", WW_E_CONFIG);
    fails("{\"max_position_embeddings\":128,\"original_max_position_embeddings\":32,"
          "\"rope_parameters\":{\"short_factor\":[1,2,3,4,5,6,7,null]}}",
          "longrope", WW_E_CONFIG);
    fails("{}", "spiral", WW_E_UNSUPPORTED);
}

static void odd_or_too_many_dims_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct ww_error err;
    struct ww_rope_table *table = NULL;
    uint64_t position = 0;
    rig_open(&rig, "{}", "default", 10000);
    rig.att.rope.dims = 7;
    FAILS(ww_rope_table_new(&rig.layout, &rig.att, &position, 1, 1, &table, &err),
          WW_E_UNSUPPORTED);
    rig.att.rope.dims = 2 * PAIRS + 2;
    FAILS(ww_rope_table_new(&rig.layout, &rig.att, &position, 1, 1, &table, &err),
          WW_E_UNSUPPORTED);
    assert_null(table);
    ww_config_free(rig.model.config);
}

/* q at m and k at n, turned: their product may depend on m - n alone. */
static double turned_product(struct rig *rig, uint64_t m, uint64_t n)
{
    struct ww_error err;
    struct ww_rope_table *table = NULL;
    uint64_t positions[2] = {m, n};
    double x[2][2 * PAIRS];
    double sum = 0;
    for (int i = 0; i < 2 * PAIRS; i++) {
        x[0][i] = sin(1 + i);
        x[1][i] = cos(3 + i);
    }
    OK(ww_rope_table_new(&rig->layout, &rig->att, positions, 2, 100, &table, &err));
    ww_rope_turn(table, 0, x[0], 1, 2 * PAIRS, 0);
    ww_rope_turn(table, 1, x[1], 1, 2 * PAIRS, 0);
    for (int i = 0; i < 2 * PAIRS; i++) {
        sum += x[0][i] * x[1][i];
    }
    ww_rope_table_free(table);
    return sum;
}

static void products_depend_on_the_distance_alone(void **state)
{
    (void)state;
    struct rig rig;
    static const enum ww_rope_style styles[] = {WW_ROPE_HALF, WW_ROPE_ADJACENT};
    rig_open(&rig, "{}", "default", 10000);
    for (int i = 0; i < 2; i++) {
        rig.att.rope.style = styles[i];
        double near = turned_product(&rig, 5, 2);
        NEAR(turned_product(&rig, 55, 52), near, 1e-12);
        assert_true(fabs(turned_product(&rig, 5, 3) - near) > 1e-3);
    }
    ww_config_free(rig.model.config);
}

static void styles_pair_different_dimensions_and_leave_the_rest(void **state)
{
    (void)state;
    struct rig rig;
    struct ww_error err;
    struct ww_rope_table *table = NULL;
    uint64_t position = 1;
    rig_open(&rig, "{}", "default", 10000);
    rig.att.rope.dims = 4;
    double half[2 * PAIRS] = {1};
    half[4] = 9;
    OK(ww_rope_table_new(&rig.layout, &rig.att, &position, 1, 2, &table, &err));
    ww_rope_turn(table, 0, half, 1, 2 * PAIRS, 0);
    ww_rope_table_free(table);
    NEAR(half[0], cos(1), 1e-15);
    NEAR(half[2], sin(1), 1e-15);
    assert_true(half[1] == 0 && half[3] == 0 && half[4] == 9);
    rig.att.rope.style = WW_ROPE_ADJACENT;
    double adjacent[2 * PAIRS] = {1};
    OK(ww_rope_table_new(&rig.layout, &rig.att, &position, 1, 2, &table, &err));
    ww_rope_turn(table, 0, adjacent, 1, 2 * PAIRS, 0);
    ww_rope_table_free(table);
    NEAR(adjacent[0], cos(1), 1e-15);
    NEAR(adjacent[1], sin(1), 1e-15);
    assert_true(adjacent[2] == 0);
    ww_config_free(rig.model.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_divides),
        cmocka_unit_test(dynamic_grows_only_beyond_the_trained_length),
        cmocka_unit_test(llama3_bends_the_middle),
        cmocka_unit_test(yarn_blends_and_scales),
        cmocka_unit_test(longrope_changes_lists_with_the_length),
        cmocka_unit_test(bad_parameters_are_refused_by_name),
        cmocka_unit_test(odd_or_too_many_dims_are_refused),
        cmocka_unit_test(products_depend_on_the_distance_alone),
        cmocka_unit_test(styles_pair_different_dimensions_and_leave_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
