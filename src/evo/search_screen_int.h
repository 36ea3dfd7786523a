/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a screen share. Internal to the screen's files. */
#ifndef WW_EVO_SEARCH_SCREEN_INT_H
#define WW_EVO_SEARCH_SCREEN_INT_H

#include "evo/search_int.h"

#define WW_SCREEN_PLACES 4

/* What is gained by a change, over all rounds that tried it. */
struct ww_screen_sums {
    double sum, squares;
    uint32_t n;
};

struct ww_screening {
    struct ww_search *s;
    struct ww_screen *screen;
    struct ww_search_report *report;
    bool *stays;                 /* [n_variables] */
    bool *stood;                 /* [n_variables] in the round before */
    bool *wide;                  /* [n_variables] what helps alone, be it needed or not */
    struct ww_screen_sums *sums; /* [n_variables] */
    struct ww_screen_gains gains;
    uint32_t *moved; /* [n] variables of the trials of a round */
    uint32_t n;
    double place;
    bool may_repeat; /* what stays helps alone, and was not asked whether it repeats
                        others */
    double *x;       /* [n_variables + 1][d] */
};

/** The variables that stay at some share of the way to their levels, in the box. */
void ww_screen_stand(const struct ww_space *space, const bool *stays, double place,
                     double *x);
/** Would so many trials leave what the end takes? */
bool ww_screen_fits(const struct ww_search *s, uint64_t trials, uint64_t last);
/** Trials of a generation of the search and all that is behind it. */
uint64_t ww_screen_search_trials(const struct ww_screening *c);
/** What stays, as the search behind the screen has it. */
void ww_screen_keep(struct ww_screening *c);

/** Each variable alone, and which of them stay. */
enum ww_err ww_screen_first_rounds(struct ww_screening *c,
                                   struct ww_error *err) WW_MUST_USE;
/** One less for each round, as far as the budget goes; dropped: one went. */
enum ww_err ww_screen_more_rounds(struct ww_screening *c, bool *dropped,
                                  struct ww_error *err) WW_MUST_USE;
/** How far what stays goes together; where it is not all that helps, which of the two. */
enum ww_err ww_screen_find_place(struct ww_screening *c,
                                 struct ww_error *err) WW_MUST_USE;

#endif
