/* SPDX-License-Identifier: Apache-2.0 */
/* The output folder: never half there, never over something else. */
#include <sys/file.h>
#include <sys/mount.h>

#include "stream/out.h"
#include "stream_fixture.h"
#include "util/fault.h"

static struct fx *small(void)
{
    struct fx *f = fx_new(NULL, 5);
    uint32_t a = fx_input(f, 10000, true);
    struct ww_piece_source at = {a, 0};
    fx_output(f, "model.bin");
    fx_tensor(f, &at, 1, 100, 100, FX_REVERSE);
    fx_output(f, "deep/er/side.json");
    fx_copy(f, a, 5, 500, false);
    return f;
}

static char *in_dir(const struct fx *f, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", f->dir, name) > 0);
    return path;
}

static void put(const struct fx *f, const char *name, const char *text)
{
    char *path = in_dir(f, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    free(path);
}

static void out_appears_on_commit_only(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_stream_result result;

    OK(ww_out_begin(f->out, &f->plan, 100, NULL, &out, &err));
    assert_true(fx_exists(f, "out.partial/.weightward-journal"));
    FAILS(ww_out_commit(out, &err), WW_E_USAGE); /* nothing was run */
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    assert_false(fx_exists(f, "out"));
    OK(ww_out_add(out, "attestations/x.json", "{}", 2, &err));
    OK(ww_out_add(out, "attestations/x.json", "{ }", 3, &err));
    OK(ww_out_add(out, "model.sig", "s", 1, &err));
    FAILS(ww_out_add(out, "../x", "s", 1, &err), WW_E_PATH);
    FAILS(ww_out_add(out, ".weightward-journal", "s", 1, &err), WW_E_PATH);
    struct stat st;
    assert_int_equal(fstatat(ww_out_dirfd(out), "attestations/x.json", &st, 0), 0);
    assert_int_equal(st.st_size, 3);
    OK(ww_out_commit(out, &err));
    FAILS(ww_out_commit(out, &err), WW_E_USAGE);
    ww_out_close(out, false);
    fx_check_out(f);
    assert_true(fx_exists(f, "out/model.sig"));
    ww_stream_result_release(&result);
    fx_free(f);
}

static void out_close_removes_or_keeps(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;

    ww_out_close(NULL, false);
    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    ww_out_close(out, true);
    assert_true(fx_exists(f, "out.partial"));
    FAILS(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err), WW_E_EXISTS);
    assert_null(out);
    assert_true(fx_exists(f, "out.partial"));
    struct ww_run_options resume = {.resume = true};
    OK(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err));
    ww_out_close(out, false);
    assert_false(fx_exists(f, "out.partial"));
    OK(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err)); /* nothing to resume */
    ww_out_close(out, false);
    fx_free(f);
}

static void out_refuses_what_is_there(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_run_options resume = {.resume = true};

    put(f, "out", "a file");
    FAILS(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err), WW_E_EXISTS);
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_EXISTS);
    assert_false(fx_exists(f, "out.partial"));
    fx_remove_out(f);
    char *partial = in_dir(f, "out.partial");
    assert_int_equal(mkdir(partial, 0755), 0);
    put(f, "out.partial/thesis.txt", "mine");
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_EXISTS);
    put(f, "out.partial/.weightward-journal", "weightward journal 1\nnonsense\n");
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_EXISTS);
    put(f, "out.partial/.weightward-journal",
        "a text that is a good deal longer than any journal that was ever written by "
        "this "
        "program, on purpose, to see that it is not even read");
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_EXISTS);
    assert_true(fx_exists(f, "out.partial/thesis.txt"));
    fx_remove_out(f);
    assert_int_equal(symlink(f->dir, partial), 0);
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_IO);
    assert_int_equal(unlink(partial), 0);
    free(partial);
    fx_free(f);
}

static void out_refuses_bad_names(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    char *lost = in_dir(f, "no/such/out");

    FAILS(ww_out_begin("", &f->plan, 0, NULL, &out, &err), WW_E_PATH);
    FAILS(ww_out_begin("/", &f->plan, 0, NULL, &out, &err), WW_E_PATH);
    FAILS(ww_out_begin("..", &f->plan, 0, NULL, &out, &err), WW_E_PATH);
    FAILS(ww_out_begin(lost, &f->plan, 0, NULL, &out, &err), WW_E_NOTFOUND);
    free(lost);
    char *slashes = in_dir(f, "out///");
    OK(ww_out_begin(slashes, &f->plan, 0, NULL, &out, &err));
    assert_true(fx_exists(f, "out.partial"));
    ww_out_close(out, false);
    free(slashes);
    fx_free(f);
}

static void out_of_another_plan_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_run_options resume = {.resume = true};

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    ww_out_close(out, true);
    f->pieces[0][0].params_digest[0] ^= 1;
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err), WW_E_EXISTS);
    assert_true(fx_exists(f, "out.partial/.weightward-journal"));
    f->pieces[0][0].params_digest[0] ^= 1;
    OK(ww_out_begin(f->out, &f->plan, 0, &resume, &out, &err));
    ww_out_close(out, false);
    fx_free(f);
}

static void out_is_locked_while_open(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_out *second = NULL;
    struct ww_run_options resume = {.resume = true};

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    FAILS(ww_out_begin(f->out, &f->plan, 0, &resume, &second, &err), WW_E_EXISTS);
    assert_non_null(strstr(err.text, "another run"));
    assert_true(fx_exists(f, "out.partial"));
    ww_out_close(out, false);
    fx_free(f);
}

/* Every place a kill can leave the journal in. */
static void out_resumes_from_any_state(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_stream_result result;
    struct ww_run_options resume = {.resume = true};
    struct ww_out *out = NULL;
    char *partial = in_dir(f, "out.partial");
    char *inside = in_dir(f, "out.partial/.weightward-journal");
    char *beside = in_dir(f, "out.partial.journal");

    assert_int_equal(mkdir(partial, 0755), 0); /* before the journal */
    OK(fx_go(f, &resume, &result, false, &err));
    fx_check_out(f);
    ww_stream_result_release(&result);
    fx_remove_out(f);

    assert_int_equal(mkdir(partial, 0755), 0); /* in the middle of the journal */
    put(f, "out.partial/.weightward-journal.partial", "weight");
    OK(fx_go(f, &resume, &result, false, &err));
    fx_check_out(f);
    assert_false(fx_exists(f, "out/.weightward-journal.partial"));
    ww_stream_result_release(&result);
    fx_remove_out(f);

    fx_reset(f);
    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err)); /* while committing */
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    OK(ww_out_add(out, "model.sig", "old", 3, &err));
    ww_out_close(out, true);
    assert_int_equal(rename(inside, beside), 0);
    ww_stream_result_release(&result);
    OK(fx_go(f, &resume, &result, false, &err));
    assert_int_equal(result.report.bytes_kept, 10500);
    assert_int_equal(result.report.bytes_written, 0);
    fx_check_out(f);
    assert_false(fx_exists(f, "out/model.sig")); /* of the earlier run */
    ww_stream_result_release(&result);
    free(partial);
    free(inside);
    free(beside);
    fx_free(f);
}

static void out_checks_space(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;

    FAILS(ww_out_begin(f->out, &f->plan, UINT64_MAX / 4, NULL, &out, &err), WW_E_NOSPACE);
    assert_false(fx_exists(f, "out.partial"));
    FAILS(ww_out_begin(f->out, &f->plan, UINT64_MAX, NULL, &out, &err), WW_E_NOSPACE);
    fx_free(f);
}

/* A real full disk, where the test may mount one. */
static void out_fits_a_small_disk(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 5);
    char *disk = in_dir(f, "disk");
    uint32_t a = fx_input(f, 5 << 20, true);
    struct ww_stream_result result;

    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("none", disk, "tmpfs", 0, "size=4m") != 0) {
        free(disk);
        fx_free(f);
        skip();
    }
    free(f->out);
    f->out = in_dir(f, "disk/out");
    fx_output(f, "a");
    fx_copy(f, a, 0, 3 << 20, false);
    enum ww_err fits = fx_go(f, NULL, &result, false, &err);
    if (!fits) {
        fx_check_file(f, 0);
    }
    ww_stream_result_release(&result);
    fx_remove_out(f);
    fx_output(f, "b");
    fx_copy(f, a, 0, 2 << 20, false);
    enum ww_err full = fx_go(f, NULL, &result, false, &err);
    bool left = fx_exists(f, "disk/out.partial");
    assert_int_equal(umount(disk), 0);
    assert_int_equal(fits, WW_OK);
    assert_int_equal(full, WW_E_NOSPACE);
    assert_false(left);
    free(disk);
    fx_free(f);
}

/* OUT made by someone else between begin and commit stays as it is. */
static void out_commit_never_replaces(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_stream_result result;
    struct stat st;

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    assert_int_equal(mkdir(f->out, 0700), 0);
    FAILS(ww_out_commit(out, &err), WW_E_EXISTS);
    ww_out_close(out, false);
    assert_int_equal(stat(f->out, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_false(fx_exists(f, "out.partial"));
    assert_false(fx_exists(f, "out.partial.journal"));
    ww_stream_result_release(&result);
    fx_free(f);
}

/* The last flush fails after the rename: the rename is taken back. */
static void out_commit_takes_a_failed_rename_back(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_out *out = NULL;
    struct ww_stream_result result;

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    ww_fault_arm(WW_FAULT_FSYNC, 1000);
    OK(ww_out_commit(out, &err));
    unsigned long flushes = ww_fault_seen(WW_FAULT_FSYNC);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    ww_out_close(out, false);
    ww_stream_result_release(&result);
    fx_remove_out(f);
    assert_true(flushes >= 3);
    fx_reset(f);

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    ww_fault_arm(WW_FAULT_FSYNC, flushes);
    FAILS(ww_out_commit(out, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    assert_false(fx_exists(f, "out"));
    assert_true(fx_exists(f, "out.partial"));
    ww_out_close(out, true);
    ww_stream_result_release(&result);
    struct ww_run_options resume = {.resume = true};
    OK(fx_go(f, &resume, &result, false, &err));
    fx_check_out(f);
    ww_stream_result_release(&result);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_appears_on_commit_only),
        cmocka_unit_test(out_close_removes_or_keeps),
        cmocka_unit_test(out_refuses_what_is_there),
        cmocka_unit_test(out_refuses_bad_names),
        cmocka_unit_test(out_of_another_plan_is_refused),
        cmocka_unit_test(out_is_locked_while_open),
        cmocka_unit_test(out_resumes_from_any_state),
        cmocka_unit_test(out_checks_space),
        cmocka_unit_test(out_fits_a_small_disk),
        cmocka_unit_test(out_commit_never_replaces),
        cmocka_unit_test(out_commit_takes_a_failed_rename_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
