/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run that is killed, at any moment, leaves no OUT, and the run that continues it gives
 * the same files. Killed for real: SIGKILL to a child after delays from a seeded list,
 * and at chosen writes, flushes and renames.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "stream_fixture.h"
#include "util/fault.h"

#define MIB ((uint64_t)1 << 20)

/* In the child: run with resume; at the armed call die as by a power cut. */
static pid_t start_child(struct fx *f, enum ww_fault kind, unsigned long n)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    struct ww_run_options options = {.threads = 2, .resume = true};
    struct ww_stream_result result;
    struct ww_out *out = NULL;
    struct ww_error err = {0};
    fx_reset(f);
    ww_fault_arm(kind, n);
    if (ww_out_begin(f->out, &f->plan, 0, &options, &out, &err) ||
        ww_stream_run(&f->plan, out, &options, &result, &err) ||
        ww_out_commit(out, &err)) {
        raise(SIGKILL);
    }
    _exit(0);
}

static bool killed(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return WIFSIGNALED(status);
}

/* OUT must not be there after a kill; then finish the job and check all of it. */
static uint64_t finish(struct fx *f)
{
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct ww_run_options options = {.threads = 2, .resume = true};

    assert_false(fx_exists(f, "out"));
    OK(fx_go(f, &options, &result, false, &err));
    fx_check_digests(f, &result);
    fx_check_out(f);
    uint64_t kept = result.report.bytes_kept;
    uint64_t total = 0;
    for (uint32_t o = 0; o < f->plan.n_outputs; o++) {
        total += f->outputs[o].size_bytes;
    }
    assert_int_equal(kept + result.report.bytes_written, total);
    ww_stream_result_release(&result);
    return kept;
}

static void resume_after_kill_at_any_time(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    uint64_t seed = 31;
    unsigned kills = 0;
    uint64_t kept = 0;

    for (unsigned round = 0; round < 12; round++) {
        /* Often twice in a row, so that a continued run is killed as well. */
        unsigned times = 1 + round % 2;
        for (unsigned k = 0; k < times && !fx_exists(f, "out"); k++) {
            pid_t pid = start_child(f, WW_FAULT_WRITE, 0);
            struct timespec delay = {0, (long)(fx_random(&seed) % 150) * 1000000L};
            nanosleep(&delay, NULL);
            kill(pid, SIGKILL);
            kills += killed(pid) ? 1 : 0;
        }
        if (!fx_exists(f, "out")) {
            kept += finish(f);
        } else {
            for (uint32_t o = 0; o < f->plan.n_outputs; o++) {
                fx_check_file(f, o);
            }
        }
        fx_remove_out(f);
    }
    assert_true(kills > 0);
    (void)kept;
    fx_free(f);
}

static void resume_after_kill_at(enum ww_fault kind, unsigned long step)
{
    struct fx *f = fx_mixed(NULL, 1);
    bool hit = true;

    for (unsigned long n = 1; hit && n < 200; n += step) {
        hit = killed(start_child(f, kind, n));
        if (hit) {
            finish(f);
        }
        fx_remove_out(f);
    }
    assert_false(hit); /* beyond the last call the child finishes */
    fx_free(f);
}

static void resume_after_kill_at_writes(void **state)
{
    (void)state;
    resume_after_kill_at(WW_FAULT_WRITE, 2);
}

static void resume_after_kill_at_flushes(void **state)
{
    (void)state;
    resume_after_kill_at(WW_FAULT_FSYNC, 1);
}

static void resume_after_kill_at_renames(void **state)
{
    (void)state;
    resume_after_kill_at(WW_FAULT_RENAME, 1);
}

/* Blocks damaged meanwhile are found and written again; the rest is kept. */
static void resume_repairs_what_differs(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    struct ww_error err = {0};
    struct ww_out *out = NULL;
    struct ww_stream_result result;
    char *path = NULL;

    OK(ww_out_begin(f->out, &f->plan, 0, NULL, &out, &err));
    OK(ww_stream_run(&f->plan, out, NULL, &result, &err));
    ww_stream_result_release(&result);
    ww_out_close(out, true);
    assert_true(asprintf(&path, "%s.partial/%s", f->out, f->outputs[0].path) > 0);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "damaged", 7, 4 * MIB + 5), 7);
    assert_int_equal(ftruncate(fd, (off_t)f->outputs[0].size_bytes + 100000), 0);
    close(fd);
    free(path);
    assert_true(asprintf(&path, "%s.partial/side.json", f->out) > 0);
    assert_int_equal(unlink(path), 0);
    free(path);
    fx_reset(f);
    uint64_t kept = finish(f);
    assert_true(kept > 0);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resume_after_kill_at_any_time),
        cmocka_unit_test(resume_after_kill_at_writes),
        cmocka_unit_test(resume_after_kill_at_flushes),
        cmocka_unit_test(resume_after_kill_at_renames),
        cmocka_unit_test(resume_repairs_what_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
