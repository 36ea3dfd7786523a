/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/num.h"

static void addition_reports_overflow(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_true(ww_add_u64(UINT64_MAX - 1, 1, &v));
    assert_true(v == UINT64_MAX);
    assert_false(ww_add_u64(UINT64_MAX, 1, &v));
}

static void multiplication_reports_overflow(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_true(ww_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &v));
    assert_true(v == UINT64_MAX - UINT32_MAX);
    assert_false(ww_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
    assert_true(ww_mul_u64(UINT64_MAX, 0, &v));
    assert_true(v == 0);
}

static void rounding_goes_up(void **state)
{
    (void)state;
    assert_int_equal(ww_round_up(0, 8), 0);
    assert_int_equal(ww_round_up(1, 8), 8);
    assert_int_equal(ww_round_up(8, 8), 8);
    assert_int_equal(ww_round_up(9, 8), 16);
    assert_int_equal(ww_div_up(0, 3), 0);
    assert_int_equal(ww_div_up(1, 3), 1);
    assert_int_equal(ww_div_up(3, 3), 1);
    assert_int_equal(ww_div_up(4, 3), 2);
    assert_true(ww_div_up(UINT64_MAX, 2) == UINT64_C(1) << 63);
    assert_int_equal(ww_min_u64(3, 4), 3);
    assert_int_equal(ww_min_u64(4, 3), 3);
    assert_int_equal(ww_max_u64(3, 4), 4);
    assert_int_equal(ww_max_u64(4, 3), 4);
}

static void integers_survive_bytes(void **state)
{
    (void)state;
    static const uint8_t want[8] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81};
    uint8_t bytes[8];
    ww_put_u64le(bytes, UINT64_C(0x8123456789abcdef));
    assert_memory_equal(bytes, want, 8);
    assert_true(ww_get_u64le(bytes) == UINT64_C(0x8123456789abcdef));
    ww_put_u32le(bytes, 0xfedcba98);
    assert_int_equal(bytes[0], 0x98);
    assert_true(ww_get_u32le(bytes) == 0xfedcba98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addition_reports_overflow),
        cmocka_unit_test(multiplication_reports_overflow),
        cmocka_unit_test(rounding_goes_up),
        cmocka_unit_test(integers_survive_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
