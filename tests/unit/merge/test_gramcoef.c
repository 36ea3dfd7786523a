/* SPDX-License-Identifier: Apache-2.0 */
/* Coefficients where directions are opposite, or nearly. */
#include "ww_test.h"

#include <math.h>

#include "merge/gramcoef.h"

/* (1, 0) and (-1, off) */
static void nuslerp(double off, double c[2])
{
    const double upper[3] = {1, -1, 1 + off * off};
    const struct ww_gram g = {upper, 2};

    ww_coef_nuslerp(&g, 0.25, c);
}

static void no_way_around_is_taken_that_rounding_decides(void **state)
{
    double c[2];
    (void)state;
    nuslerp(3e-7, c);
    assert_true(c[0] == 0.75 && c[1] == 0.25);
    nuslerp(1e-4, c);
    assert_true(c[0] > 5000 && c[1] > 5000);
}

/* (1, 0) with weight 2, and twice (-1, off) */
static bool multislerp(double off, uint32_t n, double *c)
{
    const double m = 1 + off * off;
    const double upper[3][6] = {{0}, {1, -1, m}, {1, -1, -1, m, m, m}};
    const double w[3] = {n - 1, 1, 1};
    const struct ww_gram g = {upper[n - 1], n};

    return ww_coef_multislerp(&g, w, 1e-8, c);
}

static void directions_that_cancel_to_rounding_have_no_mean(void **state)
{
    double c[3];
    (void)state;
    assert_false(multislerp(3e-7, 3, c));
    assert_true(multislerp(1e-4, 3, c));
    assert_true(multislerp(3e-7, 2, c));
    assert_true(c[0] == 1 && c[1] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_way_around_is_taken_that_rounding_decides),
        cmocka_unit_test(directions_that_cancel_to_rounding_have_no_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
