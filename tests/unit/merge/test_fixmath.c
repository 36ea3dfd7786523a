/* SPDX-License-Identifier: Apache-2.0 */
/* Our functions against libm, exact sums against whole numbers, Philox against its
 * published vectors. */
#include "ww_test.h"

#include "merge/fixmath.h"
#include "merge/mask.h"
#include "merge/tilesum.h"
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

static void magnitudes_are_summed_exactly(void **state)
{
    (void)state;
    static struct ww_magsum a, b;
    double x[1000];
    uint64_t sum = 0, seed = 9;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    for (int i = 0; i < 1000; i++) {
        uint32_t v = (uint32_t)(fx_random(&seed) >> 40);
        sum += v;
        x[i] = (i % 2 ? -1 : 1) * (double)v;
    }
    ww_magsum_add(&a, x, 501);
    ww_magsum_add(&b, x + 501, 499);
    ww_magsum_merge(&a, &b);
    assert_true(ww_magsum_value(&a) == (double)sum);
    memset(&b, 0, sizeof(b));
    x[0] = 0x1p-149; /* the smallest float */
    x[1] = -0x1p-126;
    ww_magsum_add(&b, x, 2);
    assert_true(ww_magsum_value(&b) == 0x1p-149 + 0x1p-126);
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

static void draws_do_not_depend_on_blocks(void **state)
{
    (void)state;
    uint32_t all[100], some[100];
    ww_mask_draw(77, 2, 1000, 100, NULL, all);
    for (size_t at = 0; at < 100;) {
        size_t n = at % 7 + 1;
        n = n > 100 - at ? 100 - at : n;
        ww_mask_draw(77, 2, 1000 + at, n, NULL, some + at);
        at += n;
    }
    assert_memory_equal(all, some, sizeof(all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_as_close_as_promised),
        cmocka_unit_test(magnitudes_are_summed_exactly),
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(draws_do_not_depend_on_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
