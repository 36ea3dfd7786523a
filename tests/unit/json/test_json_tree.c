/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <float.h>
#include <locale.h>
#include <time.h>

#include "json/json.h"
#include "util/fail.h"
#include "util/fault.h"

static struct ww_json *parse(const char *text)
{
    struct ww_error err;
    struct ww_json *json = NULL;
    OK(ww_json_parse((const uint8_t *)text, strlen(text), &ww_json_limits_config, &json,
                     &err));
    return json;
}

static void members_and_elements_are_found(void **state)
{
    (void)state;
    struct ww_json *json =
        parse("{\"a\":[10,\"x\",null,true,false,{}],\"A\":2,\"b\":{\"c\":3}}");
    const struct ww_jnode *root = ww_json_root(json);
    assert_int_equal(ww_jtype(root), WW_J_OBJECT);
    assert_int_equal(ww_jsize(root), 3);
    uint64_t v = 0;
    assert_true(ww_ju64(ww_jget(root, "A"), &v));
    assert_int_equal(v, 2);
    assert_true(ww_ju64(ww_jget(ww_jget(root, "b"), "c"), &v));
    assert_int_equal(v, 3);
    assert_null(ww_jget(root, "B"));
    assert_null(ww_jget(ww_jget(root, "gone"), "c"));
    const struct ww_jnode *list = ww_jget(root, "a");
    assert_null(ww_jget(list, "0"));
    static const enum ww_jtype types[] = {WW_J_NUMBER, WW_J_STRING, WW_J_NULL,
                                          WW_J_BOOL,   WW_J_BOOL,   WW_J_OBJECT};
    assert_int_equal(ww_jsize(list), WW_LEN(types));
    for (size_t i = 0; i < WW_LEN(types); i++) {
        assert_int_equal(ww_jtype(ww_jat(list, i)), types[i]);
        assert_null(ww_jkey(ww_jat(list, i)));
    }
    assert_null(ww_jat(list, WW_LEN(types)));
    assert_string_equal(ww_jkey(ww_jfirst(root)), "a");
    assert_string_equal(ww_jkey(ww_jnext(ww_jfirst(root))), "A");
    assert_null(ww_jfirst(ww_jat(list, 5)));
    ww_json_free(json);
}

static void nothing_is_a_quiet_node(void **state)
{
    (void)state;
    uint64_t u = 7;
    int64_t i = 7;
    double d = 7;
    bool b = true;
    const char *s = "kept";
    assert_null(ww_json_root(NULL));
    assert_int_equal(ww_jtype(NULL), WW_J_NULL);
    assert_null(ww_jfirst(NULL));
    assert_null(ww_jnext(NULL));
    assert_null(ww_jkey(NULL));
    assert_null(ww_jat(NULL, 0));
    assert_int_equal(ww_jsize(NULL), 0);
    assert_false(ww_ju64(NULL, &u) || ww_ji64(NULL, &i) || ww_jdouble(NULL, &d) ||
                 ww_jbool(NULL, &b) || ww_jstr(NULL, &s));
    assert_true(u == 7 && i == 7 && d == 7 && b);
    assert_string_equal(s, "kept");
    ww_json_free(NULL);
}

static void typed_reads_refuse_other_types(void **state)
{
    (void)state;
    struct ww_json *json = parse("[\"1\",1,true,null,[],{}]");
    const struct ww_jnode *root = ww_json_root(json);
    for (size_t at = 0; at < 6; at++) {
        uint64_t u = 0;
        int64_t i = 0;
        double d = 0;
        bool b = false;
        const char *s = NULL;
        const struct ww_jnode *node = ww_jat(root, at);
        assert_int_equal(ww_jstr(node, &s), at == 0);
        assert_int_equal(ww_ju64(node, &u), at == 1);
        assert_int_equal(ww_ji64(node, &i), at == 1);
        assert_int_equal(ww_jdouble(node, &d), at == 1);
        assert_int_equal(ww_jbool(node, &b), at == 2);
    }
    ww_json_free(json);
}

static void hex_is_of_one_length_and_lower_case(void **state)
{
    (void)state;
    struct ww_json *json =
        parse("[\"00ff\",\"00FF\",\"00f\",\"00ff00\",\"00fg\",\"\",255]");
    const struct ww_jnode *root = ww_json_root(json);
    uint8_t bytes[2] = {1, 1};
    assert_true(ww_jhex(ww_jat(root, 0), bytes, 2) && bytes[0] == 0 && bytes[1] == 0xff);
    for (size_t at = 1; at < ww_jsize(root); at++) {
        assert_false(ww_jhex(ww_jat(root, at), bytes, 2));
    }
    assert_false(ww_jhex(NULL, bytes, 2));
    ww_json_free(json);
}

static void integers_are_exact_to_their_limit(void **state)
{
    (void)state;
    struct ww_json *json =
        parse("[9007199254740991,-9007199254740991,-1,0,-0,1.5,2.0,1e15,1e16,1e300]");
    const struct ww_jnode *root = ww_json_root(json);
    uint64_t u = 0;
    int64_t i = 0;
    assert_true(ww_ju64(ww_jat(root, 0), &u));
    assert_true(u == UINT64_C(9007199254740991));
    assert_true(ww_ji64(ww_jat(root, 1), &i));
    assert_true(i == -INT64_C(9007199254740991));
    assert_false(ww_ju64(ww_jat(root, 2), &u));
    assert_true(ww_ji64(ww_jat(root, 2), &i));
    assert_int_equal(i, -1);
    assert_true(ww_ju64(ww_jat(root, 3), &u));
    assert_int_equal(u, 0);
    assert_true(ww_ju64(ww_jat(root, 4), &u));
    assert_int_equal(u, 0);
    assert_false(ww_ju64(ww_jat(root, 5), &u));
    assert_true(ww_ju64(ww_jat(root, 6), &u));
    assert_int_equal(u, 2);
    assert_true(ww_ju64(ww_jat(root, 7), &u));
    assert_true(u == UINT64_C(1000000000000000));
    assert_false(ww_ju64(ww_jat(root, 8), &u));
    assert_false(ww_ji64(ww_jat(root, 9), &i));
    ww_json_free(json);
}

static void assert_number(const char *text, double want)
{
    struct ww_json *json = parse(text);
    double v = 0;
    assert_true(ww_jdouble(ww_json_root(json), &v));
    assert_true(v == want);
    ww_json_free(json);
}

static void doubles_are_read_to_the_bit(void **state)
{
    (void)state;
    assert_number("1e-06", 1e-06);
    assert_number("0.1", 0.1);
    assert_number("1.7976931348623157e308", DBL_MAX);
    assert_number("5e-324", 4.9406564584124654e-324);
    assert_number("10000.0", 10000.0);
    assert_number("0.30000000000000004", 0.30000000000000004);
}

static void locale_does_not_matter(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                        "de_DE"};
    const char *set = NULL;
    for (size_t i = 0; i < WW_LEN(names) && !set; i++) {
        set = setlocale(LC_ALL, names[i]);
    }
    if (!set) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    assert_string_equal(localeconv()->decimal_point, ",");
    assert_number("0.5", 0.5);
    assert_number("-12.25e1", -122.5);
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_ALL, "C");
}

static void strings_are_decoded(void **state)
{
    (void)state;
    struct ww_json *json = parse("{\"\\u006b\":\"a\\n\\\"\\u20ac\\ud83d\\ude00\\/\"}");
    const char *s = NULL;
    assert_true(ww_jstr(ww_jget(ww_json_root(json), "k"), &s));
    assert_string_equal(s, "a\n\"\xe2\x82\xac\xf0\x9f\x98\x80/");
    ww_json_free(json);
}

static void document_outlives_its_text(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_json *json = NULL;
    char text[] = "{\"key\":\"value\"}";
    const char *s = NULL;
    OK(ww_json_parse((uint8_t *)text, strlen(text), &ww_json_limits_small, &json, &err));
    memset(text, 0, sizeof(text));
    assert_true(ww_jstr(ww_jget(ww_json_root(json), "key"), &s));
    assert_string_equal(s, "value");
    ww_json_free(json);
}

static void text_need_not_be_terminated(void **state)
{
    (void)state;
    static const char *const texts[] = {"1", "12.5", "true", "null", "\"x\"", "[]", "{}"};
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        struct ww_error err;
        struct ww_json *json = NULL;
        size_t n = strlen(texts[i]);
        uint8_t *exact = malloc(n);
        memcpy(exact, texts[i], n);
        OK(ww_json_parse(exact, n, &ww_json_limits_small, &json, &err));
        free(exact);
        ww_json_free(json);
    }
}

static void refused_text_gives_no_document(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_json *json = (struct ww_json *)(void *)&err;
    FAILS(ww_json_parse((const uint8_t *)"{", 1, &ww_json_limits_small, &json, &err),
          WW_E_JSON);
    assert_null(json);
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    FAILS(ww_json_parse((const uint8_t *)"[]", 2, &ww_json_limits_small, &json, &err),
          WW_E_NOMEM);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    assert_null(json);
}

static void walking_many_members_is_linear(void **state)
{
    (void)state;
    size_t n = 100000;
    char *text = malloc(n * 24);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, 24, "%s\"k%zu\":%zu", i ? "," : "{", i, i);
    }
    memcpy(text + at, "}", 2);
    struct ww_json *json = parse(text);
    clock_t before = clock();
    size_t sum = 0;
    for (const struct ww_jnode *m = ww_jfirst(ww_json_root(json)); m; m = ww_jnext(m)) {
        uint64_t v = 0;
        assert_true(ww_ju64(m, &v));
        sum += v;
    }
    assert_int_equal(sum, n * (n - 1) / 2);
    assert_true(clock() - before < CLOCKS_PER_SEC);
    ww_json_free(json);
    free(text);
}

static void unknown_members_are_named(void **state)
{
    (void)state;
    static const char *const allowed[] = {"version", "payload"};
    struct ww_error err;
    struct ww_json *json = parse("[{\"version\":1,\"payload\":2},{\"verison\":1},"
                                 "{\"quite-different\":1},{},3]");
    const struct ww_jnode *root = ww_json_root(json);
    OK(ww_jonly(ww_jat(root, 0), allowed, 2, WW_E_BUNDLE, "the bundle", &err));
    FAILS(ww_jonly(ww_jat(root, 1), allowed, 2, WW_E_BUNDLE, "the bundle", &err),
          WW_E_BUNDLE);
    assert_string_equal(
        err.text, "the bundle has an unknown member 'verison'; is 'version' meant?");
    FAILS(ww_jonly(ww_jat(root, 2), allowed, 2, WW_E_MANIFEST, "the manifest", &err),
          WW_E_MANIFEST);
    assert_string_equal(err.text, "the manifest has an unknown member 'quite-different'");
    OK(ww_jonly(ww_jat(root, 3), allowed, 2, WW_E_BUNDLE, "the bundle", &err));
    FAILS(ww_jonly(ww_jat(root, 4), allowed, 2, WW_E_BUNDLE, "the bundle", &err),
          WW_E_BUNDLE);
    FAILS(ww_jonly(NULL, allowed, 2, WW_E_BUNDLE, "the bundle", &err), WW_E_BUNDLE);
    ww_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_elements_are_found),
        cmocka_unit_test(nothing_is_a_quiet_node),
        cmocka_unit_test(typed_reads_refuse_other_types),
        cmocka_unit_test(hex_is_of_one_length_and_lower_case),
        cmocka_unit_test(integers_are_exact_to_their_limit),
        cmocka_unit_test(doubles_are_read_to_the_bit),
        cmocka_unit_test(locale_does_not_matter),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(document_outlives_its_text),
        cmocka_unit_test(text_need_not_be_terminated),
        cmocka_unit_test(refused_text_gives_no_document),
        cmocka_unit_test(walking_many_members_is_linear),
        cmocka_unit_test(unknown_members_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
