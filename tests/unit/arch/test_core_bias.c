/* SPDX-License-Identifier: Apache-2.0 */
/* Expected numbers come from transformers 5.24 and torch 2.15, run once. */
#include "ww_test.h"

#include "arch/core_bias.h"

static void slopes_are_powers_when_the_heads_are_a_power_of_two(void **state)
{
    (void)state;
    double slopes[8];
    ww_core_alibi_slopes(8, slopes);
    for (int h = 0; h < 8; h++) {
        assert_true(slopes[h] == ldexp(1, -h - 1));
    }
    ww_core_alibi_slopes(1, slopes);
    assert_true(slopes[0] == 0.00390625);
}

static void slopes_of_other_counts_take_every_second_of_the_next_row(void **state)
{
    (void)state;
    double slopes[12];
    ww_core_alibi_slopes(6, slopes);
    assert_true(slopes[0] == 0.25 && slopes[3] == 0.00390625);
    assert_true(slopes[4] == 0.5 && slopes[5] == 0.125);
    ww_core_alibi_slopes(12, slopes);
    assert_true(slopes[7] == 0.00390625);
    NEAR(slopes[8], 0.707106769, 1e-9);
    NEAR(slopes[11], 0.0883883387, 1e-10);
}

static void falcon_rounds_its_biases_to_bfloat16(void **state)
{
    (void)state;
    const struct ww_attention falcon = {.alibi = true, .alibi_scaled = true};
    const struct ww_attention bloom = {.alibi = true};
    assert_true(ww_core_alibi(&falcon, 0.5, 257) == 128);
    assert_true(ww_core_alibi(&falcon, 0.5, 259) == 130);
    assert_true(ww_core_alibi(&falcon, 0.70710677, 3) == 2.125);
    assert_true(ww_core_alibi(&bloom, 0.5, 257) == 128.5);
}

static void buckets_agree(const struct ww_attention *att, const int (*pairs)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int distance = pairs[i][0];
        uint64_t q = distance < 0 ? (uint64_t)-distance : 0;
        uint64_t k = distance > 0 ? (uint64_t)distance : 0;
        uint64_t got = ww_core_relative_bucket(att, q, k);
        if (got != (uint64_t)pairs[i][1]) {
            fail_msg("distance %d: bucket %llu, want %d", distance,
                     (unsigned long long)got, pairs[i][1]);
        }
    }
}

static void two_sided_buckets_are_those_of_t5(void **state)
{
    (void)state;
    const struct ww_attention att = {.relative_buckets = 32,
                                     .relative_max_distance = 128};
    static const int pairs[][2] = {
        {-200, 15}, {-127, 15}, {-64, 14}, {-16, 10}, {-15, 9},  {-8, 8},
        {-7, 7},    {-1, 1},    {0, 0},    {1, 17},   {7, 23},   {8, 24},
        {15, 25},   {16, 26},   {64, 30},  {127, 31}, {200, 31},
    };
    buckets_agree(&att, pairs, sizeof(pairs) / sizeof(pairs[0]));
    const struct ww_attention small = {.relative_buckets = 8,
                                       .relative_max_distance = 20};
    static const int few[][2] = {{-30, 3}, {-19, 3}, {-10, 3}, {-4, 2}, {-3, 2},
                                 {-2, 2},  {-1, 1},  {0, 0},   {1, 5},  {2, 6},
                                 {3, 6},   {10, 7},  {30, 7}};
    buckets_agree(&small, few, sizeof(few) / sizeof(few[0]));
}

static void causal_buckets_look_back_only(void **state)
{
    (void)state;
    const struct ww_attention att = {.relative_buckets = 32,
                                     .relative_max_distance = 128,
                                     .relative_bias_causal = true};
    static const int pairs[][2] = {
        {-200, 31}, {-127, 31}, {-64, 26}, {-32, 21}, {-31, 21}, {-17, 16},
        {-16, 16},  {-15, 15},  {-1, 1},   {0, 0},    {1, 0},    {100, 0},
    };
    buckets_agree(&att, pairs, sizeof(pairs) / sizeof(pairs[0]));
}

static void odd_tables_never_leave_their_rows(void **state)
{
    (void)state;
    for (uint64_t buckets = 1; buckets < 9; buckets++) {
        for (uint64_t max = 0; max < 9; max++) {
            struct ww_attention att = {.relative_buckets = buckets,
                                       .relative_max_distance = max,
                                       .relative_bias_causal = buckets % 2 == 1};
            for (uint64_t q = 0; q < 20; q++) {
                assert_true(ww_core_relative_bucket(&att, q, 9) < buckets);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes_are_powers_when_the_heads_are_a_power_of_two),
        cmocka_unit_test(slopes_of_other_counts_take_every_second_of_the_next_row),
        cmocka_unit_test(falcon_rounds_its_biases_to_bfloat16),
        cmocka_unit_test(two_sided_buckets_are_those_of_t5),
        cmocka_unit_test(causal_buckets_look_back_only),
        cmocka_unit_test(odd_tables_never_leave_their_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
