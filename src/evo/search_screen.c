/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Screening: which variables move the score at all. The start, and each variable alone at
 * its level, are tried on the same items; differences are paired by item where scores
 * come by item, else by round. A variable stays where it helps, and begins as far on the
 * way to its level as there is evidence: all of it at two standard errors, less below, so
 * that what seems to help by chance counts little until the search has seen more of it.
 *
 * Designs with many variables at their level at once (Plackett and Burman 1946) take
 * fewer trials for the same error and were measured far worse on adapters: one that harms
 * hides the others (docs/benchmarks.md).
 */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ENOUGH 2.0 /* standard errors */
#define PLACES 4

static const double places[PLACES] = {1, 1.75, 2.5, 3.25}; /* of the way to the level */

enum ww_err ww_screen_init(struct ww_screen *screen, const struct ww_space *space,
                           struct ww_error *err)
{
    const uint32_t d = space->d;
    screen->kept = ww_calloc(d, sizeof(*screen->kept));
    screen->number = ww_calloc(d, sizeof(*screen->number));
    screen->from = ww_calloc(d, sizeof(*screen->from));
    screen->effect = ww_calloc(space->n_variables, sizeof(*screen->effect));
    screen->error = ww_calloc(space->n_variables, sizeof(*screen->error));
    screen->share = ww_calloc(space->n_variables, sizeof(*screen->share));
    if (!screen->kept || !screen->number || !screen->from || !screen->effect ||
        !screen->error || !screen->share) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for a screen");
    }
    ww_space_start(space, screen->from);
    for (uint32_t i = 0; i < d; i++) {
        screen->kept[i] = true;
        screen->number[screen->n++] = i;
    }
    return WW_OK;
}

void ww_screen_release(struct ww_screen *screen)
{
    ww_free(screen->kept);
    ww_free(screen->number);
    ww_free(screen->from);
    ww_free(screen->effect);
    ww_free(screen->error);
    ww_free(screen->share);
}

uint32_t ww_screen_trials(const struct ww_space *space)
{
    return space->screen ? space->screen * (space->n_variables + 1) + PLACES : 0;
}

/* Points of one round: the start, then each variable alone. */
static void fill_round(const struct ww_space *space, double *x)
{
    ww_space_start(space, x);
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const struct ww_space_variable *variable = &space->variable[v];
        double *at = x + (size_t)(v + 1) * space->d;
        ww_space_start(space, at);
        for (uint32_t j = 0; j < variable->values; j++) {
            at[variable->first + j] = variable->level;
        }
    }
}

struct sums {
    double *sum, *squares; /* [n_variables] */
    uint32_t *n;
};

/* What a trial said against the start's. */
static void add_trial(const struct ww_search *s, uint32_t start, uint32_t trial,
                      uint32_t v, struct sums *sums)
{
    const struct ww_journal_entry *a = ww_journal_find(s->journal, trial);
    const struct ww_journal_entry *b = ww_journal_find(s->journal, start);
    const bool by_item = a->n == b->n;
    const uint32_t n = by_item ? a->n : 1;
    const double sign = s->space.minimise ? -1 : 1;
    if (a->n == 0 || b->n == 0) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double gain = by_item
                                ? sign * (a->scores[i] - b->scores[i])
                                : ww_search_value(s, trial) - ww_search_value(s, start);
        sums->sum[v] += gain;
        sums->squares[v] += gain * gain;
        sums->n[v]++;
    }
}

static enum ww_err try_rounds(struct ww_search *s, struct sums *sums,
                              struct ww_error *err)
{
    const uint32_t n = s->space.n_variables + 1;
    double *x = ww_calloc(n, s->space.d * sizeof(*x));
    enum ww_err rc = x ? WW_OK : WW_FAIL(err, WW_E_NOMEM, "out of memory for a screen");
    if (!rc) {
        fill_round(&s->space, x);
    }
    for (uint32_t r = 0; r < s->space.screen && !rc; r++) {
        uint32_t first = 0;
        rc = ww_search_try(s, x, n, WW_PART_SEARCH,
                           ww_search_items(s, WW_PART_SEARCH, s->rounds++), &first, err);
        for (uint32_t v = 0; v + 1 < n && !rc; v++) {
            add_trial(s, first, first + 1 + v, v, sums);
        }
    }
    ww_free(x);
    return rc;
}

/* How far a variable begins on the way to its level, 0 to 1. One observation has no
 * error and is believed. */
static double evidence(const struct ww_screen *screen, uint32_t v)
{
    const double effect = screen->effect[v];
    const double enough = ENOUGH * screen->error[v];
    return effect <= 0 ? 0 : effect < enough ? effect / enough : 1;
}

/* Variables that stay; where none does, the one with most to say for it, and the first
 * where all trials failed. */
static void keep(const struct ww_space *space, const struct sums *sums,
                 struct ww_screen *screen)
{
    uint32_t best = 0;
    bool any = false;
    bool tried = false;
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const double n = sums->n[v];
        const double mean = n > 0 ? sums->sum[v] / n : 0;
        const double spread = n > 0 ? sums->squares[v] / n - mean * mean : 0;
        screen->effect[v] = mean;
        screen->error[v] = n > 1 && spread > 0 ? sqrt(spread / (n - 1)) : 0;
        any = any || mean > 0;
        if (n > 0 && (!tried || mean > screen->effect[best])) {
            best = v;
            tried = true;
        }
    }
    screen->n = 0;
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const bool stays = any ? screen->effect[v] > 0 : v == best;
        screen->share[v] = any ? evidence(screen, v) : stays;
        for (uint32_t j = 0; j < space->variable[v].values; j++) {
            const uint32_t number = space->variable[v].first + j;
            screen->kept[number] = stays;
            if (stays) {
                screen->number[screen->n++] = number;
            }
        }
    }
    screen->done = true;
}

static void on_line(const struct ww_space *space, const struct ww_screen *screen,
                    double place, double *x)
{
    ww_space_start(space, x);
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const struct ww_space_variable *variable = &space->variable[v];
        for (uint32_t j = 0; j < variable->values; j++) {
            const uint32_t i = variable->first + j;
            const double to = x[i] + place * screen->share[v] * (variable->level - x[i]);
            if (screen->kept[i]) {
                x[i] = to < variable->low    ? variable->low
                       : to > variable->high ? variable->high
                                             : to;
            }
        }
    }
}

static enum ww_err find_place(struct ww_search *s, struct ww_screen *screen,
                              struct ww_error *err)
{
    double x[PLACES * WW_SPACE_MAX_NUMBERS];
    uint32_t first = 0;
    uint32_t best = PLACES;
    for (uint32_t i = 0; i < PLACES; i++) {
        on_line(&s->space, screen, places[i], x + (size_t)i * s->space.d);
    }
    enum ww_err rc =
        ww_search_try(s, x, PLACES, WW_PART_SEARCH,
                      ww_search_items(s, WW_PART_SEARCH, s->rounds++), &first, err);
    for (uint32_t i = 0; i < PLACES && !rc; i++) {
        const double value = ww_search_value(s, first + i);
        if (!isnan(value) &&
            (best == PLACES || value > ww_search_value(s, first + best))) {
            best = i;
        }
    }
    if (!rc && best < PLACES) {
        memcpy(screen->from, x + (size_t)best * s->space.d,
               s->space.d * sizeof(*screen->from));
    }
    return rc;
}

enum ww_err ww_screen_run(struct ww_search *s, struct ww_screen *screen,
                          struct ww_error *err)
{
    if (s->space.screen == 0) {
        return WW_OK;
    }
    struct sums sums = {.sum = ww_calloc(s->space.n_variables, sizeof(double)),
                        .squares = ww_calloc(s->space.n_variables, sizeof(double)),
                        .n = ww_calloc(s->space.n_variables, sizeof(uint32_t))};
    enum ww_err rc = sums.sum && sums.squares && sums.n
                         ? try_rounds(s, &sums, err)
                         : WW_FAIL(err, WW_E_NOMEM, "out of memory for a screen");
    if (!rc) {
        keep(&s->space, &sums, screen);
        rc = find_place(s, screen, err);
    }
    ww_free(sums.sum);
    ww_free(sums.squares);
    ww_free(sums.n);
    return rc;
}

void ww_screen_json(const struct ww_screen *screen, const struct ww_space *space,
                    struct ww_jw *w)
{
    if (!screen->done) {
        return;
    }
    ww_jw_key(w, "screen");
    ww_jw_object(w);
    for (uint32_t v = 0; v < space->n_variables; v++) {
        ww_jw_key(w, space->variable[v].name);
        ww_jw_object(w);
        ww_jw_kdouble(w, "effect", screen->effect[v]);
        ww_jw_kdouble(w, "error", screen->error[v]);
        ww_jw_kdouble(w, "share", screen->share[v]);
        ww_jw_kbool(w, "kept", screen->kept[space->variable[v].first]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}
