/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"

static void bare_names_are_told_from_others(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'n', 256);
    longest[256] = '\0';
    assert_false(ww_path_is_bare(longest));
    longest[255] = '\0';
    assert_true(ww_path_is_bare(longest));
    static const char *const good[] = {"a", "...", ".hidden", "a b", "\xc3\xa9", "..a"};
    static const char *const bad[] = {"",   ".",   "..",   "a/b",  "/",
                                      "a/", "a\n", "\x7f", "\xff", "\xc2\x80"};
    for (size_t i = 0; i < WW_LEN(good); i++) {
        assert_true(ww_path_is_bare(good[i]));
    }
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        assert_false(ww_path_is_bare(bad[i]));
    }
}

static void a_name_is_told_what_is_wrong_with_it(void **state)
{
    static const char *const said[][2] = {
        {"", "is empty"},
        {"..", "is no name"},
        {"a/b", "holds a '/'"},
        {"a\nb", "is not UTF-8 or holds control characters"},
        {"\xff", "is not UTF-8 or holds control characters"}};
    char longest[257];
    struct ww_error err = {0};

    (void)state;
    for (size_t i = 0; i < WW_LEN(said); i++) {
        assert_string_equal(ww_path_fault(said[i][0]), said[i][1]);
    }
    memset(longest, 'n', 256);
    longest[256] = '\0';
    assert_string_equal(ww_path_fault(longest), "is longer than 255 bytes");
    assert_null(ww_path_fault("a b"));
    OK(ww_path_check_relative("a/b", &err));
    FAILS(ww_path_check_relative("a/../b", &err), WW_E_PATH);
}

static void relative_paths_have_one_spelling(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", "a/b/c.d", "..a/b"};
    static const char *const bad[] = {"",     "/a",     "a/",   "a//b", "a/./b", "./a",
                                      "../a", "a/../b", "a/..", "a/.",  "a\t/b", "/"};
    for (size_t i = 0; i < WW_LEN(good); i++) {
        assert_true(ww_path_is_relative(good[i]));
    }
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        assert_false(ww_path_is_relative(bad[i]));
    }
    char longest[4097];
    for (size_t i = 0; i < 4096; i++) {
        longest[i] = i % 2 ? '/' : 'a';
    }
    longest[4095] = 'a';
    longest[4096] = '\0';
    assert_false(ww_path_is_relative(longest));
    longest[4095] = '\0';
    longest[4094] = 'a';
    assert_true(ww_path_is_relative(longest));
}

static void join_puts_one_slash(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        char *joined = ww_path_join(rows[i][0], rows[i][1]);
        assert_string_equal(joined, rows[i][2]);
        ww_free(joined);
    }
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_path_join("a", "b"));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
}

static void base_is_the_last_component(void **state)
{
    (void)state;
    assert_string_equal(ww_path_base("a/b/c"), "c");
    assert_string_equal(ww_path_base("/c"), "c");
    assert_string_equal(ww_path_base("c"), "c");
    assert_string_equal(ww_path_base(""), "");
}

static void folder_is_all_before_the_last_component(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a/b/c", "a/b"}, {"/a/b", "/a"}, {"/c", "/"},
        {"c", "."},       {"./c", "."},   {"a/", "a"},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        char *folder = ww_path_folder(rows[i][0]);
        assert_string_equal(folder, rows[i][1]);
        ww_free(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_names_are_told_from_others),
        cmocka_unit_test(a_name_is_told_what_is_wrong_with_it),
        cmocka_unit_test(relative_paths_have_one_spelling),
        cmocka_unit_test(join_puts_one_slash),
        cmocka_unit_test(base_is_the_last_component),
        cmocka_unit_test(folder_is_all_before_the_last_component),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
