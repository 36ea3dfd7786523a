/* SPDX-License-Identifier: Apache-2.0 */
#include "model/folder.h"

#include "st_build.h"
#include "util/fault.h"

static enum ww_err scan(const char *path, struct ww_folder *out, struct ww_error *err)
{
    int fd = open_folder(path);
    enum ww_err rc = ww_folder_scan(fd, out, err);
    close(fd);
    return rc;
}

static void put_link(const char *folder, const char *name, const char *target)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(symlink(target, path), 0);
}

static void files_come_sorted_by_whole_path(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_folder f;
    char *dir = ww_test_mkdir();
    put_folder(dir, "a");
    put_text(dir, "a/b", "12");
    put_text(dir, "a.txt", "1");
    put_text(dir, "Z", "");
    OK(scan(dir, &f, &err));
    assert_int_equal(f.n, 3);
    assert_string_equal(f.items[0].path, "Z");
    assert_string_equal(f.items[1].path, "a.txt");
    assert_string_equal(f.items[2].path, "a/b");
    assert_int_equal(f.items[2].size_bytes, 2);
    assert_true(ww_entry_is_top(&f.items[1]));
    assert_false(ww_entry_is_top(&f.items[2]));
    assert_ptr_equal(ww_folder_find(&f, "a/b"), &f.items[2]);
    assert_null(ww_folder_find(&f, "a"));
    assert_null(ww_folder_find(&f, ""));
    ww_folder_release(&f);
    ww_test_rmdir(dir);
}

static void git_and_cache_are_left_out_at_the_top_only(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_folder f;
    char *dir = ww_test_mkdir();
    put_folder(dir, ".git");
    put_text(dir, ".git/HEAD", "x");
    put_folder(dir, ".cache");
    put_text(dir, ".cache/x", "x");
    put_text(dir, ".gitattributes", "x");
    put_text(dir, ".gitignore", "x");
    put_folder(dir, "sub");
    put_text(dir, "sub/.git", "x");
    OK(scan(dir, &f, &err));
    assert_int_equal(f.n, 3);
    assert_non_null(ww_folder_find(&f, ".gitattributes"));
    assert_non_null(ww_folder_find(&f, ".gitignore"));
    assert_non_null(ww_folder_find(&f, "sub/.git"));
    ww_folder_release(&f);
    ww_test_rmdir(dir);
}

static void links_inside_are_files_and_links_out_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_folder f;
    char *dir = ww_test_mkdir();
    put_text(dir, "real", "123");
    put_link(dir, "link", "real");
    OK(scan(dir, &f, &err));
    assert_int_equal(f.n, 2);
    assert_true(f.items[0].is_regular);
    assert_int_equal(f.items[0].size_bytes, 3);
    ww_folder_release(&f);
    put_link(dir, "readme", "/etc/passwd");
    FAILS(scan(dir, &f, &err), WW_E_PATH);
    assert_non_null(strstr(err.text, "'readme'"));
    assert_null(f.items);
    ww_test_rmdir(dir);
}

static void a_hub_cache_is_read_through_its_links(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_folder f;
    char snapshot[512];
    char *dir = ww_test_mkdir();
    put_folder(dir, "blobs");
    put_folder(dir, "snapshots");
    put_folder(dir, "snapshots/abc");
    put_text(dir, "blobs/00ff", "12345");
    snprintf(snapshot, sizeof(snapshot), "%s/snapshots/abc", dir);
    put_link(snapshot, "config.json", "../../blobs/00ff");
    OK(scan(snapshot, &f, &err));
    assert_int_equal(f.n, 1);
    assert_int_equal(f.items[0].size_bytes, 5);
    ww_folder_release(&f);
    put_link(snapshot, "gone.json", "../../blobs/none");
    FAILS(scan(snapshot, &f, &err), WW_E_NOTFOUND);
    ww_test_rmdir(dir);
}

static void what_is_no_file_is_listed_as_such(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_folder f;
    char path[1024];
    char *dir = ww_test_mkdir();
    snprintf(path, sizeof(path), "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    put_folder(dir, "model.safetensors");
    put_folder(dir, "plain");
    OK(scan(dir, &f, &err));
    assert_int_equal(f.n, 2);
    assert_string_equal(f.items[0].path, "model.safetensors");
    assert_true(f.items[0].is_folder && !f.items[0].is_regular);
    assert_false(f.items[1].is_folder || f.items[1].is_regular);
    ww_folder_release(&f);
    ww_test_rmdir(dir);
}

static void memory_out_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    char *dir = ww_test_mkdir();
    put_text(dir, "a", "1");
    put_link(dir, "b", "a");
    enum ww_err rc = WW_E_NOMEM;
    unsigned long nth = 0;
    while (rc != WW_OK) {
        struct ww_error err = {0};
        struct ww_folder f;
        ww_fault_arm(WW_FAULT_ALLOC, ++nth);
        rc = scan(dir, &f, &err);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_true(rc == WW_OK || rc == WW_E_NOMEM);
        ww_folder_release(&f);
        assert_true(nth < 200);
    }
    assert_true(nth > 2);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_sorted_by_whole_path),
        cmocka_unit_test(git_and_cache_are_left_out_at_the_top_only),
        cmocka_unit_test(links_inside_are_files_and_links_out_are_refused),
        cmocka_unit_test(a_hub_cache_is_read_through_its_links),
        cmocka_unit_test(what_is_no_file_is_listed_as_such),
        cmocka_unit_test(memory_out_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
