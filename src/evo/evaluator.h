/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Scores from a program of the user's. It is started without a shell with its own
 * arguments and then PATH PART SEED: a recipe or a model folder, the part of the items
 * that may be used ("search", "again", "final"; no item may be in two of them), and the
 * number that items are drawn by (equal numbers, equal items). It prints one JSON object:
 *
 *     {"score": 0.5}               or {"scores": [1, 0, 1]}, one per item,
 *     {"scores": {"a": 1, "b": 2}} where objectives are named
 *
 * A trial that ends with another status than 0, in another form, with a number that is
 * not finite or too late is tried again, then counted as failed; that is an outcome and
 * not an error, since one bad candidate must not end a search. Status 75 does: the
 * program can say nothing now, as where its budget is spent.
 *
 * Trials run side by side and end in any order; nothing here depends on the order.
 */
#ifndef WW_EVO_EVALUATOR_H
#define WW_EVO_EVALUATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/run.h"

#define WW_TRIAL_MAX_SCORES 65536u
#define WW_TRIAL_WHY_BYTES WW_ERROR_TEXT_BYTES

struct ww_trial {
    char *path; /* what the program is given; owned by whoever made the trial */
    const char *part;
    uint64_t seed;
    /* What came of it. */
    uint32_t attempts;
    uint32_t n;     /* scores; 0: failed, and why says so */
    double *scores; /* [n], owned */
    char why[WW_TRIAL_WHY_BYTES];
};
void ww_trial_release(struct ww_trial *trial); /* scores and path */

struct ww_evaluator {
    const char *const *argv;       /* NULL-terminated; argv[0] is a path */
    const char *const *objectives; /* [n_objectives] names; none: one score, or one per
                                      item */
    uint32_t n_objectives;
    uint32_t parallel;       /* 1 .. 256 */
    uint32_t retries;        /* after the first attempt */
    uint32_t seconds;        /* for one attempt */
    ww_progress_fn progress; /* may be NULL; cancels */
    void *progress_payload;
    uint64_t done; /* trials before these, for progress: */
    uint64_t total;
    /* Called before the first attempt of a trial and after its last one; a failure of
     * either ends the whole. Before the first, a trial may be given up by filling why. */
    enum ww_err (*before)(void *payload, size_t trial, struct ww_error *err);
    enum ww_err (*after)(void *payload, size_t trial, struct ww_error *err);
    void *payload;
};

/** WW_E_NOTFOUND when the program cannot be started at all, WW_E_CANCELLED, WW_E_LIMIT
 *  where a program ended with status 75. No child is
 *  left behind. */
enum ww_err ww_evaluate(const struct ww_evaluator *evaluator, struct ww_trial *trials,
                        size_t n, struct ww_error *err) WW_MUST_USE;

/** Read an answer into the trial; false: trial->why says what is wrong with it. */
bool ww_evaluator_read(const struct ww_evaluator *evaluator, const uint8_t *text,
                       size_t len, struct ww_trial *trial);

#endif
