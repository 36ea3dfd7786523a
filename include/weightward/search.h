/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Search for the numbers in a merge recipe by a program that scores candidates.
 *
 * Every trial is in the journal before it counts: a run that was interrupted anywhere is
 * started again with the same arguments and ends with the same bytes. The result depends
 * on the space, the evaluator's answers, the number of evaluations and the seed, not on
 * how many trials run side by side. docs/formats/search.md defines the files.
 */
#ifndef WEIGHTWARD_SEARCH_H
#define WEIGHTWARD_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_search_options {
    const char *const *evaluator; /* NULL-terminated; the first is a program's path. It is
                                     given PATH PART SEED behind these */
    const char *journal;
    uint32_t evaluations; /* trials in all, repeats and re-tests too; 0: 400 */
    uint32_t parallel;    /* trials side by side; 0: 1 */
    uint64_t seed;
    struct ww_run_options run; /* of merges, where the evaluator wants models; progress
                                  is of trials */
};

/** What was known behind so many trials; scores as the evaluator counts them. */
struct ww_search_point {
    uint32_t trials;
    double best;       /* so far; NaN before any */
    double generation; /* mean over the candidates of the last generation */
};

/** A number that was searched for. */
struct ww_search_number {
    char *name;
    double low, high, start, chosen;
};

struct ww_search_report {
    char *chosen;  /* "start", "mean" or "candidate"; "front" with objectives */
    bool has_gain; /* over the start, on items used for nothing else */
    bool has_interval;
    double gain;        /* mean difference to the start, larger is better */
    double interval[2]; /* 95 %, by Student's t */
    double score;       /* of what was chosen, on those items */
    double start_score;
    uint32_t front;     /* with objectives: candidates that none is better than */
    double hypervolume; /* of the front, above the start */
    uint32_t generations;
    uint32_t trials; /* in the result */
    uint32_t failed;
    uint32_t made; /* trials that this run made; the others were in the journal */
    char *recipe;  /* what was chosen; with objectives NULL */
    struct ww_search_point *curve; /* [n_curve]; none with objectives */
    uint32_t n_curve;
    struct ww_search_number *numbers; /* [n_numbers]; none with objectives */
    uint32_t n_numbers;
    char **objectives; /* [n_objectives] names */
    uint32_t n_objectives;
    double *points; /* [1 + front][n_objectives]: the start's scores, then the front's */
};
WW_API void ww_search_report_release(struct ww_search_report *report);

/**
 * Search and write the result, JSON, to out_path, which must not exist. WW_E_RECIPE for
 * the space, WW_E_USAGE for fewer evaluations than a search can do with, WW_E_NO_MATCH
 * when the start itself gets no score, WW_E_EXISTS for another search's journal.
 */
WW_API enum ww_err ww_search_run(const char *space_path, const char *out_path,
                                 const struct ww_search_options *options,
                                 struct ww_search_report *report,
                                 struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
