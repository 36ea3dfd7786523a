/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a search share. Internal to the search's files. */
#ifndef WW_EVO_SEARCH_INT_H
#define WW_EVO_SEARCH_INT_H

#include "evo/evaluator.h"
#include "evo/journal.h"
#include "evo/search_space.h"
#include "json/json.h"
#include "weightward/search.h"

#define WW_SEARCH_SCHEMA "weightward.evo-search/1"

/* Items of different parts never meet. */
enum ww_search_part { WW_PART_SEARCH, WW_PART_AGAIN, WW_PART_FINAL, WW_PARTS };

struct ww_search {
    const struct ww_search_options *options;
    struct ww_space space;
    struct ww_evaluator evaluator;
    struct ww_journal *journal;
    char *work;      /* folder of candidates */
    uint32_t budget; /* trials */
    uint32_t next;   /* number of the next trial */
    uint32_t rounds; /* of items that the search has used; the start's is 0 */
    uint32_t made;
};

/** Seed of the items of one round of a part. */
uint64_t ww_search_items(const struct ww_search *s, enum ww_search_part part,
                         uint32_t round);

/**
 * Scores of n points x [n][d], from the journal or the evaluator; trials *first ..
 * *first + n - 1 are theirs afterwards.
 */
enum ww_err ww_search_try(struct ww_search *s, const double *x, size_t n,
                          enum ww_search_part part, uint64_t items, uint32_t *first,
                          struct ww_error *err) WW_MUST_USE;

/** Mean score of a trial, larger is better whatever the goal; NaN for a failed one. */
double ww_search_value(const struct ww_search *s, uint32_t trial);
/** Value of one objective in the same way. */
double ww_search_objective(const struct ww_search *s, uint32_t trial, uint32_t objective);
uint32_t ww_search_failed(const struct ww_search *s);

/** KEY: {...}, the numbers by their variables. */
void ww_search_numbers_json(const struct ww_search *s, const char *key, const double *x,
                            struct ww_jw *w);
/** "variables": {...}, "recipe": "...". */
enum ww_err ww_search_point_json(const struct ww_search *s, const double *x,
                                 struct ww_jw *w, struct ww_error *err) WW_MUST_USE;

/** Candidates of a generation of n numbers. */
uint32_t ww_search_population(const struct ww_space *space, uint32_t n);
/** WW_E_NO_MATCH where this trial, the start's, has no score. */
enum ww_err ww_search_check_start(const struct ww_search *s, uint32_t trial,
                                  struct ww_error *err) WW_MUST_USE;

/** What a report shows: a point of the curve behind trials first .. first + n - 1, the
 *  chosen numbers, and the front of n points, with the start's trial before theirs.
 */
enum ww_err ww_search_add_point(const struct ww_search *s, uint32_t first, uint32_t n,
                                struct ww_search_report *report,
                                struct ww_error *err) WW_MUST_USE;
enum ww_err ww_search_add_numbers(const struct ww_search *s, const double *chosen,
                                  struct ww_search_report *report,
                                  struct ww_error *err) WW_MUST_USE;
enum ww_err ww_search_add_front(const struct ww_search *s, const uint32_t *trial,
                                const bool *in_front, uint32_t n,
                                struct ww_search_report *report,
                                struct ww_error *err) WW_MUST_USE;

/** Trials behind the search: leaders and mean again, then the winner and the start. */
uint32_t ww_search_reserve(const struct ww_space *space);
/** The last of these alone, where there is nothing to choose. */
uint32_t ww_search_last(const struct ww_space *space);
/** Re-test n points x [n][d], and compare the best with the start; first: what the first
 *  of them is called. */
enum ww_err ww_search_end(struct ww_search *s, const double *x, uint32_t n,
                          const char *first, struct ww_jw *w,
                          struct ww_search_report *report,
                          struct ww_error *err) WW_MUST_USE;

/**
 * Which variables matter at all: found before the search, by trials of each of them.
 * Where nothing is screened all are kept, and the search begins at the start.
 */
struct ww_screen {
    bool *kept;       /* [d] */
    uint32_t *number; /* [n] indices of the kept ones */
    uint32_t n;
    double *from;   /* [d], where the search begins */
    double *effect; /* [n_variables] alone, and the standard errors */
    double *error;
    double *share; /* of the way to the level, where it begins */
    uint32_t rounds;
    bool done;
};
enum ww_err ww_screen_init(struct ww_screen *screen, const struct ww_space *space,
                           struct ww_error *err) WW_MUST_USE;
void ww_screen_release(struct ww_screen *screen);
uint32_t ww_screen_trials(const struct ww_space *space); /* that it takes at least */
/** Its first trial is the start's. */
enum ww_err ww_screen_run(struct ww_search *s, struct ww_screen *screen,
                          struct ww_search_report *report,
                          struct ww_error *err) WW_MUST_USE;

/** What each variable gained alone, item by item, over all rounds that tried it. */
struct ww_screen_gains {
    uint32_t n;     /* variables */
    uint32_t items; /* 0: scores are not by item */
    double *gain;   /* [items][n] */
};
/** Trials first + 1 .. first + n against trial first, appended; a failed one gained 0. */
enum ww_err ww_screen_gains_add(struct ww_screen_gains *gains, const struct ww_search *s,
                                uint32_t first, struct ww_error *err) WW_MUST_USE;
/** Which of them stay; stays [n] is false before, and may be afterwards. */
enum ww_err ww_screen_cover(const struct ww_screen_gains *gains, bool *stays,
                            struct ww_error *err) WW_MUST_USE;
void ww_screen_json(const struct ww_screen *screen, const struct ww_space *space,
                    struct ww_jw *w);

/** The methods. They fill the report and write the members of the result. */
enum ww_err ww_search_single(struct ww_search *s, struct ww_jw *w,
                             struct ww_search_report *report,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_search_cross(struct ww_search *s, struct ww_jw *w,
                            struct ww_search_report *report,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_search_map(struct ww_search *s, struct ww_jw *w,
                          struct ww_search_report *report,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_search_front(struct ww_search *s, struct ww_jw *w,
                            struct ww_search_report *report,
                            struct ww_error *err) WW_MUST_USE;

/** The best few of what was tried, best first. */
struct ww_leader {
    double value;
    double *x; /* [d] */
};
struct ww_leaders {
    uint32_t d;
    uint32_t room;
    uint32_t n;
    struct ww_leader *at; /* [room] */
};
enum ww_err ww_leaders_init(struct ww_leaders *leaders, uint32_t d, uint32_t room,
                            struct ww_error *err) WW_MUST_USE;
void ww_leaders_release(struct ww_leaders *leaders);
/** Not when NaN or there already. */
void ww_leaders_add(struct ww_leaders *leaders, const double *x, double value);

/** What was gained, over paired rounds of two points: trial a + 2 r against a + 2 r + 1.
 */
struct ww_search_gain {
    uint32_t n; /* observations: items where both have as many scores, else rounds */
    double mean;
    bool has_interval;
    double interval[2];
};
enum ww_err ww_search_compare(const struct ww_search *s, uint32_t first, uint32_t rounds,
                              struct ww_search_gain *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
