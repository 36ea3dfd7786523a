/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds of a screen: variables tried one by one, at first each alone, later each left
 * out of what stays. What a change gained is summed over all rounds that tried it.
 */
#include <math.h>
#include <string.h>

#include "evo/search_screen_int.h"

#define HARMS 0.5 /* standard errors by which a variable that goes harms the others */
#define SURE 1.0  /* and by which each is missed where no further round is needed */

/* What a trial said against another one, by item where both have as many scores. */
static void add_trial(const struct ww_search *s, uint32_t trial, uint32_t against,
                      struct ww_screen_sums *sums)
{
    const struct ww_journal_entry *a = ww_journal_find(s->journal, trial);
    const struct ww_journal_entry *b = ww_journal_find(s->journal, against);
    const bool by_item = a->n == b->n;
    const uint32_t n = by_item ? a->n : 1;
    const double sign = s->space.minimise ? -1 : 1;
    for (uint32_t i = 0; a->n > 0 && b->n > 0 && i < n; i++) {
        const double gain = by_item
                                ? sign * (a->scores[i] - b->scores[i])
                                : ww_search_value(s, trial) - ww_search_value(s, against);
        sums->sum += gain;
        sums->squares += gain * gain;
        sums->n++;
    }
}

static double mean_of(const struct ww_screen_sums *sums)
{
    return sums->n > 0 ? sums->sum / sums->n : 0;
}

/* Standard error; 0 of one observation, which is believed. */
static double error_of(const struct ww_screen_sums *sums)
{
    const double mean = mean_of(sums);
    const double spread = sums->n > 1 ? sums->squares / sums->n - mean * mean : 0;
    return spread > 0 ? sqrt(spread / (sums->n - 1)) : 0;
}

/* Those that stay, and the points that differ in one variable each, on new items. */
static enum ww_err try_round(struct ww_screening *c, double place, uint32_t *first,
                             struct ww_error *err)
{
    const struct ww_space *space = &c->s->space;
    const uint64_t items = ww_search_items(c->s, WW_PART_SEARCH, c->s->rounds++);
    bool *stays = c->stays;
    ww_screen_stand(space, stays, place, c->x);
    for (uint32_t i = 0; i < c->n; i++) {
        const bool stood = stays[c->moved[i]];
        stays[c->moved[i]] = !stood;
        ww_screen_stand(space, stays, place, c->x + (size_t)(i + 1) * space->d);
        stays[c->moved[i]] = stood;
    }
    enum ww_err rc =
        ww_search_try(c->s, c->x, c->n + 1, WW_PART_SEARCH, items, first, err);
    for (uint32_t i = 0; i < c->n && !rc; i++) {
        add_trial(c->s, *first + 1 + i, *first, &c->sums[c->moved[i]]);
    }
    c->screen->rounds++;
    return rc ? rc : ww_search_add_point(c->s, *first, c->n + 1, c->report, err);
}

/* Where none helps the one that harms least stays, and the first where all failed. */
static enum ww_err choose(struct ww_screening *c, struct ww_error *err)
{
    struct ww_screen *screen = c->screen;
    const bool by_item = c->gains.items > 0;
    uint32_t best = 0;
    bool any = false;
    enum ww_err rc = by_item ? ww_screen_cover(&c->gains, c->stays, err) : WW_OK;
    for (uint32_t v = 0; v < c->n; v++) {
        const bool tried = c->sums[v].n > 0;
        screen->effect[v] = mean_of(&c->sums[v]);
        screen->error[v] = error_of(&c->sums[v]);
        c->wide[v] = screen->effect[v] > 0;
        c->stays[v] = by_item ? c->stays[v] : c->wide[v];
        any = any || c->stays[v];
        if (tried && (c->sums[best].n == 0 || screen->effect[v] > screen->effect[best])) {
            best = v;
        }
    }
    c->stays[best] = any ? c->stays[best] : true;
    c->wide[best] = c->wide[best] || c->stays[best];
    return rc;
}

/* Each variable alone. */
static enum ww_err try_alone(struct ww_screening *c, struct ww_error *err)
{
    uint32_t first = 0;
    memcpy(c->stood, c->stays, c->n * sizeof(*c->stood));
    memset(c->stays, 0, c->n * sizeof(*c->stays));
    enum ww_err rc = try_round(c, 1, &first, err);
    if (!rc && c->screen->rounds == 1) {
        rc = ww_search_check_start(c->s, first, err);
    }
    rc = rc ? rc : ww_screen_gains_add(&c->gains, c->s, first, err);
    return rc ? rc : choose(c, err);
}

/* By item, what stays has to be found twice, if the budget carries it: few items seldom
 * show all that is needed. */
enum ww_err ww_screen_first_rounds(struct ww_screening *c, struct ww_error *err)
{
    const struct ww_space *space = &c->s->space;
    bool sure = false;
    for (c->n = 0; c->n < space->n_variables; c->n++) {
        c->moved[c->n] = c->n;
    }
    enum ww_err rc = try_alone(c, err);
    while (!rc && !sure && c->gains.items > 0 && c->screen->rounds < space->screen &&
           ww_screen_fits(c->s, c->n + 1 + 3 * WW_SCREEN_PLACES, ww_search_last(space))) {
        rc = try_alone(c, err);
        sure = !rc && memcmp(c->stood, c->stays, c->n * sizeof(*c->stood)) == 0;
    }
    memset(c->sums, 0, c->n * sizeof(*c->sums));
    return rc;
}

/* The variable whose absence helps most goes, if it helps by enough. */
static bool drop_worst(struct ww_screening *c)
{
    uint32_t worst = 0;
    double most = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct ww_screen_sums *sums = &c->sums[c->moved[i]];
        const double gain = mean_of(sums) - HARMS * error_of(sums);
        if (gain > most) {
            worst = c->moved[i];
            most = gain;
        }
    }
    if (most > 0) {
        c->stays[worst] = false;
    }
    return most > 0;
}

static bool all_missed(const struct ww_screening *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const struct ww_screen_sums *sums = &c->sums[c->moved[i]];
        if (mean_of(sums) + SURE * error_of(sums) >= 0) {
            return false;
        }
    }
    return true;
}

/* As many rounds as the space says, the budget allows and the doubt asks for. */
enum ww_err ww_screen_more_rounds(struct ww_screening *c, bool *dropped,
                                  struct ww_error *err)
{
    const struct ww_space *space = &c->s->space;
    enum ww_err rc = WW_OK;
    *dropped = false;
    while (!rc && c->screen->rounds < space->screen) {
        uint32_t first = 0;
        c->n = 0;
        for (uint32_t v = 0; v < space->n_variables; v++) {
            if (c->stays[v]) {
                c->moved[c->n++] = v;
            }
        }
        if (c->n < 2 || !ww_screen_fits(c->s, c->n + 1 + WW_SCREEN_PLACES,
                                        ww_screen_search_trials(c))) {
            break;
        }
        rc = try_round(c, c->place, &first, err);
        const bool one_less = !rc && drop_worst(c);
        *dropped = *dropped || one_less;
        if (!one_less && all_missed(c)) {
            break;
        }
    }
    return rc;
}
