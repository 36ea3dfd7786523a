/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/fail.h"
#include "util/str.h"

static void hex_goes_both_ways(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x9f, 0xff};
    char text[WW_HEX_BYTES(3)];
    uint8_t back[3];
    ww_hex(text, bytes, 3);
    assert_string_equal(text, "009fff");
    assert_true(ww_unhex(back, 3, text, 6));
    assert_memory_equal(back, bytes, 3);
    ww_hex(text, bytes, 0);
    assert_string_equal(text, "");
}

static void unhex_refuses_all_else(void **state)
{
    (void)state;
    uint8_t out[4];
    assert_false(ww_unhex(out, 1, "0", 1));
    assert_false(ww_unhex(out, 1, "000", 3));
    assert_false(ww_unhex(out, 2, "00", 2));
    assert_false(ww_unhex(out, 1, "0A", 2));
    assert_false(ww_unhex(out, 1, "g0", 2));
    assert_false(ww_unhex(out, 1, "/0", 2));
    assert_false(ww_unhex(out, 1, " 0", 2));
    assert_true(ww_unhex(out, 0, "", 0));
}

static bool utf8(const char *s)
{
    return ww_utf8_ok((const uint8_t *)s, strlen(s));
}

static void utf8_boundaries_are_exact(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "a\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2",
        "\xe1\x80",
        "\xf1\x80\x80",
        "\xc2\x41",
        "\xe1\x80\x41",
        "\xf1\x80\x80\x41",
        "a\xc3\x28",
    };
    for (size_t i = 0; i < WW_LEN(good); i++) {
        assert_true(utf8(good[i]));
    }
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        if (utf8(bad[i])) {
            fail_msg("row %zu is not UTF-8", i);
        }
    }
    assert_true(ww_utf8_ok((const uint8_t *)"\0", 1));
}

static void utf8_next_gives_code_and_length(void **state)
{
    (void)state;
    uint32_t code = 0;
    assert_int_equal(ww_utf8_next((const uint8_t *)"A", 1, &code), 1);
    assert_int_equal(code, 'A');
    assert_int_equal(ww_utf8_next((const uint8_t *)"\xc3\xa9", 2, &code), 2);
    assert_int_equal(code, 0xe9);
    assert_int_equal(ww_utf8_next((const uint8_t *)"\xe2\x82\xac", 3, &code), 3);
    assert_int_equal(code, 0x20ac);
    assert_int_equal(ww_utf8_next((const uint8_t *)"\xf0\x9f\x98\x80", 4, &code), 4);
    assert_int_equal(code, 0x1f600);
    assert_int_equal(ww_utf8_next((const uint8_t *)"\xc3\xa9", 1, &code), 0);
    assert_int_equal(ww_utf8_next((const uint8_t *)"", 0, NULL), 0);
}

static void text_without_control_characters_passes(void **state)
{
    (void)state;
    assert_true(ww_text_ok((const uint8_t *)"model-\xc3\xa9.bin", 12));
    assert_true(ww_text_ok((const uint8_t *)"\xc2\xa0", 2));
    assert_false(ww_text_ok((const uint8_t *)"a\nb", 3));
    assert_false(ww_text_ok((const uint8_t *)"a\0b", 3));
    assert_false(ww_text_ok((const uint8_t *)"\x7f", 1));
    assert_false(ww_text_ok((const uint8_t *)"\xc2\x85", 2));
    assert_false(ww_text_ok((const uint8_t *)"\xff", 1));
}

static void decimal_numbers_are_strict(void **state)
{
    (void)state;
    uint64_t v = 1;
    assert_true(ww_parse_u64("0", 1, &v));
    assert_true(v == 0);
    assert_true(ww_parse_u64("18446744073709551615", 20, &v));
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {
        "",
        "18446744073709551616",
        "99999999999999999999",
        "00",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1x",
        "0x1",
    };
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        assert_false(ww_parse_u64(bad[i], strlen(bad[i]), &v));
    }
}

static void string_tests_are_plain(void **state)
{
    (void)state;
    assert_true(ww_str_eq(NULL, NULL));
    assert_false(ww_str_eq(NULL, ""));
    assert_false(ww_str_eq("", NULL));
    assert_true(ww_str_eq("a", "a"));
    assert_false(ww_str_eq("a", "b"));
    assert_true(ww_str_eq_word("GPL-3.0", "gpl-3.0"));
    assert_false(ww_str_eq_word("MIT", "MITx"));
    assert_false(ww_str_eq_word("mitx", "MIT"));
    assert_false(ww_str_eq_word("@", "`"));
    assert_true(ww_str_starts("abc", ""));
    assert_true(ww_str_starts("abc", "ab"));
    assert_false(ww_str_starts("ab", "abc"));
    assert_true(ww_str_ends("abc", "bc"));
    assert_true(ww_str_ends("abc", ""));
    assert_false(ww_str_ends("c", "bc"));
}

static void glob_matches_the_whole_string(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *s;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "a.b/c", true},
        {"a*", "a", true},
        {"a*c", "abcbc", true},
        {"a*c", "abcb", false},
        {"*.weight", "x.weight", true},
        {"*.weight", "x.weights", false},
        {"**a", "bba", true},
        {"layers.{l}.q", "layers.12.q", true},
        {"layers.{l}.q", "layers..q", false},
        {"layers.{l}.q", "layers.1x.q", false},
        {"layers.{l}.e.{e}.w", "layers.0.e.63.w", true},
        {"{l}", "123", true},
        {"{l}", "", false},
        {"{l}*", "12ab", true},
        {"*{l}", "a12", true},
        {"*{l}", "12a", false},
        {"*.{l}.*", "m.x.3.y", true},
        {"{x}", "{x}", true},
        {"{l", "{l", true},
        {"abc", "ab", false},
        {"ab", "abc", false},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        if (ww_str_glob(rows[i].pattern, rows[i].s) != rows[i].matches) {
            fail_msg("'%s' against '%s'", rows[i].pattern, rows[i].s);
        }
    }
}

static void glob_with_many_stars_ends_soon(void **state)
{
    (void)state;
    char s[2001];
    memset(s, 'a', 2000);
    s[2000] = '\0';
    assert_false(ww_str_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", s));
    assert_true(ww_str_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*", s));
}

static void nearest_name_is_found(void **state)
{
    (void)state;
    static const char *const names[] = {"lock", "unlock", "verify", "x"};
    assert_string_equal(ww_str_nearest("verfy", names, 4), "verify");
    assert_string_equal(ww_str_nearest("lokc", names, 4), "lock");
    assert_string_equal(ww_str_nearest("unlock", names, 4), "unlock");
    const char *const alike[] = {"models", "modules"};
    assert_string_equal(ww_str_nearest("modles", alike, 2), "models");
    assert_string_equal(ww_str_nearest("modlues", alike, 2), "modules");
    assert_null(ww_str_nearest("merge", names, 4));
    assert_null(ww_str_nearest("y", names, 4));
    assert_null(ww_str_nearest("", names, 4));
    assert_null(ww_str_nearest("lock", names, 0));
    char longer[200];
    memset(longer, 'l', 199);
    longer[199] = '\0';
    assert_null(ww_str_nearest(longer, names, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(unhex_refuses_all_else),
        cmocka_unit_test(utf8_boundaries_are_exact),
        cmocka_unit_test(utf8_next_gives_code_and_length),
        cmocka_unit_test(text_without_control_characters_passes),
        cmocka_unit_test(decimal_numbers_are_strict),
        cmocka_unit_test(string_tests_are_plain),
        cmocka_unit_test(glob_matches_the_whole_string),
        cmocka_unit_test(glob_with_many_stars_ends_soon),
        cmocka_unit_test(nearest_name_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
