/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Screening: which variables move the score at all. Every trial has about half of the
 * variables at their level and the others at the start, by the rows of a Paley matrix
 * (Plackett and Burman, The design of optimum multifactorial experiments, 1946) and their
 * complements (fold-over: Box and Wilson 1951), so that all trials tell something of
 * every variable and interactions of two do not look like effects. A row and its
 * complement see the same items, other rows other ones. One variable at a time would need
 * as many trials for an answer about one of them.
 *
 * A variable stays where its effect is above its standard error. The search begins on the
 * line from the start through the levels of those that stay, at the best of a few places.
 */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

#define THRESHOLD 1.0 /* standard errors: leaving one out that helps costs more */
#define PLACES 4

static const double places[PLACES] = {0.75, 1.25, 1.75,
                                      2.25}; /* of the way to the level */

enum ww_err ww_screen_init(struct ww_screen *screen, const struct ww_space *space,
                           struct ww_error *err)
{
    const uint32_t d = space->d;
    screen->kept = ww_calloc(d, sizeof(*screen->kept));
    screen->number = ww_calloc(d, sizeof(*screen->number));
    screen->from = ww_calloc(d, sizeof(*screen->from));
    screen->effect = ww_calloc(space->n_variables, sizeof(*screen->effect));
    screen->error = ww_calloc(space->n_variables, sizeof(*screen->error));
    if (!screen->kept || !screen->number || !screen->from || !screen->effect ||
        !screen->error) {
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
}

static bool is_prime(uint32_t n)
{
    for (uint32_t i = 2; i * i <= n; i++) {
        if (n % i == 0) {
            return false;
        }
    }
    return n > 1;
}

/* Least prime of the form 4 m + 3 with room for all variables. */
static uint32_t prime_of(const struct ww_space *space)
{
    uint32_t q = 3;
    while (q < space->n_variables || !is_prime(q)) {
        q += 4;
    }
    return q;
}

uint32_t ww_screen_trials(const struct ww_space *space)
{
    return space->screen ? space->screen * 2 * (prime_of(space) + 1) + PLACES : 0;
}

static bool is_square(uint32_t a, uint32_t q)
{
    for (uint32_t i = 1; i < q; i++) {
        if (i * i % q == a) {
            return true;
        }
    }
    return a == 0;
}

/* Paley's matrix without its first column: +1 or -1 of a row and a variable. */
static double sign_of(uint32_t row, uint32_t variable, uint32_t q)
{
    return row < q && is_square((variable + q - row) % q, q) ? 1 : -1;
}

static void point(const struct ww_space *space, uint32_t row, double which, uint32_t q,
                  double *x)
{
    ww_space_start(space, x);
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const struct ww_space_variable *variable = &space->variable[v];
        for (uint32_t j = 0; j < variable->values; j++) {
            if (sign_of(row, v, q) == which) {
                x[variable->first + j] = variable->level;
            }
        }
    }
}

struct sums {
    double *sum, *squares; /* [n_variables] */
    uint32_t n;
};

/* What a row said against its complement, by item where both have as many scores. */
static void add_row(const struct ww_search *s, uint32_t trial, uint32_t row, uint32_t q,
                    struct sums *sums)
{
    const struct ww_journal_entry *a = ww_journal_find(s->journal, trial);
    const struct ww_journal_entry *b = ww_journal_find(s->journal, trial + 1);
    const bool by_item = a->n == b->n;
    const uint32_t n = by_item ? a->n : 1;
    const double sign = s->space.minimise ? -0.5 : 0.5;
    if (a->n == 0 || b->n == 0) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double gain =
            by_item ? sign * (a->scores[i] - b->scores[i])
                    : (ww_search_value(s, trial) - ww_search_value(s, trial + 1)) / 2;
        for (uint32_t v = 0; v < s->space.n_variables; v++) {
            const double effect = sign_of(row, v, q) * gain;
            sums->sum[v] += effect;
            sums->squares[v] += effect * effect;
        }
        sums->n++;
    }
}

static enum ww_err try_rows(struct ww_search *s, struct sums *sums, struct ww_error *err)
{
    const uint32_t q = prime_of(&s->space);
    double x[2 * WW_SPACE_MAX_NUMBERS];
    enum ww_err rc = WW_OK;
    for (uint32_t at = 0; at < s->space.screen * (q + 1) && !rc; at++) {
        const uint32_t row = at % (q + 1);
        uint32_t first = 0;
        point(&s->space, row, 1, q, x);
        point(&s->space, row, -1, q, x + s->space.d);
        rc = ww_search_try(s, x, 2, WW_PART_SEARCH,
                           ww_search_items(s, WW_PART_SEARCH, s->rounds++), &first, err);
        if (!rc) {
            add_row(s, first, row, q, sums);
        }
    }
    return rc;
}

/* Variables that stay; where none does, the one with most to say for it. */
static void keep(const struct ww_space *space, const struct sums *sums,
                 struct ww_screen *screen)
{
    uint32_t best = 0;
    bool any = false;
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const double mean = sums->n ? sums->sum[v] / sums->n : 0;
        const double spread = sums->n ? sums->squares[v] / sums->n - mean * mean : 0;
        screen->effect[v] = mean;
        screen->error[v] = sums->n > 1 && spread > 0 ? sqrt(spread / (sums->n - 1)) : 0;
        any = any || mean > THRESHOLD * screen->error[v];
        best = mean > screen->effect[best] ? v : best;
    }
    screen->n = 0;
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const bool stays =
            any ? screen->effect[v] > THRESHOLD * screen->error[v] : v == best;
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
            const double to = x[i] + place * (variable->level - x[i]);
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
                        .squares = ww_calloc(s->space.n_variables, sizeof(double))};
    enum ww_err rc = sums.sum && sums.squares
                         ? try_rows(s, &sums, err)
                         : WW_FAIL(err, WW_E_NOMEM, "out of memory for a screen");
    if (!rc) {
        keep(&s->space, &sums, screen);
        rc = find_place(s, screen, err);
    }
    ww_free(sums.sum);
    ww_free(sums.squares);
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
        ww_jw_kbool(w, "kept", screen->kept[space->variable[v].first]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}
