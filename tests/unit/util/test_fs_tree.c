/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <fcntl.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"

static char *folder;
static int top = -1;

static int set_up(void **state)
{
    (void)state;
    folder = ww_test_mkdir();
    top = open(folder, O_RDONLY | O_DIRECTORY);
    return top < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(top);
    ww_test_rmdir(folder);
    return 0;
}

static void put_file(const char *path)
{
    int fd = openat(top, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12345", 5), 5);
    close(fd);
}

static bool exists(const char *path)
{
    struct stat st;
    return fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void mkdirs_makes_all_levels(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_mkdirs_at(top, "a/b/c", &err));
    assert_true(exists("a/b/c"));
    OK(ww_mkdirs_at(top, "a/b/c", &err));
    OK(ww_mkdirs_at(top, "a/b/d", &err));
    put_file("a/file");
    FAILS(ww_mkdirs_at(top, "a/file/x", &err), WW_E_PATH);
    FAILS(ww_mkdirs_at(top, "a/file", &err), WW_E_PATH);
    FAILS(ww_mkdirs_at(top, "../x", &err), WW_E_PATH);
    assert_int_equal(symlinkat("/tmp", top, "a/link"), 0);
    FAILS(ww_mkdirs_at(top, "a/link/ww-must-not-exist", &err), WW_E_PATH);
    ww_fault_arm(WW_FAULT_FSYNC, 1);
    FAILS(ww_mkdirs_at(top, "a/new", &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
}

static void remove_tree_spares_what_links_point_at(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_mkdirs_at(top, "keep", &err));
    put_file("keep/file");
    OK(ww_mkdirs_at(top, "gone/x/y", &err));
    put_file("gone/x/y/file");
    assert_int_equal(symlinkat("../keep", top, "gone/link"), 0);
    assert_int_equal(mkfifoat(top, "gone/fifo", 0644), 0);
    OK(ww_remove_tree_at(top, "gone", &err));
    assert_false(exists("gone"));
    assert_true(exists("keep/file"));
    OK(ww_remove_tree_at(top, "gone", &err));
    assert_int_equal(symlinkat("keep", top, "alias"), 0);
    OK(ww_remove_tree_at(top, "alias", &err));
    assert_false(exists("alias"));
    assert_true(exists("keep/file"));
    put_file("single");
    OK(ww_remove_tree_at(top, "single", &err));
    assert_false(exists("single"));
    FAILS(ww_remove_tree_at(top, "..", &err), WW_E_PATH);
    FAILS(ww_remove_tree_at(top, "keep/file", &err), WW_E_PATH);

    char *file = ww_path_join(folder, "keep/file");
    OK(ww_remove_tree(file, &err));
    assert_false(exists("keep/file"));
    assert_true(exists("keep"));
    ww_free(file);
}

/* One line per entry: type, path, size. */
static enum ww_err note(void *payload, const struct ww_walk_entry *entry, bool *skip,
                        struct ww_error *err)
{
    char type = '?';
    type = S_ISREG(entry->type) ? 'f' : type;
    type = S_ISDIR(entry->type) ? 'd' : type;
    type = S_ISLNK(entry->type) ? 'l' : type;
    *skip = strstr(entry->path, "skipped") != NULL;
    if (strstr(entry->path, "stop")) {
        return WW_FAIL(err, WW_E_CANCELLED, "stopped at '%s'", entry->path);
    }
    return ww_buf_addf(payload, err, "%c %s %llu\n", type, entry->path,
                       (unsigned long long)entry->size_bytes);
}

static enum ww_err walk_into(const char *path, struct ww_buf *buf, struct ww_error *err)
{
    int fd = openat(top, path, O_RDONLY | O_DIRECTORY);
    ww_buf_clear(buf);
    enum ww_err rc = ww_walk(fd, note, buf, err);
    close(fd);
    return rc;
}

static void walk_visits_in_byte_order(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 10000);
    OK(ww_mkdirs_at(top, "w/b/inner", &err));
    OK(ww_mkdirs_at(top, "w/skipped", &err));
    put_file("w/skipped/x");
    put_file("w/b/z");
    put_file("w/b-");
    put_file("w/B");
    put_file("w/a\xc3\xa9");
    put_file("w/az");
    assert_int_equal(symlinkat("b", top, "w/link"), 0);
    OK(walk_into("w", &buf, &err));
    assert_string_equal(ww_buf_cstr(&buf), "f B 5\n"
                                           "f az 5\n"
                                           "f a\xc3\xa9 5\n"
                                           "d b 0\n"
                                           "d b/inner 0\n"
                                           "f b/z 5\n"
                                           "f b- 5\n"
                                           "l link 0\n"
                                           "d skipped 0\n");
    put_file("w/b/stop");
    FAILS(walk_into("w", &buf, &err), WW_E_CANCELLED);
    assert_string_equal(err.text, "stopped at 'b/stop'");
    ww_buf_release(&buf);
}

static void walk_refuses_odd_names(void **state)
{
    (void)state;
    static const char *const names[] = {"odd/a\nb", "odd/\xff", "odd/\x7f"};
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 10000);
    OK(ww_mkdirs_at(top, "odd", &err));
    for (size_t i = 0; i < WW_LEN(names); i++) {
        put_file(names[i]);
        FAILS(walk_into("odd", &buf, &err), WW_E_PATH);
        assert_non_null(strstr(err.text, "\\x"));
        assert_int_equal(unlinkat(top, names[i], 0), 0);
    }
    OK(walk_into("odd", &buf, &err));
    ww_buf_release(&buf);
}

static void walk_stops_at_its_depth(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    char path[200] = "deep";
    ww_buf_init(&buf, 10000);
    OK(ww_mkdirs_at(top, path, &err));
    for (size_t i = 0; i < 32; i++) {
        size_t n = strlen(path);
        snprintf(path + n, sizeof(path) - n, "/d");
        OK(ww_mkdirs_at(top, path, &err));
    }
    OK(walk_into("deep", &buf, &err));
    size_t n = strlen(path);
    snprintf(path + n, sizeof(path) - n, "/e");
    OK(ww_mkdirs_at(top, path, &err));
    FAILS(walk_into("deep", &buf, &err), WW_E_LIMIT);
    ww_buf_release(&buf);
}

static void remove_stops_at_its_depth(void **state)
{
    (void)state;
    struct ww_error err;
    char path[300] = "pit";
    OK(ww_mkdirs_at(top, path, &err));
    for (size_t i = 0; i < 128; i++) {
        size_t n = strlen(path);
        snprintf(path + n, sizeof(path) - n, "/d");
        assert_int_equal(mkdirat(top, path, 0755), 0);
    }
    FAILS(ww_remove_tree_at(top, "pit", &err), WW_E_LIMIT);
    assert_int_equal(unlinkat(top, path, AT_REMOVEDIR), 0);
    OK(ww_remove_tree_at(top, "pit", &err));
    assert_false(exists("pit"));
}

static enum ww_err count(void *payload, const struct ww_walk_entry *entry, bool *skip,
                         struct ww_error *err)
{
    (void)entry;
    (void)skip;
    (void)err;
    ++*(size_t *)payload;
    return WW_OK;
}

static void walk_copes_with_many_entries(void **state)
{
    (void)state;
    struct ww_error err;
    size_t n = 0;
    char name[32];
    OK(ww_mkdirs_at(top, "many", &err));
    int fd = openat(top, "many", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "file-%d", i);
        close(openat(fd, name, O_WRONLY | O_CREAT, 0644));
    }
    OK(ww_walk(fd, count, &n, &err));
    assert_int_equal(n, 3000);
    n = 0;
    OK(ww_walk(fd, count, &n, &err));
    assert_int_equal(n, 3000);
    close(fd);
    OK(ww_remove_tree_at(top, "many", &err));
    assert_false(exists("many"));
}

static void every_failed_allocation_ends_the_walk(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 1000);
    OK(ww_buf_reserve(&buf, 1000, &err));
    OK(ww_mkdirs_at(top, "few/x", &err));
    put_file("few/y");
    unsigned long n = 1;
    for (;; n++) {
        ww_error_clear(&err);
        ww_fault_arm(WW_FAULT_ALLOC, n);
        enum ww_err rc = walk_into("few", &buf, &err);
        bool was_hit = ww_fault_seen(WW_FAULT_ALLOC) >= n;
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        if (!was_hit) {
            assert_int_equal(rc, WW_OK);
            break;
        }
        assert_int_equal(rc, WW_E_NOMEM);
    }
    assert_true(n > 3);
    ww_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mkdirs_makes_all_levels),
        cmocka_unit_test(remove_tree_spares_what_links_point_at),
        cmocka_unit_test(walk_visits_in_byte_order),
        cmocka_unit_test(walk_refuses_odd_names),
        cmocka_unit_test(walk_stops_at_its_depth),
        cmocka_unit_test(remove_stops_at_its_depth),
        cmocka_unit_test(walk_copes_with_many_entries),
        cmocka_unit_test(every_failed_allocation_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
