/* SPDX-License-Identifier: Apache-2.0 */
/* Locks killed at one chosen system call: this program's own renameat2 and unlinkat,
 * which the library calls in place of libc's, end the process there with SIGKILL. */
#include "folder_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *deadly_unlink, *deadly_rename; /* endings of names */

static bool ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = end ? strlen(end) : 0;
    return end && n >= m && strcmp(name + n - m, end) == 0;
}

int unlinkat(int dirfd, const char *path, int flags)
{
    if (ends(path, deadly_unlink)) {
        raise(SIGKILL);
    }
    return (int)syscall(SYS_unlinkat, dirfd, path, flags);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned int flags)
{
    if (ends(from, deadly_rename)) {
        raise(SIGKILL);
    }
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static void lock_and_die(struct folders *f)
{
    const pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        _exit(do_lock(f) != WW_OK);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    deadly_unlink = deadly_rename = NULL;
}

static void the_next_run_removes_a_journal_beside_a_whole_folder(void **state)
{
    (void)state;
    for (int removed = 0; removed < 2; removed++) {
        struct folders f;
        folders_init(&f);
        char *journal = path_in(f.dir, "locked.partial.journal");
        deadly_unlink = ".partial.journal";
        lock_and_die(&f);
        assert_true(exists(journal));
        must(&f, do_unlock(&f), WW_OK);
        same_folders(f.model, f.back);
        if (removed) {
            shell("rm -r '%s'", f.locked);
        }
        must(&f, do_lock(&f), removed ? WW_OK : WW_E_EXISTS);
        assert_false(exists(journal));
        free(journal);
        folders_free(&f);
    }
}

static void a_kill_before_the_last_rename_is_resumed(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    char *journal = path_in(f.dir, "locked.partial.journal");
    deadly_rename = "locked.partial";
    lock_and_die(&f);
    assert_true(exists(journal));
    assert_false(exists(f.locked));
    must(&f, do_lock(&f), WW_E_EXISTS);
    assert_true(exists(journal)); /* it is what resuming needs */
    f.options.run.resume = true;
    must(&f, do_lock(&f), WW_OK);
    assert_false(exists(journal));
    must(&f, do_unlock(&f), WW_OK);
    same_folders(f.model, f.back);
    free(journal);
    folders_free(&f);
}

/* Something else of that name is not ours to remove. */
static void a_file_that_is_no_journal_stays(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    char *journal = path_in(f.dir, "locked.partial.journal");
    shell("echo notes > '%s' && mkdir '%s'", journal, f.locked);
    must(&f, do_lock(&f), WW_E_EXISTS);
    assert_true(exists(journal));
    free(journal);
    folders_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_run_removes_a_journal_beside_a_whole_folder),
        cmocka_unit_test(a_kill_before_the_last_rename_is_resumed),
        cmocka_unit_test(a_file_that_is_no_journal_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
