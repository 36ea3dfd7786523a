/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "json/json_lex.h"
#include "util/fail.h"

static struct ww_json_raw raw(const char *s)
{
    struct ww_json_raw r = {(const uint8_t *)s, strlen(s), strchr(s, '\\') != NULL};
    return r;
}

static void equal_meaning_compares_equal(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a", "\\u0061"},
        {"\\/", "/"},
        {"\\\"", "\\u0022"},
        {"\\b\\f\\n\\r\\t", "\\u0008\\u000C\\u000a\\u000D\\u0009"},
        {"\xc3\xa9", "\\u00e9"},
        {"\xe2\x82\xac", "\\u20AC"},
        {"\xf0\x9f\x98\x80", "\\ud83d\\uDE00"},
        {"", ""},
        {"x\\\\", "x\\u005c"},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        struct ww_json_raw a = raw(rows[i][0]);
        struct ww_json_raw b = raw(rows[i][1]);
        assert_int_equal(ww_json_raw_compare(&a, &b), 0);
        assert_int_equal(ww_json_raw_compare(&b, &a), 0);
    }
}

/* One order, escaped or not: sorting relies on it. */
static void order_does_not_depend_on_escapes(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "", "\x09", "/", "a", "aa", "b", "\xc3\xa9", "\xef\xbf\xbf", "\xf0\x9f\x98\x80"};
    static const char *const escaped[] = {"",        "\\t",      "\\/",
                                          "\\u0061", "a\\u0061", "\\u0062",
                                          "\\u00e9", "\\uffff",  "\\ud83d\\ude00"};
    for (size_t i = 0; i < WW_LEN(plain); i++) {
        for (size_t j = 0; j < WW_LEN(plain); j++) {
            int want = (i > j) - (i < j);
            struct ww_json_raw a[2] = {raw(plain[i]), raw(escaped[i])};
            struct ww_json_raw b[2] = {raw(plain[j]), raw(escaped[j])};
            for (int k = 0; k < 4; k++) {
                int got = ww_json_raw_compare(&a[k & 1], &b[k >> 1]);
                assert_int_equal((got > 0) - (got < 0), want);
            }
        }
    }
}

static void string_ends_where_it_ends(void **state)
{
    (void)state;
    const char *text = "x\"a\\\"b\" \"";
    size_t pos = 1;
    bool has_escape = false;
    assert_null(
        ww_json_lex_string((const uint8_t *)text, strlen(text), &pos, &has_escape));
    assert_int_equal(pos, 7);
    assert_true(has_escape);
}

static void number_ends_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t end;
    } rows[] = {{"0,", 1},   {"-0", 2},       {"12.50]", 5},
                {"1e5}", 3}, {"-1.5E-7 ", 7}, {"0x", 1}};
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        size_t pos = 0;
        assert_null(ww_json_lex_number((const uint8_t *)rows[i].text,
                                       strlen(rows[i].text), false, &pos));
        assert_int_equal(pos, rows[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_meaning_compares_equal),
        cmocka_unit_test(order_does_not_depend_on_escapes),
        cmocka_unit_test(string_ends_where_it_ends),
        cmocka_unit_test(number_ends_where_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
