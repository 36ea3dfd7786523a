/* SPDX-License-Identifier: Apache-2.0 */
#include "weightward/error.h"
#include "ww_test.h"

static const enum ww_err all_codes[] = {
#define ROW(name, number, text) name,
    WW_ERR_LIST(ROW)
#undef ROW
};
#define N_CODES (sizeof(all_codes) / sizeof(all_codes[0]))

static void every_code_has_its_own_name_and_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CODES; i++) {
        assert_true(strncmp(ww_err_name(all_codes[i]), "WW_E_", 5) == 0);
        assert_string_not_equal(ww_err_name(all_codes[i]), "WW_E_?");
        assert_true(strlen(ww_err_text(all_codes[i])) > 0);
        for (size_t j = 0; j < i; j++) {
            assert_true(all_codes[i] != all_codes[j]);
            assert_string_not_equal(ww_err_text(all_codes[i]), ww_err_text(all_codes[j]));
        }
    }
    assert_string_equal(ww_err_name(WW_E_JSON), "WW_E_JSON");
    assert_string_equal(ww_err_text(WW_E_JSON), "malformed JSON");
}

static void unknown_code_is_internal(void **state)
{
    (void)state;
    assert_string_equal(ww_err_name((enum ww_err)777), "WW_E_?");
    assert_string_equal(ww_err_text((enum ww_err)777), "unknown error");
    assert_int_equal(ww_err_class_of((enum ww_err)777), WW_CLASS_INTERNAL);
    assert_int_equal(ww_err_class_of((enum ww_err) - 1), WW_CLASS_INTERNAL);
    assert_int_equal(ww_err_exit_status((enum ww_err)777), 70);
}

static void exit_status_follows_the_class(void **state)
{
    (void)state;
    static const struct {
        enum ww_err code;
        enum ww_err_class cls;
        const char *name;
        int status;
    } rows[] = {
        {WW_OK, WW_CLASS_OK, "ok", 0},
        {WW_E_USAGE, WW_CLASS_USAGE, "usage", 2},
        {WW_E_DESCRIPTOR, WW_CLASS_MALFORMED, "malformed", 3},
        {WW_E_NOTFOUND, WW_CLASS_SYSTEM, "system", 4},
        {WW_E_PASSPHRASE, WW_CLASS_KEY, "key", 5},
        {WW_E_TAMPERED, WW_CLASS_REFUSED, "refused", 1},
        {WW_E_GGUF, WW_CLASS_UNSUPPORTED, "unsupported", 6},
        {WW_E_INTERNAL, WW_CLASS_INTERNAL, "internal", 70},
        {WW_E_CANCELLED, WW_CLASS_INTERNAL, "internal", 130},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ww_err_class_of(rows[i].code), rows[i].cls);
        assert_string_equal(ww_err_class_name(rows[i].cls), rows[i].name);
        assert_int_equal(ww_err_exit_status(rows[i].code), rows[i].status);
    }
}

static void every_failure_has_a_non_zero_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CODES; i++) {
        assert_true(ww_err_exit_status(all_codes[i]) != 0);
        assert_true(ww_err_exit_status(all_codes[i]) < 256);
    }
}

static void clear_makes_a_record_new(void **state)
{
    (void)state;
    struct ww_error err;
    memset(&err, 0x55, sizeof(err));
    ww_error_clear(&err);
    assert_int_equal(err.code, WW_OK);
    assert_string_equal(err.text, "");
    assert_null(err.file);
    ww_error_clear(NULL);
}

static void a_path_gets_the_name_that_the_user_knows(void **state)
{
    (void)state;
    struct ww_error err = {.text = "'a/b.part' and 'a/b.part/c'"};
    ww_error_rename(&err, "a/b.part", "b");
    assert_string_equal(err.text, "'b' and 'b/c'");
    ww_error_rename(&err, "", "x");
    assert_string_equal(err.text, "'b' and 'b/c'");
    /* What gets too long is cut, and a caller may want no text. */
    memset(err.text, 'a', sizeof(err.text) - 1);
    ww_error_rename(&err, "a", "bcd");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "bcdbcd", 6);
    ww_error_rename(NULL, "a", "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name_and_number),
        cmocka_unit_test(unknown_code_is_internal),
        cmocka_unit_test(exit_status_follows_the_class),
        cmocka_unit_test(every_failure_has_a_non_zero_status),
        cmocka_unit_test(clear_makes_a_record_new),
        cmocka_unit_test(a_path_gets_the_name_that_the_user_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
