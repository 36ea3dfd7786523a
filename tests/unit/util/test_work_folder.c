/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"
#include "util/work_folder.h"

static struct ww_error err;

static void put(const char *folder, const char *name)
{
    char *path = ww_path_join(folder, name);
    OK(ww_file_write(path, "x", 1, 0600, false, &err));
    ww_free(path);
}

static bool has(const char *folder, const char *name)
{
    struct stat st;
    char *path = ww_path_join(folder, name);
    const bool found = lstat(path, &st) == 0;
    ww_free(path);
    return found;
}

static void its_own_goes_and_nobody_elses(void **state)
{
    (void)state;
    char *top = ww_test_mkdir();
    char *work = ww_path_join(top, "work");
    char *other = ww_path_join(top, "other");

    OK(ww_work_folder_make(work, 0700, true, &err));
    put(work, "old");
    FAILS(ww_work_folder_make(work, 0700, false, &err), WW_E_EXISTS);
    assert_true(has(work, "old"));
    OK(ww_work_folder_make(work, 0700, true, &err));
    assert_false(has(work, "old"));

    assert_int_equal(mkdir(other, 0700), 0);
    put(other, "thesis");
    FAILS(ww_work_folder_make(other, 0700, true, &err), WW_E_EXISTS);
    assert_true(has(other, "thesis"));
    ww_free(other);
    ww_free(work);
    ww_test_rmdir(top);
}

/* Killed between the folder and its mark. */
static void an_unmarked_one_goes_when_it_is_empty(void **state)
{
    (void)state;
    char *top = ww_test_mkdir();
    char *work = ww_path_join(top, "work");

    assert_int_equal(mkdir(work, 0700), 0);
    put(work, ".weightward-work.partial");
    OK(ww_work_folder_make(work, 0700, true, &err));
    assert_true(has(work, ".weightward-work"));
    ww_free(work);
    ww_test_rmdir(top);
}

static void one_that_gets_no_mark_is_not_left(void **state)
{
    struct stat st;
    (void)state;
    char *top = ww_test_mkdir();
    char *work = ww_path_join(top, "work");

    ww_fault_arm(WW_FAULT_FSYNC, 1);
    FAILS(ww_work_folder_make(work, 0700, false, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    assert_int_equal(lstat(work, &st), -1);
    OK(ww_work_folder_make(work, 0700, false, &err));
    ww_free(work);
    ww_test_rmdir(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_goes_and_nobody_elses),
        cmocka_unit_test(an_unmarked_one_goes_when_it_is_empty),
        cmocka_unit_test(one_that_gets_no_mark_is_not_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
