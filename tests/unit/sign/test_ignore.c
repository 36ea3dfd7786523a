/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/ignore.h"

#include "fixture.h"

static void defaults_are_git_files_at_the_top(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_ignore ignore = {0};

    OK(ww_ignore_add_defaults(&ignore, &err));
    ww_ignore_ready(&ignore);
    assert_true(ww_ignore_has(&ignore, ".git"));
    assert_true(ww_ignore_has(&ignore, ".gitignore"));
    assert_true(ww_ignore_has(&ignore, ".gitattributes"));
    assert_true(ww_ignore_has(&ignore, ".github"));
    assert_false(ww_ignore_has(&ignore, "sub/.git"));
    assert_false(ww_ignore_has(&ignore, ".gitmodules"));
    assert_false(ww_ignore_has(&ignore, ".gi"));
    ww_ignore_release(&ignore);
}

static void empty_list_ignores_nothing(void **state)
{
    (void)state;
    struct ww_ignore ignore = {0};

    ww_ignore_ready(&ignore);
    assert_false(ww_ignore_has(&ignore, "a"));
    assert_false(ww_ignore_has(&ignore, ""));
    ww_ignore_release(&ignore);
}

static void entries_are_exact_paths_without_patterns(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_ignore ignore = {0};

    OK(ww_ignore_add(&ignore, "cache", &err));
    OK(ww_ignore_add(&ignore, "*", &err));
    OK(ww_ignore_add(&ignore, "a/b", &err));
    OK(ww_ignore_add(&ignore, "cache", &err));
    ww_ignore_ready(&ignore);
    assert_int_equal(ignore.paths.n, 3);
    assert_true(ww_ignore_has(&ignore, "cache"));
    assert_true(ww_ignore_has(&ignore, "a/b"));
    assert_false(ww_ignore_has(&ignore, "cache2.bin"));
    assert_false(ww_ignore_has(&ignore, "sub/cache"));
    assert_false(ww_ignore_has(&ignore, "Cache"));
    assert_false(ww_ignore_has(&ignore, "planted.py"));
    assert_false(ww_ignore_has(&ignore, "a"));
    ww_ignore_release(&ignore);
}

struct option_row {
    const char *option;
    const char *kept; /* NULL: refused */
};

static void options_are_made_relative(void **state)
{
    (void)state;
    static const struct option_row rows[] = {
        {"cache", "cache"},
        {"./cache", "cache"},
        {"cache/", "cache"},
        {"a//b/./c", "a/b/c"},
        {"/given/m/cache", "cache"},
        {"/given/m//cache/", "cache"},
        {"/real/m/a/b", "a/b"},
        {"/given/m", NULL},
        {"/given/m/", NULL},
        {"/given/m2/x", NULL},
        {"/etc/passwd", NULL},
        {"../x", NULL},
        {"a/../b", NULL},
        {"/given/m/../x", NULL},
        {".", NULL},
        {"", NULL},
        {"a\nb", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ww_error err = {0};
        struct ww_ignore ignore = {0};
        enum ww_err rc =
            ww_ignore_add_option(&ignore, "/given/m/", "/real/m", rows[i].option, &err);
        if (rows[i].kept) {
            assert_int_equal(rc, WW_OK);
            assert_string_equal(ignore.paths.items[0], rows[i].kept);
        } else {
            assert_int_equal(rc, WW_E_USAGE);
            assert_int_equal(ignore.paths.n, 0);
        }
        ww_ignore_release(&ignore);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_git_files_at_the_top),
        cmocka_unit_test(empty_list_ignores_nothing),
        cmocka_unit_test(entries_are_exact_paths_without_patterns),
        cmocka_unit_test(options_are_made_relative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
