/* SPDX-License-Identifier: Apache-2.0 */
/* Our functions against libm, Philox against its published vectors. */
#include "ww_test.h"

#include <string.h>

#include "la/fixmath.h"
#include "la/philox.h"
#include "ww_random.h"

static double between(uint64_t *seed, double low, double high)
{
    return low + (high - low) * ((double)(fx_random(seed) >> 11) * 0x1p-53);
}

static void functions_are_as_close_as_promised(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        double x = between(&seed, -400, 400);
        NEAR(ww_fix_sin(x), sin(x), 4e-16);
        NEAR(ww_fix_cos(x), cos(x), 4e-16);
        NEAR(ww_fix_exp(x) / exp(x), 1, 1e-15);
        x = between(&seed, -1, 1);
        NEAR(ww_fix_acos(x), acos(x), 1e-15);
        x = 1 - ldexp(between(&seed, 0, 1), -(i % 50));
        NEAR(ww_fix_acos(x), acos(x), 1e-15);
        x = ldexp(between(&seed, 0.5, 1), i % 2000 - 1000);
        NEAR(ww_fix_log(x), log(x), 4e-16 * fmax(1, fabs(log(x))));
        x = between(&seed, -3, 3);
        NEAR(ww_fix_tanh(x), tanh(x), 2e-15 * fabs(tanh(x)));
        x = ldexp(x, -(i % 30));
        NEAR(ww_fix_tanh(x), tanh(x), 2e-15 * fabs(tanh(x)));
    }
    assert_true(ww_fix_acos(1) == 0 && ww_fix_acos(-1) == acos(-1));
    assert_true(ww_fix_exp(-1000) == 0 && isinf(ww_fix_exp(1000)) && ww_fix_exp(0) == 1);
    assert_true(ww_fix_tanh(100) == 1 && ww_fix_tanh(-100) == -1 && ww_fix_log(1) == 0);
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void many_at_once_are_the_same_numbers(void **state)
{
    (void)state;
    double x[4096];
    double e[4096];
    double t[4096];
    const size_t n = sizeof(x) / sizeof(x[0]);
    for (size_t i = 0; i < n; i++) {
        x[i] = ((double)i - 2048) * (i % 3 == 0 ? 0.41 : i % 3 == 1 ? 1e-3 : 1e-9);
    }
    x[0] = -0.0;
    x[1] = 709.9;
    x[2] = -745.5;
    x[3] = 0.17;
    x[4] = -20;
    ww_fix_exp_n(x, n, e);
    ww_fix_tanh_n(x, n, t);
    for (size_t i = 0; i < n; i++) {
        assert_true(same_bits(e[i], ww_fix_exp(x[i])));
        assert_true(same_bits(t[i], ww_fix_tanh(x[i])));
    }
}

/* Random123's known answers. */
static void philox_gives_the_published_words(void **state)
{
    (void)state;
    const uint32_t zero[4] = {0};
    const uint32_t ones[4] = {0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU};
    const uint32_t pi[4] = {0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U};
    const uint32_t pi_key[2] = {0xa4093822U, 0x299f31d0U};
    const uint32_t want[3][4] = {{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U},
                                 {0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU},
                                 {0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}};
    uint32_t got[4];
    ww_philox(zero, zero, got);
    assert_memory_equal(got, want[0], 16);
    ww_philox(ones, ones, got);
    assert_memory_equal(got, want[1], 16);
    ww_philox(pi_key, pi, got);
    assert_memory_equal(got, want[2], 16);
}

/* The vector forms and the plain one, also where a counter passes 32 bits. */
static void philox_is_the_same_with_vector_units(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, 1, 0xfffffffdU, 0x1fffffff8U, UINT64_MAX - 3};
    const uint32_t key[2] = {0xa4093822U, 0x299f31d0U};
    enum { RUNS = 3 };
    uint32_t one[4 * WW_PHILOX_LANES];
    uint32_t other[RUNS + 1][4 * WW_PHILOX_LANES];

    if (!ww_philox_fast()) {
        skip();
    }
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        ww_philox_run(key, starts[s], (uint32_t)s, 1, one);
        for (size_t t = 0; t <= 2 * RUNS + 1; t++) {
            const size_t n = t / 2;
            memset(other, 7, sizeof(other));
            (t % 2 && ww_philox_wide() ? ww_philox_run_512 : ww_philox_run_x86)(
                key, starts[s], (uint32_t)s, 1, n, other[0]);
            for (size_t i = 0; i < n; i++) {
                uint32_t run[4 * WW_PHILOX_LANES];
                ww_philox_run(key, starts[s] + i * WW_PHILOX_LANES, (uint32_t)s, 1, run);
                assert_memory_equal(run, other[i], sizeof(run));
            }
            assert_int_equal(other[n][0], 0x07070707);
        }
        for (uint32_t l = 0; l < WW_PHILOX_LANES; l++) {
            const uint64_t at = starts[s] + l;
            const uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), (uint32_t)s,
                                         1};
            uint32_t words[4];
            ww_philox(key, counter, words);
            assert_memory_equal(one + 4 * l, words, sizeof(words));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_as_close_as_promised),
        cmocka_unit_test(many_at_once_are_the_same_numbers),
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(philox_is_the_same_with_vector_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
