/* SPDX-License-Identifier: Apache-2.0 */
/* One process of an evaluator. Internal to the evaluator's files. */
#ifndef WW_EVO_EVALUATOR_RUN_H
#define WW_EVO_EVALUATOR_RUN_H

#include <sys/types.h>

#include "evo/evaluator.h"
#include "util/buf.h"

#define WW_EVALUATOR_ANSWER_BYTES (4u << 20)

struct ww_evaluator_run {
    size_t trial;
    pid_t pid;        /* 0: the slot is free */
    int out;          /* -1: its output has ended */
    int64_t deadline; /* ms */
    struct ww_buf text;
};

/** Start one attempt; it leads a process group of its own. */
enum ww_err ww_evaluator_start(const struct ww_evaluator *evaluator,
                               const struct ww_trial *trial, struct ww_evaluator_run *run,
                               struct ww_error *err) WW_MUST_USE;

/** Take what is there to read without waiting; false: more than an answer may have. */
bool ww_evaluator_take(struct ww_evaluator_run *run);

/** Has it ended? Then *status is what waitpid says. */
bool ww_evaluator_ended(const struct ww_evaluator_run *run, int *status);

/** End it and all that it started, and free the slot. */
void ww_evaluator_kill(struct ww_evaluator_run *run);

/** Free the slot of one that has ended. */
void ww_evaluator_clear(struct ww_evaluator_run *run);

#endif
