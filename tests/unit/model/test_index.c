/* SPDX-License-Identifier: Apache-2.0 */
#include "model/index.h"

#include "util/fail.h"
#include "ww_test.h"

static enum ww_err parse(const char *text, struct ww_index *out, struct ww_error *err)
{
    return ww_index_parse((const uint8_t *)text, strlen(text), "i.json", out, err);
}

static void files_are_listed_once_and_sorted(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_index index;
    OK(parse("{\"metadata\":{\"total_size\":42},\"weight_map\":{\"x\":\"b\",\"y\":\"a\","
             "\"z\":\"b\",\"w\":\"b\",\"v\":\"a\"}}",
             &index, &err));
    assert_int_equal(index.files.n, 2);
    assert_string_equal(index.files.items[0], "a");
    assert_string_equal(index.files.items[1], "b");
    assert_true(index.has_total);
    assert_int_equal(index.total_bytes, 42);
    ww_index_release(&index);
}

static void total_size_is_advice(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"weight_map\":{\"x\":\"a\"}}",
        "{\"metadata\":{},\"weight_map\":{\"x\":\"a\"}}",
        "{\"metadata\":null,\"weight_map\":{\"x\":\"a\"}}",
        "{\"metadata\":{\"total_size\":\"5\"},\"weight_map\":{\"x\":\"a\"}}",
        "{\"metadata\":{\"total_size\":-5},\"weight_map\":{\"x\":\"a\"}}",
    };
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        struct ww_error err = {0};
        struct ww_index index;
        OK(parse(texts[i], &index, &err));
        assert_false(index.has_total);
        ww_index_release(&index);
    }
}

static void bad_indexes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ww_err code;
    } cases[] = {
        {"", WW_E_JSON},
        {"{", WW_E_JSON},
        {"{\"weight_map\":{\"x\":\"a\",\"x\":\"b\"}}", WW_E_JSON},
        {"[]", WW_E_INDEX},
        {"{}", WW_E_INDEX},
        {"{\"weight_map\":{}}", WW_E_INDEX},
        {"{\"weight_map\":[\"a\"]}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":1}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":null}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\".\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"..\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"../x\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"sub/a\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"a\",\"y\":\"a/\"}}", WW_E_INDEX},
        {"{\"weight_map\":{\"x\":\"a\\nb\"}}", WW_E_INDEX},
    };
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        struct ww_index index;
        FAILS(parse(cases[i].text, &index, &err), cases[i].code);
        assert_non_null(strstr(err.text, "'i.json'"));
        assert_null(index.json);
    }
}

static void more_files_than_the_limit_are_refused(void **state)
{
    (void)state;
    size_t room = (WW_INDEX_MAX_FILES + 1) * 24 + 64;
    char *text = malloc(room);
    assert_non_null(text);
    for (int extra = 0; extra <= 1; extra++) {
        struct ww_error err = {0};
        struct ww_index index;
        size_t len = (size_t)snprintf(text, room, "{\"weight_map\":{");
        for (int i = 0; i < WW_INDEX_MAX_FILES + extra; i++) {
            len += (size_t)snprintf(text + len, room - len, "%s\"%d\":\"f%d\"",
                                    i ? "," : "", i, i);
        }
        snprintf(text + len, room - len, "}}");
        if (extra) {
            FAILS(parse(text, &index, &err), WW_E_LIMIT);
        } else {
            OK(parse(text, &index, &err));
            assert_int_equal(index.files.n, WW_INDEX_MAX_FILES);
            ww_index_release(&index);
        }
    }
    free(text);
}

/* A model of two files with one tensor each, enough for the check. */
static enum ww_err check(const char *text, struct ww_error *err)
{
    struct ww_weight_file files[] = {{.name = "a"}, {.name = "b"}};
    struct ww_tensor tensors[] = {{.name = "x", .file = 0}, {.name = "y", .file = 1}};
    struct ww_model model = {
        .files = files, .n_files = 2, .tensors = tensors, .n_tensors = 2};
    struct ww_names by_name;
    struct ww_index index;
    uint32_t twice;
    enum ww_err rc =
        ww_names_build(&by_name, tensors, sizeof(tensors[0]), 2, &twice, err);
    assert_int_equal(rc, WW_OK);
    rc = parse(text, &index, err);
    assert_int_equal(rc, WW_OK);
    rc = ww_index_check(&index, "i.json", &model, &by_name, err);
    ww_index_release(&index);
    ww_names_release(&by_name);
    return rc;
}

static void map_and_tensors_must_agree_both_ways(void **state)
{
    (void)state;
    struct ww_error err = {0};
    OK(check("{\"weight_map\":{\"x\":\"a\",\"y\":\"b\"}}", &err));
    FAILS(check("{\"weight_map\":{\"x\":\"a\"}}", &err), WW_E_INDEX);
    assert_non_null(strstr(err.text, "tensor 'y' of 'b' is not in weight_map"));
    FAILS(check("{\"weight_map\":{\"x\":\"b\",\"y\":\"a\"}}", &err), WW_E_INDEX);
    assert_non_null(strstr(err.text, "tensor 'x' is said to be in 'b', found in 'a'"));
    FAILS(check("{\"weight_map\":{\"x\":\"a\",\"y\":\"b\",\"z\":\"a\"}}", &err),
          WW_E_INDEX);
    assert_non_null(strstr(err.text, "tensor 'z' is said to be in 'a', found in none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_listed_once_and_sorted),
        cmocka_unit_test(total_size_is_advice),
        cmocka_unit_test(bad_indexes_are_refused),
        cmocka_unit_test(more_files_than_the_limit_are_refused),
        cmocka_unit_test(map_and_tensors_must_agree_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
