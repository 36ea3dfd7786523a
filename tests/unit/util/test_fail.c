/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "util/fail.h"
#include "util/str.h"
#include "weightward/error.h"

static void fail_fills_the_record(void **state)
{
    (void)state;
    struct ww_error err = {0};
    assert_int_equal(WW_FAIL(&err, WW_E_JSON, "key '%s' of %d", "a", 7), WW_E_JSON);
    assert_int_equal(err.code, WW_E_JSON);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "key 'a' of 7");
    assert_true(ww_str_ends(err.file, "test_fail.c"));
    assert_true(err.line > 0);
}

static void fail_without_record_returns_the_code(void **state)
{
    (void)state;
    assert_int_equal(WW_FAIL(NULL, WW_E_IO, "x"), WW_E_IO);
}

static void first_error_wins(void **state)
{
    (void)state;
    struct ww_error err = {0};
    (void)WW_FAIL(&err, WW_E_JSON, "first");
    assert_int_equal(WW_FAIL(&err, WW_E_IO, "second"), WW_E_JSON);
    assert_string_equal(err.text, "first");
}

static void fail_never_yields_success(void **state)
{
    (void)state;
    struct ww_error err = {0};
    assert_int_equal(WW_FAIL(&err, WW_OK, "x"), WW_E_INTERNAL);
    assert_int_equal(WW_FAIL(NULL, WW_OK, "x"), WW_E_INTERNAL);
}

static void system_error_is_described(void **state)
{
    (void)state;
    struct ww_error err = {0};
    (void)WW_FAIL_SYS(&err, WW_E_IO, ENOENT, "cannot open 'x'");
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(err.text, "cannot open 'x': No such file or directory");
}

static void hidden_characters_are_escaped(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a\nb\x1b[2J\x7f", "a\\x0ab\\x1b[2J\\x7f"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"\xc2\x9b", "\\xc2\\x9b"},          /* C1: control sequence introducer */
        {"\xe2\x80\xae", "\\xe2\\x80\\xae"}, /* right-to-left override */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* line separator */
        {"\xc3", "\\xc3"},
        {"\xc3(", "\\xc3("},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        struct ww_error err = {0};
        (void)WW_FAIL(&err, WW_E_IO, "%s", rows[i][0]);
        assert_string_equal(err.text, rows[i][1]);
    }
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char raw[4096];
    for (size_t pad = 0; pad < 8; pad++) {
        struct ww_error err = {0};
        memset(raw, 'x', pad);
        for (size_t i = pad; i + 2 < sizeof(raw); i += 2) {
            memcpy(raw + i, "\xc3\xa9", 3);
        }
        (void)WW_FAIL(&err, WW_E_IO, "%s", raw);
        size_t n = strlen(err.text);
        assert_true(n < WW_ERROR_TEXT_BYTES && n > WW_ERROR_TEXT_BYTES - 8);
        assert_true(ww_utf8_ok((const uint8_t *)err.text, n));

        ww_error_clear(&err);
        memset(raw + pad, 1, sizeof(raw) - pad - 1);
        raw[sizeof(raw) - 1] = '\0';
        (void)WW_FAIL(&err, WW_E_IO, "%s", raw);
        assert_true(ww_str_ends(err.text, "\\x01"));
    }
}

static void context_goes_in_front(void **state)
{
    (void)state;
    struct ww_error err = {0};
    ww_error_context(&err, "nothing");
    assert_string_equal(err.text, "");
    (void)WW_FAIL(&err, WW_E_JSON, "line 3");
    ww_error_context(&err, "file '%s'", "a\n");
    assert_string_equal(err.text, "file 'a\\x0a': line 3");
    assert_int_equal(err.code, WW_E_JSON);
    ww_error_context(NULL, "x");
}

static void context_leaves_room_for_the_cause(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char longer[1000];
    memset(longer, 'y', sizeof(longer));
    longer[999] = '\0';
    (void)WW_FAIL(&err, WW_E_JSON, "the cause");
    ww_error_context(&err, "%s", longer);
    assert_true(ww_str_ends(err.text, ": the cause"));
}

static void broken_invariant_aborts(void **state)
{
    (void)state;
    WW_INVARIANT(1 + 1 == 2);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        WW_INVARIANT(1 + 1 == 3);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void paths_get_the_names_that_users_know(void **state)
{
    struct ww_error err = {0};
    char all[WW_ERROR_TEXT_BYTES];
    (void)state;

    (void)WW_FAIL(&err, WW_E_JSON, "'/x.part/a' and '/x.part' of /x.par");
    ww_error_rename(&err, "/x.part", "m");
    assert_string_equal(err.text, "'m/a' and 'm' of /x.par");
    ww_error_rename(&err, "", "n");
    assert_string_equal(err.text, "'m/a' and 'm' of /x.par");
    memset(all, 'a', sizeof(all));
    all[sizeof(all) - 1] = 0;
    memcpy(err.text, all, sizeof(all));
    ww_error_rename(&err, "aa", "bbb");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_null(strchr(err.text, 'a'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_fills_the_record),
        cmocka_unit_test(fail_without_record_returns_the_code),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(fail_never_yields_success),
        cmocka_unit_test(system_error_is_described),
        cmocka_unit_test(hidden_characters_are_escaped),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(context_leaves_room_for_the_cause),
        cmocka_unit_test(paths_get_the_names_that_users_know),
        cmocka_unit_test(broken_invariant_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
