/* SPDX-License-Identifier: Apache-2.0 */
/* Locks that are cancelled, killed, starved of memory, or whose source moves under them:
 * OUT is whole or not there, and a resumed run ends with the bytes of an undisturbed one.
 */
#include "folder_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "util/fault.h"

static int cancel(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    ++*(int *)payload;
    return 1;
}

static char *partial_of(const char *path)
{
    char *partial = NULL;
    assert_true(asprintf(&partial, "%s.partial", path) > 0);
    return partial;
}

/* Lock undisturbed, under another name, to compare with. */
static char *reference(struct folders *f)
{
    struct ww_error err = {0};
    struct ww_lock_report report;
    struct ww_lock_options options = {.secret = f->secret};
    char *path = path_in(f->dir, "reference");
    OK(ww_lock_folder(f->model, path, &options, &report, &err));
    ww_lock_report_release(&report);
    return path;
}

/* The statement names the folder, so only the rest is the same. */
static void same_but_for_the_name(const char *a, const char *b)
{
    shell("diff -r -x attestations '%s' '%s'", a, b);
}

static void a_cancelled_lock_goes_on_when_told_to(void **state)
{
    (void)state;
    struct folders f;
    int calls = 0;
    folders_init(&f);
    char *want = reference(&f);
    char *partial = partial_of(f.locked);
    f.options.run.progress = cancel;
    f.options.run.progress_payload = &calls;
    must(&f, do_lock(&f), WW_E_CANCELLED);
    assert_int_equal(calls, 1);
    assert_true(exists(partial));
    assert_false(exists(f.locked));
    f.options.run.progress = NULL;
    must(&f, do_lock(&f), WW_E_EXISTS);
    f.options.run.resume = true;
    must(&f, do_lock(&f), WW_OK);
    assert_false(exists(partial));
    same_but_for_the_name(f.locked, want);
    must(&f, do_unlock(&f), WW_OK);
    same_folders(f.model, f.back);
    free(partial);
    free(want);
    folders_free(&f);
}

/* Another key is another plan: what the first left is not continued. */
static void resume_refuses_another_key(void **state)
{
    (void)state;
    struct folders f;
    int calls = 0;
    folders_init(&f);
    f.options.run.progress = cancel;
    f.options.run.progress_payload = &calls;
    must(&f, do_lock(&f), WW_E_CANCELLED);
    struct ww_secret *other = fx_secret(99);
    f.options.run.progress = NULL;
    f.options.run.resume = true;
    f.options.secret = other;
    must(&f, do_lock(&f), WW_E_EXISTS);
    f.options.secret = f.secret;
    must(&f, do_lock(&f), WW_OK);
    ww_secret_free(other);
    folders_free(&f);
}

static void a_killed_lock_leaves_no_half_and_resumes(void **state)
{
    (void)state;
    struct folders f;
    unsigned n_partial = 0;
    folders_init(&f);
    char *want = reference(&f);
    char *partial = partial_of(f.locked);
    for (unsigned delay_ms = 5; delay_ms < 400; delay_ms = delay_ms * 3 / 2) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(do_lock(&f) != WW_OK);
        }
        usleep(delay_ms * 1000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        n_partial += exists(partial);
        if (!exists(f.locked)) {
            f.options.run.resume = true;
            must(&f, do_lock(&f), WW_OK);
        }
        f.options.run.resume = false;
        same_but_for_the_name(f.locked, want);
        assert_false(exists(partial));
        shell("rm -r '%s'", f.locked);
    }
    print_message("killed with a partial folder: %u times\n", n_partial);
    free(partial);
    free(want);
    folders_free(&f);
}

static int touch_source(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    const struct folders *f = payload;
    (void)phase;
    (void)done;
    (void)total;
    char *path = path_in(f->model, "model.safetensors");
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    free(path);
    return 0;
}

static void a_source_that_changes_is_refused(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    f.options.run.progress = touch_source;
    f.options.run.progress_payload = &f;
    must(&f, do_lock(&f), WW_E_CHANGED);
    nothing_at(f.locked);
    folders_free(&f);
}

/* Every so-manieth allocation fails: an error, no OUT, no leak (with a sanitizer). */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    f.options.run.threads = 1;
    ww_fault_arm(WW_FAULT_ALLOC, 1ul << 40);
    must(&f, do_lock(&f), WW_OK);
    unsigned long n_lock = ww_fault_seen(WW_FAULT_ALLOC);
    ww_fault_arm(WW_FAULT_ALLOC, 1ul << 40);
    must(&f, do_unlock(&f), WW_OK);
    unsigned long n_unlock = ww_fault_seen(WW_FAULT_ALLOC);
    shell("rm -r '%s'", f.back);
    for (unsigned long n = 1; n < n_unlock; n += n < 20 ? 1 : n / 5) {
        ww_fault_arm(WW_FAULT_ALLOC, n);
        must(&f, do_unlock(&f), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        nothing_at(f.back);
    }
    shell("rm -r '%s'", f.locked);
    for (unsigned long n = 1; n < n_lock; n += n < 20 ? 1 : n / 5) {
        ww_fault_arm(WW_FAULT_ALLOC, n);
        must(&f, do_lock(&f), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        nothing_at(f.locked);
    }
    folders_free(&f);
}

static void disk_faults_leave_nothing(void **state)
{
    (void)state;
    static const enum ww_fault kinds[] = {WW_FAULT_READ, WW_FAULT_WRITE, WW_FAULT_FSYNC,
                                          WW_FAULT_RENAME};
    struct folders f;
    folders_init(&f);
    for (size_t k = 0; k < 4; k++) {
        ww_fault_arm(kinds[k], 1ul << 40);
        must(&f, do_lock(&f), WW_OK);
        unsigned long seen = ww_fault_seen(kinds[k]);
        assert_true(seen > 0);
        shell("rm -r '%s'", f.locked);
        for (unsigned long n = 1; n <= seen; n += 1 + seen / 8) {
            ww_fault_arm(kinds[k], n);
            enum ww_err rc = do_lock(&f);
            ww_fault_arm(kinds[k], 0);
            assert_int_not_equal(rc, WW_OK);
            assert_int_equal(ww_err_class_of(rc), WW_CLASS_SYSTEM);
            nothing_at(f.locked);
        }
    }
    folders_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_lock_goes_on_when_told_to),
        cmocka_unit_test(resume_refuses_another_key),
        cmocka_unit_test(a_killed_lock_leaves_no_half_and_resumes),
        cmocka_unit_test(a_source_that_changes_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(disk_faults_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
