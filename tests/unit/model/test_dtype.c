/* SPDX-License-Identifier: Apache-2.0 */
#include "model/dtype.h"
#include "ww_test.h"

static void names_and_bits_are_those_of_the_format(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned bits;
    } want[] = {{"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
                {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
                {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
                {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
                {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
                {"I64", 64},    {"U64", 64}};
    assert_int_equal(WW_DTYPE_COUNT, 22);
    for (unsigned i = 0; i < 22; i++) {
        enum ww_dtype dtype;
        assert_string_equal(ww_dtype_name((enum ww_dtype)i), want[i].name);
        assert_int_equal(ww_dtype_bits((enum ww_dtype)i), want[i].bits);
        assert_true(ww_dtype_parse(want[i].name, strlen(want[i].name), &dtype));
        assert_int_equal(dtype, i);
    }
}

static void numbers_that_are_no_dtype_are_harmless(void **state)
{
    (void)state;
    assert_string_equal(ww_dtype_name((enum ww_dtype)99), "?");
    assert_int_equal(ww_dtype_bits((enum ww_dtype)99), 0);
    assert_false(ww_dtype_is_plain_float((enum ww_dtype)99));
}

static void parse_wants_the_exact_name(void **state)
{
    (void)state;
    enum ww_dtype dtype;
    static const char *const bad[] = {"",     "F",  "f32",   "F32 ",
                                      "F322", "F8", "FLOAT", "F4_"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ww_dtype_parse(bad[i], strlen(bad[i]), &dtype));
    }
    assert_true(ww_dtype_parse("F32xyz", 3, &dtype)); /* the length counts, not a NUL */
    assert_int_equal(dtype, WW_DTYPE_F32);
}

static void plain_floats_are_four(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned i = 0; i < WW_DTYPE_COUNT; i++) {
        n += ww_dtype_is_plain_float((enum ww_dtype)i);
    }
    assert_int_equal(n, 4);
    assert_true(ww_dtype_is_plain_float(WW_DTYPE_BF16));
    assert_true(ww_dtype_is_plain_float(WW_DTYPE_F16));
    assert_true(ww_dtype_is_plain_float(WW_DTYPE_F32));
    assert_true(ww_dtype_is_plain_float(WW_DTYPE_F64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_bits_are_those_of_the_format),
        cmocka_unit_test(numbers_that_are_no_dtype_are_harmless),
        cmocka_unit_test(parse_wants_the_exact_name),
        cmocka_unit_test(plain_floats_are_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
