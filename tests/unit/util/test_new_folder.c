/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/new_folder.h"

static char *folder;
static char *path;
static char *partial;

static int set_up(void **state)
{
    (void)state;
    folder = ww_test_mkdir();
    path = ww_path_join(folder, "out");
    partial = ww_path_join(folder, "out.partial");
    return path && partial ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    ww_free(path);
    ww_free(partial);
    ww_test_rmdir(folder);
    return 0;
}

static bool exists(const char *at)
{
    struct stat st;
    return lstat(at, &st) == 0;
}

/* While it is filled there is nothing under its name. payload: what to end with. */
static enum ww_err fill(void *payload, const char *into, struct ww_error *err)
{
    const enum ww_err *end = payload;

    assert_string_equal(into, partial);
    assert_true(exists(partial));
    assert_false(exists(path));
    return *end ? WW_FAIL(err, *end, "no") : WW_OK;
}

static void it_is_there_when_it_is_full(void **state)
{
    (void)state;
    enum ww_err end = WW_OK;
    struct ww_error err = {0};
    char *slashes = ww_path_join(path, "/");

    OK(ww_new_folder(slashes, fill, &end, &err));
    assert_true(exists(path));
    assert_false(exists(partial));
    FAILS(ww_new_folder(path, fill, &end, &err), WW_E_EXISTS);
    ww_free(slashes);
}

static void after_a_failure_nothing_is_left(void **state)
{
    (void)state;
    enum ww_err end = WW_E_SHAPE;
    struct ww_error err = {0};

    FAILS(ww_new_folder(path, fill, &end, &err), WW_E_SHAPE);
    assert_false(exists(path));
    assert_false(exists(partial));
}

static void what_a_killed_run_left_is_named(void **state)
{
    (void)state;
    enum ww_err end = WW_OK;
    struct ww_error err = {0};

    assert_int_equal(mkdir(partial, 0700), 0);
    FAILS(ww_new_folder(path, fill, &end, &err), WW_E_EXISTS);
    assert_non_null(strstr(err.text, "'out.partial' exists"));
    assert_true(exists(partial));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_there_when_it_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_failure_nothing_is_left, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_a_killed_run_left_is_named, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
