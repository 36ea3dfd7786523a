/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <time.h>

#include "json/json.h"
#include "util/fail.h"
#include "util/fault.h"

static enum ww_err check(const char *text, struct ww_error *err)
{
    return ww_json_check((const uint8_t *)text, strlen(text), &ww_json_limits_small, err);
}

static void valid_text_is_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "\"\"",
        "[]",
        "{}",
        " \t\r\n[ ]\n",
        "[1,2.5,-3e+2,4E-1,0.0]",
        "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\x7f\"",
        "9007199254740991",
        "-9007199254740991",
        "1e308",
        "1e-400",
        "12345678901234567890.0",
        "\"\\u0001\"",
        "{\"\":1}",
        "[[],{},[[]]]",
        "0.1234567890123456789012345678901234567890123456789012345678901",
        "{\"a\":1,\"A\":2}",
    };
    struct ww_error err;
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        OK(check(texts[i], &err));
    }
}

static void invalid_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } rows[] = {
        {"", "line 1, column 1: the text ends, expected a value"},
        {" \n ", "line 2, column 2: the text ends"},
        {"nul", "found 'n', expected a value; this is no JSON document"},
        {"-----BEGIN", "number without digits; this is no JSON document"},
        {"True", "found 'T'"},
        {"NaN", "found 'N'"},
        {"Infinity", "found 'I'"},
        {"-Infinity", "column 2: number without digits"},
        {"+1", "found '+'"},
        {".5", "found '.'"},
        {"1.", "without digits behind the point"},
        {"1.e5", "without digits behind the point"},
        {"1e", "exponent"},
        {"1e+", "exponent"},
        {"01", "leading zero"},
        {"-01", "leading zero"},
        {"00", "leading zero"},
        {"-", "without digits"},
        {"1 2", "column 3: found '2', expected the end of the text"},
        {"1x", "found 'x', expected the end"},
        {"[1,]", "column 4: found ']', expected a value"},
        {"[,1]", "found ','"},
        {"[1 2]", "expected ','"},
        {"[1", "the text ends, expected ','"},
        {"[", "the text ends, expected a value or ']'"},
        {"]", "found ']'"},
        {"[1}", "found '}'"},
        {"{1:2}", "expected a key in double quotes or '}'"},
        {"{'a':1}", "found '''"},
        {"{\"a\"}", "expected ':'"},
        {"{\"a\":}", "found '}', expected a value"},
        {"{\"a\":1,}", "expected a key in double quotes"},
        {"{\"a\":1]", "found ']'"},
        {"{\"a\":1", "the text ends"},
        {"{\"a\" 1}", "expected ':'"},
        {"\"a", "text ends inside a string"},
        {"\"a\\", "text ends inside a string"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12\"", "four hexadecimal digits"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\\u0000\"", "escaped NUL"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\udc00\"", "half of a surrogate pair"},
        {"\"\\ud800\\ud800\"", "half of a surrogate pair"},
        {"\"\\ud800x\"", "half of a surrogate pair"},
        {"\"\\ud800\\u\"", "half of a surrogate pair"},
        {"\"a\nb\"", "control character"},
        {"\"a\x1f\"", "control character"},
        {"\"\xff\"", "invalid UTF-8"},
        {"\"\xed\xa0\x80\"", "invalid UTF-8"},
        {"\"\xc3\"", "invalid UTF-8"},
        {"\xef\xbb\xbf{}", "byte order mark"},
        {"\xc2\xa0{}", "found byte 0xc2"},
        {"\x0c{}", "found byte 0x0c"},
        {"/* */ 1", "found '/'"},
        {"9007199254740992", "integer beyond 2^53-1"},
        {"-9007199254740992", "integer beyond 2^53-1"},
        {"99999999999999999999999", "integer beyond 2^53-1"},
        {"1e309", "beyond the range of a double"},
        {"-1.5e400", "beyond the range of a double"},
        {"1e0309", "beyond the range of a double"},
        {"0.12345678901234567890123456789012345678901234567890123456789012",
         "more than 63 characters"},
        {"{\"a\":1,\n \"\xc3\xa9\":2, \"b\":1, \"a\":3}",
         "line 2, column 16: key 'a' appears twice"},
        {"{\"a\":1,\"\\u0061\":2}", "key '\\u0061' appears twice"},
        {"[{\"x\":{\"b\":0,\"c\":[],\"b\":1}}]", "key 'b' appears twice"},
        {"{\"\":1,\"\":2}", "key '' appears twice"},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        struct ww_error err = {0};
        enum ww_err rc = check(rows[i].text, &err);
        if (rc != WW_E_JSON || !strstr(err.text, rows[i].says)) {
            fail_msg("'%s': %s '%s', want '%s'", rows[i].text, ww_err_name(rc), err.text,
                     rows[i].says);
        }
    }
}

/* Python's json writes them, and transformers has them for "no limit". */
static void what_python_writes_is_read_where_that_is_asked_for(void **state)
{
    static const char *const texts[] = {"[1000000000000000019884624838656]",
                                        "[-9007199254740992]", "[Infinity]",
                                        "{\"a\": -Infinity}", "NaN"};
    static const char text[] = "[1000000000000000019884624838656, 9007199254740991, "
                               "{\"Infinity\": -Infinity}, NaN,Infinity, -0.5, \"NaN\"]";
    struct ww_json *json = NULL;
    struct ww_error err;
    const char *word = NULL;
    uint64_t n = 0;
    double v = 0;
    (void)state;
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        const uint8_t *bytes = (const uint8_t *)texts[i];
        FAILS(ww_json_check(bytes, strlen(texts[i]), &ww_json_limits_bundle, &err),
              WW_E_JSON);
        OK(ww_json_check(bytes, strlen(texts[i]), &ww_json_limits_config, &err));
    }
    FAILS(ww_json_check((const uint8_t *)"[-Infinit]", 10, &ww_json_limits_config, &err),
          WW_E_JSON);
    FAILS(ww_json_check((const uint8_t *)"NaNs", 4, &ww_json_limits_config, &err),
          WW_E_JSON);
    OK(ww_json_parse((const uint8_t *)text, strlen(text), &ww_json_limits_config, &json,
                     &err));
    const struct ww_jnode *root = ww_json_root(json);
    assert_int_equal(ww_jsize(root), 7);
    assert_true(ww_jdouble(ww_jat(root, 0), &v) && v == 1e30);
    assert_false(ww_ju64(ww_jat(root, 0), &n));
    assert_true(ww_ju64(ww_jat(root, 1), &n) && n == UINT64_C(9007199254740991));
    assert_int_equal(ww_jtype(ww_jget(ww_jat(root, 2), "Infinity")), WW_J_NULL);
    assert_int_equal(ww_jtype(ww_jat(root, 3)), WW_J_NULL);
    assert_true(ww_jdouble(ww_jat(root, 5), &v) && v == -0.5);
    assert_true(ww_jstr(ww_jat(root, 6), &word) && strcmp(word, "NaN") == 0);
    ww_json_free(json);
}

static void nul_byte_is_no_end(void **state)
{
    (void)state;
    struct ww_error err;
    FAILS(ww_json_check((const uint8_t *)"1\0", 2, &ww_json_limits_small, &err),
          WW_E_JSON);
    FAILS(ww_json_check((const uint8_t *)"\"\0\"", 3, &ww_json_limits_small, &err),
          WW_E_JSON);
    FAILS(ww_json_check((const uint8_t *)"\"\\\0\"", 4, &ww_json_limits_small, &err),
          WW_E_JSON);
    FAILS(ww_json_check(NULL, 0, &ww_json_limits_small, &err), WW_E_JSON);
}

/* Every prefix of a good text is bad: nothing is read behind the end, nothing missed. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1.5e3,true,null,\"\\ud83d\\ude00\xe2\x82\xac\"],\"b\":{\"c\":-0}}";
    struct ww_error err;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        FAILS(ww_json_check(exact, n, &ww_json_limits_small, &err), WW_E_JSON);
        free(exact);
    }
    OK(check(text, &err));
}

static void depth_limit_is_exact(void **state)
{
    (void)state;
    struct ww_error err;
    char text[64];
    memset(text, '[', 16);
    memset(text + 16, ']', 16);
    text[32] = '\0';
    OK(check(text, &err));
    memset(text, '[', 17);
    memset(text + 17, ']', 17);
    text[34] = '\0';
    FAILS(check(text, &err), WW_E_LIMIT);
    const struct ww_json_limits too_deep = {100, 65, 100, false};
    FAILS(ww_json_check((const uint8_t *)"1", 1, &too_deep, &err), WW_E_USAGE);
}

static void byte_and_node_limits_are_exact(void **state)
{
    (void)state;
    struct ww_error err;
    const struct ww_json_limits limits = {10, 4, 4, false};
    OK(ww_json_check((const uint8_t *)"[1,2,3]   ", 10, &limits, &err));
    FAILS(ww_json_check((const uint8_t *)"[1,2,3]    ", 11, &limits, &err), WW_E_LIMIT);
    FAILS(ww_json_check((const uint8_t *)"[1,2,3,4]", 9, &limits, &err), WW_E_LIMIT);
    const struct ww_json_limits one = {10, 4, 1, false};
    OK(ww_json_check((const uint8_t *)"[]", 2, &one, &err));
    FAILS(ww_json_check((const uint8_t *)"[1]", 3, &one, &err), WW_E_LIMIT);
}

static void millions_of_brackets_are_refused_at_once(void **state)
{
    (void)state;
    struct ww_error err;
    size_t n = 3000000;
    uint8_t *text = malloc(n);
    memset(text, '[', n);
    clock_t before = clock();
    FAILS(ww_json_check(text, n, &ww_json_limits_config, &err), WW_E_LIMIT);
    assert_true(clock() - before < CLOCKS_PER_SEC / 10);
    free(text);
}

/* n members "k<i>": i, the last one named last. */
static char *many_members(size_t n, const char *last)
{
    char *text = malloc(n * 24 + 64);
    size_t at = 1;
    text[0] = '{';
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, 24, "\"k%zu\":%zu,", i, i);
    }
    snprintf(text + at, 64, "\"%s\":0}", last);
    return text;
}

static void large_objects_are_checked_fast(void **state)
{
    (void)state;
    struct ww_error err;
    clock_t before = clock();
    char *text = many_members(100000, "other");
    OK(ww_json_check((const uint8_t *)text, strlen(text), &ww_json_limits_config, &err));
    free(text);
    text = many_members(100000, "k3\\u0030");
    FAILS(
        ww_json_check((const uint8_t *)text, strlen(text), &ww_json_limits_config, &err),
        WW_E_JSON);
    assert_non_null(strstr(err.text, "appears twice"));
    free(text);
    assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
}

static void long_hostile_key_is_cut_in_the_error(void **state)
{
    (void)state;
    struct ww_error err;
    char text[3000];
    char key[1001];
    memset(key, 'k', 1000);
    key[1000] = '\0';
    snprintf(text, sizeof(text), "{\"%s\":1,\"%s\":2}", key, key);
    FAILS(check(text, &err), WW_E_JSON);
    assert_true(strlen(err.text) < 200);
    assert_non_null(strstr(err.text, "appears twice"));
}

static void failed_allocation_is_reported(void **state)
{
    (void)state;
    struct ww_error err;
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    FAILS(check("{\"a\":1}", &err), WW_E_NOMEM);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_is_accepted),
        cmocka_unit_test(invalid_text_is_refused_with_its_place),
        cmocka_unit_test(what_python_writes_is_read_where_that_is_asked_for),
        cmocka_unit_test(nul_byte_is_no_end),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(depth_limit_is_exact),
        cmocka_unit_test(byte_and_node_limits_are_exact),
        cmocka_unit_test(millions_of_brackets_are_refused_at_once),
        cmocka_unit_test(large_objects_are_checked_fast),
        cmocka_unit_test(long_hostile_key_is_cut_in_the_error),
        cmocka_unit_test(failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
