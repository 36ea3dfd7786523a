/* SPDX-License-Identifier: Apache-2.0 */
/* What is written comes back to the bit; cut ends are cut off, damage is refused. */
#include "ww_test.h"

#include <unistd.h>

#include "evo/journal.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/fs.h"

static struct ww_error err;

static const uint8_t run[32] = {1, 2, 3};
static const double some[] = {0.1, -0.0, 5e-324, 1.7976931348623157e308};

static struct ww_journal_entry entry_of(uint32_t n)
{
    struct ww_journal_entry e = {
        .attempts = 2, .n = n, .scores = (double *)(uintptr_t)some};
    e.what[0] = (uint8_t)n;
    if (n == 0) {
        e.why = (char *)(uintptr_t) "ended with status 3";
    }
    return e;
}

static char *write_some(char **folder)
{
    struct ww_journal *j = NULL;
    *folder = ww_test_mkdir();
    char *path = ww_path_join(*folder, "j");
    OK(ww_journal_open(path, run, &j, &err));
    for (uint32_t i = 0; i < 4; i++) {
        struct ww_journal_entry e = entry_of(i % 2 ? 0 : i + 1);
        OK(ww_journal_add(j, 10 - i, &e, &err));
    }
    struct ww_journal_entry twice = entry_of(1);
    FAILS(ww_journal_add(j, 10, &twice, &err), WW_E_USAGE);
    ww_journal_close(j);
    return path;
}

static void done(char *path, char *folder)
{
    ww_free(path);
    ww_test_rmdir(folder);
}

static void trials_come_back_to_the_bit(void **state)
{
    (void)state;
    char *folder = NULL;
    struct ww_journal *j = NULL;
    char *path = write_some(&folder);
    OK(ww_journal_open(path, run, &j, &err));
    assert_int_equal(ww_journal_count(j), 4);
    assert_null(ww_journal_find(j, 0));
    assert_null(ww_journal_find(j, 100000));
    const struct ww_journal_entry *e = ww_journal_find(j, 8);
    assert_int_equal(e->n, 3);
    assert_memory_equal(e->scores, some, sizeof(double[3]));
    assert_int_equal(e->what[0], 3);
    assert_int_equal(e->attempts, 2);
    assert_string_equal(ww_journal_find(j, 9)->why, "ended with status 3");
    struct ww_journal *second = NULL;
    FAILS(ww_journal_open(path, run, &second, &err), WW_E_IO);
    ww_journal_close(j);
    done(path, folder);
}

static void a_cut_end_is_cut_off_anywhere(void **state)
{
    (void)state;
    char *folder = NULL;
    char *path = write_some(&folder);
    struct ww_buf whole;
    ww_buf_init(&whole, 1 << 20);
    OK(ww_file_read(path, &whole, &err));
    for (size_t len = 0; len < whole.len; len += 7) {
        struct ww_journal *j = NULL;
        size_t lines = 0;
        for (size_t i = 0; i < len; i++) {
            lines += whole.data[i] == '\n';
        }
        OK(ww_file_write(path, whole.data, len, 0600, true, &err));
        OK(ww_journal_open(path, run, &j, &err));
        assert_int_equal(ww_journal_count(j), lines ? lines - 1 : 0);
        struct ww_journal_entry e = entry_of(2);
        OK(ww_journal_add(j, 50, &e, &err));
        ww_journal_close(j);
        OK(ww_journal_open(path, run, &j, &err));
        assert_int_equal(ww_journal_find(j, 50)->n, 2);
        ww_journal_close(j);
    }
    ww_buf_release(&whole);
    done(path, folder);
}

static void damage_and_other_runs_are_refused(void **state)
{
    (void)state;
    char *folder = NULL;
    char *path = write_some(&folder);
    struct ww_journal *j = NULL;
    struct ww_buf whole;
    const uint8_t other[32] = {9};
    FAILS(ww_journal_open(path, other, &j, &err), WW_E_EXISTS);
    assert_null(j);
    ww_buf_init(&whole, 1 << 20);
    OK(ww_file_read(path, &whole, &err));
    for (size_t at = 0; at < whole.len; at += 5) {
        uint8_t kept = whole.data[at];
        struct ww_error e = {0};
        whole.data[at] = (uint8_t)(kept == '\n' ? ' ' : kept ^ 1);
        OK(ww_file_write(path, whole.data, whole.len, 0600, true, &err));
        bool last_newline = at + 1 == whole.len;
        enum ww_err rc = ww_journal_open(path, run, &j, &e);
        assert_true(last_newline || rc == WW_E_MALFORMED);
        ww_journal_close(j);
        whole.data[at] = kept;
    }
    ww_buf_release(&whole);
    done(path, folder);
}

/* The line, then the folder that has the new name. */
static void a_new_journal_is_flushed_with_its_name(void **state)
{
    (void)state;
    char *folder = ww_test_mkdir();
    char *path = ww_path_join(folder, "j");
    struct ww_journal *j = NULL;

    ww_fault_arm(WW_FAULT_FSYNC, 2);
    FAILS(ww_journal_open(path, run, &j, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    assert_null(j);
    OK(ww_journal_open(path, run, &j, &err));
    ww_journal_close(j);
    done(path, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trials_come_back_to_the_bit),
        cmocka_unit_test(a_cut_end_is_cut_off_anywhere),
        cmocka_unit_test(damage_and_other_runs_are_refused),
        cmocka_unit_test(a_new_journal_is_flushed_with_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
