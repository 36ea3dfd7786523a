/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program gets an empty input and a pipe for its answer. Each leads a process group, so
 * that what it started ends with it.
 */
#include "evo/evaluator_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/process.h"

#define OWN_ARGUMENTS 3

/* The program's own arguments, then ours; the strings are borrowed. */
static char **arguments(const char *const *argv, const struct ww_trial *trial,
                        const char *seed)
{
    const char *own[OWN_ARGUMENTS] = {trial->path, trial->part, seed};
    size_t n = 0;
    while (argv[n]) {
        n++;
    }
    char **all = ww_calloc(n + OWN_ARGUMENTS + 1, sizeof(*all));
    for (size_t i = 0; all && i < n + OWN_ARGUMENTS; i++) {
        all[i] = (char *)(uintptr_t)(i < n ? argv[i] : own[i - n]);
    }
    return all;
}

enum ww_err ww_evaluator_start(const struct ww_evaluator *evaluator,
                               const struct ww_trial *trial, struct ww_evaluator_run *run,
                               struct ww_error *err)
{
    int ends[2] = {-1, -1};
    char seed[24];
    snprintf(seed, sizeof(seed), "%" PRIu64, trial->seed);
    char **argv = arguments(evaluator->argv, trial, seed);
    if (!argv) {
        return WW_FAIL_MEMORY(err, "an evaluator's arguments");
    }
    int e = pipe2(ends, O_CLOEXEC) != 0 ? errno : 0;
    if (!e) {
        e = ww_process_start(argv, -1, ends[1], true, &run->pid);
        close(ends[1]);
    }
    ww_free(argv);
    if (e) {
        if (ends[0] >= 0) {
            close(ends[0]);
        }
        run->pid = 0;
        return WW_FAIL_SYS(err, e == ENOENT ? WW_E_NOTFOUND : WW_E_IO, e,
                           "evaluator '%s' cannot be started", evaluator->argv[0]);
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    run->out = ends[0];
    run->deadline = ww_now_ms() + (int64_t)evaluator->seconds * 1000;
    ww_buf_init(&run->text, WW_EVALUATOR_ANSWER_BYTES);
    return WW_OK;
}

bool ww_evaluator_take(struct ww_evaluator_run *run)
{
    uint8_t bytes[4096];
    while (run->out >= 0) {
        ssize_t n = read(run->out, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return true;
        }
        if (n <= 0) {
            close(run->out);
            run->out = -1;
        } else if (ww_buf_add(&run->text, bytes, (size_t)n, NULL) != WW_OK) {
            return false;
        }
    }
    return true;
}

bool ww_evaluator_ended(const struct ww_evaluator_run *run, int *status)
{
    return waitpid(run->pid, status, WNOHANG) == run->pid;
}

void ww_evaluator_clear(struct ww_evaluator_run *run)
{
    if (run->out >= 0) {
        close(run->out);
    }
    ww_buf_release(&run->text);
    *run = (struct ww_evaluator_run){.out = -1};
}

void ww_evaluator_kill(struct ww_evaluator_run *run)
{
    int status = 0;
    if (run->pid > 0) {
        kill(-run->pid, SIGKILL);
        kill(run->pid, SIGKILL); /* where the group is not yet made */
        while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    ww_evaluator_clear(run);
}
