/* SPDX-License-Identifier: Apache-2.0 */
/* The forms for few sources against plain loops and the forms for many: the same bits. */
#include "ww_test.h"

#include "merge/elect.h"
#include "merge/weighted.h"
#include "ww_random.h"

#define N 517
#define MOST 6

static double rows[MOST][N];
static double *const x[MOST] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
static const double weights[MOST] = {0.7, -0.3, 1.1, 0.25, 0.6, 2};

/* Changes of both signs, zeros, and some that cancel those before them. */
static void fill(void)
{
    uint64_t seed = 31;
    for (size_t s = 0; s < MOST; s++) {
        for (size_t i = 0; i < N; i++) {
            const uint64_t r = fx_random(&seed);
            const double v = (double)(r >> 11) * 0x1p-52 - 1;
            rows[s][i] = r % 7 == 0 ? 0 : r % 5 == 0 && s > 0 ? -rows[s - 1][i] : v;
        }
    }
}

static void few_are_elected_as_many_are(void **state)
{
    (void)state;
    fill();
    for (unsigned k = 0; k < 4 * WW_ELECT_FEW; k++) {
        const struct ww_election e = {.x = x,
                                      .weights = weights,
                                      .n_x = 1 + k % WW_ELECT_FEW,
                                      .zero = k / WW_ELECT_FEW % 2,
                                      .normalize = k / WW_ELECT_FEW / 2};
        double got[N], want[N], sum[N] = {0}, numerator[N] = {0}, divisor[N] = {0};
        for (uint32_t s = 0; s < e.n_x; s++) {
            ww_weighted_add(x[s], N, sum);
        }
        for (uint32_t s = 0; s < e.n_x; s++) {
            ww_elect_add(&e, s, sum, N, numerator, divisor);
        }
        ww_elect_divide(numerator, divisor, N, want);
        ww_elect_few(&e, N, got);
        assert_memory_equal(got, e.normalize ? want : numerator, sizeof(got));
    }
}

static void sums_of_few_have_the_bits_of_plain_loops(void **state)
{
    (void)state;
    fill();
    for (uint32_t n = 1; n <= MOST; n++) {
        double got[N];
        double means[N];
        ww_weighted_sum(x, weights, n, N, got);
        ww_weighted_mean(x, weights, n, 1.7, N, means);
        for (size_t i = 0; i < N; i++) {
            double want = weights[0] * x[0][i];
            for (uint32_t s = 1; s < n; s++) {
                want = want + weights[s] * x[s][i];
            }
            assert_memory_equal(&got[i], &want, sizeof(want));
            want = want / 1.7;
            assert_memory_equal(&means[i], &want, sizeof(want));
        }
    }
}

static void totals_begin_with_plus_zero(void **state)
{
    (void)state;
    fill();
    for (uint32_t n = 1; n <= MOST; n++) {
        double got[N];
        for (uint32_t s = 0; s < n; s++) {
            x[s][5] = -0.0;
        }
        ww_weighted_total(x, n, N, got);
        for (size_t i = 0; i < N; i++) {
            double want = 0;
            for (uint32_t s = 0; s < n; s++) {
                want = want + x[s][i];
            }
            assert_memory_equal(&got[i], &want, sizeof(want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_elected_as_many_are),
        cmocka_unit_test(sums_of_few_have_the_bits_of_plain_loops),
        cmocka_unit_test(totals_begin_with_plus_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
