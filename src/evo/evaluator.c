/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of slots, one process in each, watched by one thread: trials take seconds to
 * minutes, so there is nothing to gain from more of our own.
 */
#include "evo/evaluator.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#include "evo/evaluator_run.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"

#define MAX_PARALLEL 256
#define TICK_MS 50 /* how late cancelling and deadlines may be noticed */
#define SOON_MS 2  /* a process that closed its output is about to end */
#define NOT_NOW 75 /* EX_TEMPFAIL */

struct work {
    const struct ww_evaluator *evaluator;
    struct ww_trial *trials;
    size_t n;
    size_t next;
    size_t done;
    struct ww_evaluator_run *slots; /* [evaluator->parallel] */
};

static void give_up(struct ww_trial *trial, const char *before, unsigned value,
                    const char *after)
{
    ww_free(trial->scores);
    trial->scores = NULL;
    trial->n = 0;
    snprintf(trial->why, sizeof(trial->why), "%s %u%s", before, value, after);
}

static enum ww_err attempt(struct work *w, struct ww_evaluator_run *slot, size_t trial,
                           struct ww_error *err)
{
    slot->trial = trial;
    w->trials[trial].attempts++;
    return ww_evaluator_start(w->evaluator, &w->trials[trial], slot, err);
}

static enum ww_err finish(struct work *w, size_t trial, struct ww_error *err)
{
    w->done++;
    return w->evaluator->after ? w->evaluator->after(w->evaluator->payload, trial, err)
                               : WW_OK;
}

/* An attempt is over and the slot is free: good, or once more, or failed. */
static enum ww_err settle(struct work *w, struct ww_evaluator_run *slot, size_t trial,
                          bool good, struct ww_error *err)
{
    if (!good && w->trials[trial].attempts <= w->evaluator->retries) {
        return attempt(w, slot, trial, err);
    }
    return finish(w, trial, err);
}

static bool judge(struct work *w, const struct ww_evaluator_run *slot, int status)
{
    struct ww_trial *trial = &w->trials[slot->trial];
    if (WIFSIGNALED(status)) {
        give_up(trial, "killed by signal", (unsigned)WTERMSIG(status), "");
        return false;
    }
    if (WEXITSTATUS(status) != 0) {
        give_up(trial, "ended with status", (unsigned)WEXITSTATUS(status), "");
        return false;
    }
    return ww_evaluator_read(w->evaluator, slot->text.data, slot->text.len, trial);
}

static enum ww_err look_at(struct work *w, struct ww_evaluator_run *slot,
                           struct ww_error *err)
{
    const size_t trial = slot->trial;
    int status = 0;
    bool short_enough = ww_evaluator_take(slot);
    if (short_enough && slot->out < 0 && ww_evaluator_ended(slot, &status)) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_NOW) {
            ww_evaluator_clear(slot);
            return WW_FAIL(
                err, WW_E_LIMIT,
                "the evaluator ended the search (status %d): no trial failed by "
                "it, and the journal keeps those before; begin it again to go on",
                NOT_NOW);
        }
        bool good = judge(w, slot, status);
        ww_evaluator_clear(slot);
        return settle(w, slot, trial, good, err);
    }
    if (!short_enough || ww_now_ms() >= slot->deadline) {
        give_up(&w->trials[trial], short_enough ? "no answer within" : "more than",
                short_enough ? w->evaluator->seconds : WW_EVALUATOR_ANSWER_BYTES,
                short_enough ? " seconds" : " bytes printed");
        ww_evaluator_kill(slot);
        return settle(w, slot, trial, false, err);
    }
    return WW_OK;
}

/* Fill a free slot with the next trial that is not given up before it begins. */
static enum ww_err fill(struct work *w, struct ww_evaluator_run *slot,
                        struct ww_error *err)
{
    const struct ww_evaluator *e = w->evaluator;
    while (w->next < w->n) {
        size_t trial = w->next++;
        enum ww_err rc = e->before ? e->before(e->payload, trial, err) : WW_OK;
        if (rc) {
            return rc;
        }
        if (!w->trials[trial].why[0]) {
            return attempt(w, slot, trial, err);
        }
        rc = finish(w, trial, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* Until something can be read, or a moment has passed. */
static void wait_a_moment(const struct work *w)
{
    struct pollfd watch[MAX_PARALLEL];
    nfds_t n = 0;
    int ms = TICK_MS;
    for (uint32_t i = 0; i < w->evaluator->parallel; i++) {
        const struct ww_evaluator_run *slot = &w->slots[i];
        if (slot->pid > 0 && slot->out >= 0) {
            watch[n++] = (struct pollfd){.fd = slot->out, .events = POLLIN};
        } else if (slot->pid > 0) {
            ms = SOON_MS;
        }
    }
    (void)poll(watch, n, ms); /* interrupted: looked at again */
}

static enum ww_err turn(struct work *w, struct ww_error *err)
{
    const struct ww_evaluator *e = w->evaluator;
    for (uint32_t i = 0; i < e->parallel; i++) {
        struct ww_evaluator_run *slot = &w->slots[i];
        enum ww_err rc = slot->pid > 0 ? look_at(w, slot, err) : WW_OK;
        if (!rc && slot->pid == 0) {
            rc = fill(w, slot, err);
        }
        if (rc) {
            return rc;
        }
    }
    if (e->progress &&
        e->progress(e->progress_payload, "evaluating", e->done + w->done, e->total)) {
        return WW_FAIL(err, WW_E_CANCELLED,
                       "interrupted; the journal keeps what is known");
    }
    return WW_OK;
}

enum ww_err ww_evaluate(const struct ww_evaluator *evaluator, struct ww_trial *trials,
                        size_t n, struct ww_error *err)
{
    struct work w = {.evaluator = evaluator, .trials = trials, .n = n};
    enum ww_err rc = WW_OK;
    if (evaluator->parallel == 0 || evaluator->parallel > MAX_PARALLEL) {
        return WW_FAIL(err, WW_E_USAGE, "1 to %d trials run side by side, not %u",
                       MAX_PARALLEL, evaluator->parallel);
    }
    w.slots = ww_calloc(evaluator->parallel, sizeof(*w.slots));
    if (!w.slots) {
        return WW_FAIL_MEMORY(err, "trials");
    }
    for (uint32_t i = 0; i < evaluator->parallel; i++) {
        w.slots[i].out = -1;
    }
    rc = turn(&w, err);
    while (!rc && w.done < n) {
        wait_a_moment(&w);
        rc = turn(&w, err);
    }
    for (uint32_t i = 0; i < evaluator->parallel; i++) {
        ww_evaluator_kill(&w.slots[i]);
    }
    ww_free(w.slots);
    return rc;
}
