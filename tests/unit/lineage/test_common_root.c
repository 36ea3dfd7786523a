/* SPDX-License-Identifier: Apache-2.0 */
/* The bound, its Monte Carlo check, and the count it is about. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/draws.h"
#include "lineage/common_root.h"

#define N 64
#define WIDTH 24

static float draw(uint64_t *state)
{
    return (float)(ww_draw(state) >> 40) / (float)(1 << 24) - 0.5f;
}

static void fill(float *m, uint64_t seed)
{
    for (size_t i = 0; i < (size_t)N * WIDTH; i++) {
        m[i] = draw(&seed);
    }
}

static uint64_t fixed(const float *a, const float *b)
{
    uint64_t count = 0;
    assert_int_equal(ww_root_fixed_points(a, b, N, WIDTH, &count, NULL), WW_OK);
    return count;
}

static void bound_is_that_of_the_table(void **state)
{
    (void)state;
    /* Fixed points needed for p below 1e-3, 1e-6, 1e-9 in one layer, in 32, in 80. */
    static const struct {
        uint64_t layers;
        uint64_t k[3];
    } rows[] = {{1, {7, 10, 13}}, {32, {56, 67, 75}}, {80, {116, 132, 145}}};
    for (size_t r = 0; r < 3; r++) {
        for (unsigned i = 0; i < 3; i++) {
            assert_true(ww_root_log10_p(rows[r].k[i], rows[r].layers) <= -3.0 * (i + 1));
            assert_true(ww_root_log10_p(rows[r].k[i] - 1, rows[r].layers) >
                        -3.0 * (i + 1));
        }
    }
    assert_true(fabs(ww_root_log10_p(1000, 1) + 2567) < 1);
    assert_true(fabs(ww_root_log10_p(1000, 32) + 1074) < 1);
    assert_true(ww_root_log10_p(0, 4) == 0);
    assert_true(ww_root_log10_p(3, 32) == 0);
}

static void fine_tunes_keep_their_rows_in_place(void **state)
{
    float a[N * WIDTH];
    float b[N * WIDTH];
    uint64_t seed = 5;
    (void)state;

    fill(a, 1);
    for (size_t i = 0; i < (size_t)N * WIDTH; i++) {
        b[i] = a[i] + 0.1f * draw(&seed);
    }
    assert_int_equal(fixed(a, b), N);
    for (size_t i = 0; i < WIDTH; i++) {
        b[i] = 0;
    }
    assert_int_equal(fixed(a, b), N - 1);
}

static void strangers_match_in_place_as_rarely_as_the_bound_says(void **state)
{
    float a[N * WIDTH];
    float b[N * WIDTH];
    unsigned at_least[4] = {0};
    const unsigned trials = 300;
    (void)state;

    for (unsigned t = 0; t < trials; t++) {
        fill(a, 2 * t + 100);
        fill(b, 2 * t + 101);
        for (unsigned k = 1; k <= 4; k++) {
            at_least[k - 1] += fixed(a, b) >= k;
        }
    }
    for (unsigned k = 1; k <= 4; k++) {
        const double share = (double)at_least[k - 1] / trials;
        assert_true(share <= pow(10, ww_root_log10_p(k, 1)) + 0.05);
    }
    assert_true(at_least[0] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_is_that_of_the_table),
        cmocka_unit_test(fine_tunes_keep_their_rows_in_place),
        cmocka_unit_test(strangers_match_in_place_as_rarely_as_the_bound_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
