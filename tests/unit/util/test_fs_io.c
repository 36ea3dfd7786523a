/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"
#include "util/partial.h"

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

static bool exists(const char *name)
{
    struct stat st;
    return fstatat(top, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void assert_holds(const char *name, const char *want)
{
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 1000);
    OK(ww_file_read_at(top, name, WW_LINKS_REFUSE, &buf, &err));
    assert_string_equal(ww_buf_cstr(&buf), want);
    ww_buf_release(&buf);
}

static void written_file_reads_back(void **state)
{
    (void)state;
    struct ww_error err;
    struct stat st;
    OK(ww_file_write_at(top, "a", "hello", 5, 0600, false, &err));
    assert_holds("a", "hello");
    assert_false(exists("a.partial"));
    assert_int_equal(fstatat(top, "a", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(mkdirat(top, "sub", 0755), 0);
    OK(ww_file_write_at(top, "sub/b", "", 0, 0, false, &err));
    assert_holds("sub/b", "");
    FAILS(ww_file_write_at(top, "gone/b", "x", 1, 0, false, &err), WW_E_NOTFOUND);
    FAILS(ww_file_write_at(top, "../b", "x", 1, 0, false, &err), WW_E_PATH);
}

static void existing_file_is_kept_unless_asked(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_file_write_at(top, "f", "old", 3, 0, false, &err));
    FAILS(ww_file_write_at(top, "f", "new", 3, 0, false, &err), WW_E_EXISTS);
    assert_holds("f", "old");
    OK(ww_file_write_at(top, "f", "new", 3, 0, true, &err));
    assert_holds("f", "new");
    assert_int_equal(symlinkat("nowhere", top, "dangling"), 0);
    FAILS(ww_file_write_at(top, "dangling", "x", 1, 0, false, &err), WW_E_EXISTS);
}

static void leftover_partial_is_no_obstacle(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_file_write_at(top, "target", "safe", 4, 0, false, &err));
    assert_int_equal(symlinkat("target", top, "g.partial"), 0);
    OK(ww_file_write_at(top, "g", "new", 3, 0, false, &err));
    assert_holds("g", "new");
    assert_holds("target", "safe");
}

static void failed_write_leaves_nothing(void **state)
{
    (void)state;
    static const struct {
        enum ww_fault kind;
        enum ww_err want;
    } rows[] = {
        {WW_FAULT_WRITE, WW_E_NOSPACE},
        {WW_FAULT_FSYNC, WW_E_IO},
        {WW_FAULT_RENAME, WW_E_IO},
    };
    struct ww_error err;
    OK(ww_file_write_at(top, "h", "old", 3, 0, false, &err));
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        ww_fault_arm(rows[i].kind, 1);
        FAILS(ww_file_write_at(top, "h", "new", 3, 0, true, &err), rows[i].want);
        ww_fault_arm(rows[i].kind, 0);
        assert_false(exists("h.partial"));
        assert_holds("h", "old");
    }
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    struct ww_error err;
    unsigned long n = 1;
    for (;; n++) {
        ww_error_clear(&err);
        ww_fault_arm(WW_FAULT_ALLOC, n);
        enum ww_err rc = ww_file_write_at(top, "alloc", "x", 1, 0, true, &err);
        bool was_hit = ww_fault_seen(WW_FAULT_ALLOC) >= n;
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_false(exists("alloc.partial"));
        if (!was_hit) {
            assert_int_equal(rc, WW_OK);
            break;
        }
        assert_int_equal(rc, WW_E_NOMEM);
        assert_false(exists("alloc"));
    }
    assert_true(n > 3);
}

static void plain_paths_are_written_and_read(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 3);
    char *path = ww_path_join(folder, "by_path");
    OK(ww_file_write(path, "abc", 3, 0644, false, &err));
    OK(ww_file_read(path, &buf, &err));
    assert_string_equal(ww_buf_cstr(&buf), "abc");
    OK(ww_file_read(path, &buf, &err));
    assert_int_equal(buf.len, 3);
    FAILS(ww_file_write(path, "abcd", 4, 0644, false, &err), WW_E_EXISTS);
    OK(ww_file_write(path, "abcd", 4, 0644, true, &err));
    FAILS(ww_file_read(path, &buf, &err), WW_E_LIMIT);
    FAILS(ww_file_read("/nonexistent", &buf, &err), WW_E_NOTFOUND);
    FAILS(ww_file_write("/nonexistent/x", "a", 1, 0, false, &err), WW_E_NOTFOUND);
    FAILS(ww_file_write("/tmp/", "a", 1, 0, false, &err), WW_E_PATH);
    FAILS(ww_file_write("", "a", 1, 0, false, &err), WW_E_PATH);
    ww_free(path);
    ww_buf_release(&buf);
}

static void reads_and_writes_hit_their_offset(void **state)
{
    (void)state;
    struct ww_error err;
    char bytes[4];
    int fd = openat(top, "offsets", O_RDWR | O_CREAT, 0644);
    OK(ww_pwrite_full(fd, "abcdef", 6, 0, "offsets", &err));
    OK(ww_pwrite_full(fd, "XY", 2, 2, "offsets", &err));
    OK(ww_pread_full(fd, bytes, 4, 1, "offsets", &err));
    assert_memory_equal(bytes, "bXYe", 4);
    OK(ww_pread_full(fd, bytes, 0, 100, "offsets", &err));
    FAILS(ww_pread_full(fd, bytes, 4, 3, "offsets", &err), WW_E_IO);
    assert_non_null(strstr(err.text, "'offsets' ends at byte 6, expected at least 7"));
    FAILS(ww_pread_full(fd, bytes, 1, UINT64_MAX, "offsets", &err), WW_E_USAGE);
    FAILS(ww_pread_full(fd, bytes, 2, INT64_MAX, "offsets", &err), WW_E_USAGE);
    FAILS(ww_pwrite_full(fd, bytes, 1, UINT64_MAX, "offsets", &err), WW_E_USAGE);
    ww_fault_arm(WW_FAULT_READ, 1);
    FAILS(ww_pread_full(fd, bytes, 1, 0, "offsets", &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_READ, 0);
    close(fd);
    FAILS(ww_pread_full(fd, bytes, 1, 0, "offsets", &err), WW_E_IO);
    FAILS(ww_pwrite_full(fd, bytes, 1, 0, "offsets", &err), WW_E_IO);
    FAILS(ww_fsync(fd, "offsets", &err), WW_E_IO);
}

static void full_device_is_no_space(void **state)
{
    (void)state;
    struct ww_error err;
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0) {
        skip();
    }
    FAILS(ww_pwrite_full(fd, "x", 1, 0, "full", &err), WW_E_NOSPACE);
    close(fd);
}

static void changed_file_is_noticed(void **state)
{
    (void)state;
    struct ww_error err;
    struct stat st;
    int fd = openat(top, "changing", O_RDWR | O_CREAT, 0644);
    OK(ww_pwrite_full(fd, "abc", 3, 0, "changing", &err));
    assert_int_equal(fstat(fd, &st), 0);
    OK(ww_file_unchanged(fd, &st, "changing", &err));
    OK(ww_pwrite_full(fd, "d", 1, 3, "changing", &err));
    FAILS(ww_file_unchanged(fd, &st, "changing", &err), WW_E_CHANGED);
    /* Same size again, and the modification time set back: the change time tells. */
    assert_int_equal(ftruncate(fd, 3), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    usleep(20000);
    assert_int_equal(futimens(fd, times), 0);
    FAILS(ww_file_unchanged(fd, &st, "changing", &err), WW_E_CHANGED);
    close(fd);
    FAILS(ww_file_unchanged(fd, &st, "changing", &err), WW_E_IO);
}

static void rename_replaces_only_when_asked(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_file_write_at(top, "from", "1", 1, 0, false, &err));
    OK(ww_file_write_at(top, "to", "2", 1, 0, false, &err));
    FAILS(ww_rename_at(top, "from", top, "to", false, &err), WW_E_EXISTS);
    assert_holds("from", "1");
    assert_holds("to", "2");
    OK(ww_rename_at(top, "from", top, "to", true, &err));
    assert_holds("to", "1");
    assert_false(exists("from"));
    assert_int_equal(mkdirat(top, "target", 0755) == 0 || errno == EEXIST, 1);
    OK(ww_rename_at(top, "to", top, "fresh", false, &err));
    assert_holds("fresh", "1");
    FAILS(ww_rename_at(top, "gone", top, "x", true, &err), WW_E_NOTFOUND);
    FAILS(ww_rename_at(top, "fresh", top, "../x", true, &err), WW_E_PATH);
    FAILS(ww_rename_at(top, "a/../fresh", top, "x", true, &err), WW_E_PATH);
}

static void portable_rename_refuses_what_exists(void **state)
{
    (void)state;
    struct ww_error err;
    OK(ww_file_write_at(top, "p1", "1", 1, 0, false, &err));
    OK(ww_file_write_at(top, "p2", "2", 1, 0, false, &err));
    assert_int_equal(ww_rename_new_portable(top, "p1", top, "p2"), -1);
    assert_int_equal(errno, EEXIST);
    assert_holds("p2", "2");
    assert_int_equal(ww_rename_new_portable(top, "p1", top, "p3"), 0);
    assert_holds("p3", "1");
    assert_false(exists("p1"));
    assert_int_equal(ww_rename_new_portable(top, "p1", top, "p4"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mkdirat(top, "pd1", 0755), 0);
    assert_int_equal(mkdirat(top, "pd2", 0755), 0);
    assert_int_equal(ww_rename_new_portable(top, "pd1", top, "pd2"), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(ww_rename_new_portable(top, "pd1", top, "pd3"), 0);
    assert_true(exists("pd3") && !exists("pd1"));
}

static void failed_read_gives_no_bytes(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 100);
    OK(ww_file_write_at(top, "readme", "text", 4, 0, false, &err));
    ww_fault_arm(WW_FAULT_READ, 1);
    FAILS(ww_file_read_at(top, "readme", WW_LINKS_REFUSE, &buf, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_READ, 0);
    assert_int_equal(buf.len, 0);
    assert_string_equal(ww_buf_cstr(&buf), "");
    FAILS(ww_file_read_at(top, "gone", WW_LINKS_REFUSE, &buf, &err), WW_E_NOTFOUND);
    ww_buf_release(&buf);
}

static void rename_moves_between_folders(void **state)
{
    (void)state;
    struct ww_error err;
    assert_int_equal(mkdirat(top, "d1", 0755), 0);
    assert_int_equal(mkdirat(top, "d2", 0755), 0);
    OK(ww_file_write_at(top, "d1/x", "1", 1, 0, false, &err));
    OK(ww_rename_at(top, "d1/x", top, "d2/y", false, &err));
    assert_holds("d2/y", "1");
    OK(ww_rename_at(top, "d2", top, "d3", false, &err));
    assert_holds("d3/y", "1");
    FAILS(ww_rename_at(top, "d3", top, "d1", false, &err), WW_E_EXISTS);
    assert_int_equal(symlinkat("d3", top, "d4"), 0);
    FAILS(ww_rename_at(top, "d3/y", top, "d4/z", false, &err), WW_E_PATH);
    assert_holds("d3/y", "1");
}

#define WRITERS 4
#define RACED_BYTES ((size_t)256 << 10)

struct writer {
    uint8_t *bytes;
    bool replace;
    enum ww_err rc;
};

static void *write_raced(void *payload)
{
    struct writer *w = payload;
    struct ww_error err = {0};
    w->rc = ww_file_write_at(top, "raced", w->bytes, RACED_BYTES, 0, w->replace, &err);
    return NULL;
}

/* Returns how many wrote, once the file was seen to be whole and that of one of them. */
static unsigned race(struct writer *w, bool replace)
{
    pthread_t threads[WRITERS];
    struct ww_buf buf;
    struct ww_error err;
    unsigned n_wrote = 0;

    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].replace = replace;
        assert_int_equal(pthread_create(&threads[i], NULL, write_raced, &w[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(w[i].rc == WW_OK || (!replace && w[i].rc == WW_E_EXISTS));
        n_wrote += w[i].rc == WW_OK;
    }
    ww_buf_init(&buf, RACED_BYTES);
    OK(ww_file_read_at(top, "raced", WW_LINKS_REFUSE, &buf, &err));
    assert_int_equal(buf.len, RACED_BYTES);
    const struct writer *of = &w[buf.data[0] % WRITERS];
    assert_memory_equal(buf.data, of->bytes, RACED_BYTES);
    assert_int_equal(of->rc, WW_OK);
    ww_buf_release(&buf);
    assert_false(exists("raced.partial"));
    return n_wrote;
}

static void writers_at_once_do_not_name_the_files_of_others(void **state)
{
    (void)state;
    struct writer w[WRITERS] = {{0}};

    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].bytes = ww_calloc(1, RACED_BYTES);
        assert_non_null(w[i].bytes);
        memset(w[i].bytes, (int)(WRITERS + i), RACED_BYTES);
    }
    for (unsigned round = 0; round < 5; round++) {
        assert_int_equal(race(w, true), WRITERS);
        assert_int_equal(unlinkat(top, "raced", 0), 0);
        assert_int_equal(race(w, false), 1);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        ww_free(w[i].bytes);
    }
}

static void a_file_in_the_making_is_its_writers(void **state)
{
    (void)state;
    struct ww_error err = {0};
    int fd = -1;
    int other = -1;

    OK(ww_partial_open(top, "p.partial", "p.partial", 0600, 0, &fd, &err));
    FAILS(ww_partial_open(top, "p.partial", "p.partial", 0600, 10, &other, &err),
          WW_E_EXISTS);
    assert_non_null(strstr(err.text, "is being written by another run"));
    assert_int_equal(other, -1);
    close(fd);
    OK(ww_partial_open(top, "p.partial", "p.partial", 0600, 0, &other, &err));
    ww_partial_remove(top, "p.partial", other);
    assert_false(exists("p.partial"));
    OK(ww_partial_open(top, "p.partial", "p.partial", 0600, 0, &fd, &err));
    ww_partial_remove(top, "p.partial", other); /* another file by now */
    assert_true(exists("p.partial"));
    ww_partial_remove(top, "p.partial", fd);
    close(other);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_file_reads_back),
        cmocka_unit_test(existing_file_is_kept_unless_asked),
        cmocka_unit_test(leftover_partial_is_no_obstacle),
        cmocka_unit_test(failed_write_leaves_nothing),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(plain_paths_are_written_and_read),
        cmocka_unit_test(reads_and_writes_hit_their_offset),
        cmocka_unit_test(full_device_is_no_space),
        cmocka_unit_test(changed_file_is_noticed),
        cmocka_unit_test(rename_replaces_only_when_asked),
        cmocka_unit_test(portable_rename_refuses_what_exists),
        cmocka_unit_test(failed_read_gives_no_bytes),
        cmocka_unit_test(rename_moves_between_folders),
        cmocka_unit_test(writers_at_once_do_not_name_the_files_of_others),
        cmocka_unit_test(a_file_in_the_making_is_its_writers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
