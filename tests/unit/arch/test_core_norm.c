/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "arch/core.h"

static void rms_norm_divides_by_the_root_mean_square(void **state)
{
    (void)state;
    const struct ww_norm norm = {.kind = WW_NORM_RMS, .eps = 0.25};
    double x[2] = {1, -2};
    double gain[2] = {3, 5};
    double y[2];
    ww_core_norm(&norm, (struct ww_norm_values){gain, NULL}, x, y, 2);
    double rms = sqrt(2.5 + 0.25);
    NEAR(y[0], 3 / rms, 1e-15);
    NEAR(y[1], -10 / rms, 1e-15);
}

static void plus_one_adds_one_to_the_gain_only(void **state)
{
    (void)state;
    const struct ww_norm norm = {.kind = WW_NORM_RMS, .plus_one = true};
    double x[2] = {1, -2};
    double gain[2] = {-1, 0};
    double bias[2] = {7, 0};
    ww_core_norm(&norm, (struct ww_norm_values){gain, bias}, x, x, 2);
    NEAR(x[0], 7, 1e-15);
    NEAR(x[1], -2 / sqrt(2.5), 1e-15);
}

static void absent_gain_is_one_even_with_plus_one(void **state)
{
    (void)state;
    const struct ww_norm norm = {.kind = WW_NORM_RMS, .plus_one = true};
    double x[2] = {3, 3};
    double y[2];
    ww_core_norm(&norm, (struct ww_norm_values){NULL, NULL}, x, y, 2);
    NEAR(y[0], 1, 1e-15);
}

static void layer_norm_has_mean_zero_and_survives_a_large_offset(void **state)
{
    (void)state;
    const struct ww_norm norm = {.kind = WW_NORM_LAYER};
    double x[4] = {1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4};
    double y[4];
    ww_core_norm(&norm, (struct ww_norm_values){NULL, NULL}, x, y, 4);
    NEAR(y[0] + y[1] + y[2] + y[3], 0, 1e-12);
    NEAR(y[3], 1.5 / sqrt(1.25), 1e-12);
}

static void no_norm_copies(void **state)
{
    (void)state;
    const struct ww_norm norm = {.kind = WW_NORM_NONE, .eps = 1};
    double x[3] = {4, 5, 6};
    double y[3] = {0};
    ww_core_norm(&norm, (struct ww_norm_values){NULL, NULL}, x, y, 3);
    assert_memory_equal(x, y, sizeof(x));
    ww_core_norm(&norm, (struct ww_norm_values){NULL, NULL}, x, x, 3);
    assert_true(x[2] == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(plus_one_adds_one_to_the_gain_only),
        cmocka_unit_test(absent_gain_is_one_even_with_plus_one),
        cmocka_unit_test(layer_norm_has_mean_zero_and_survives_a_large_offset),
        cmocka_unit_test(no_norm_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
