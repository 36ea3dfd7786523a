/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Screening: which variables are worth searching, and where to begin. The first rounds
 * try the start and each variable alone at its level, on the same items. Effects that
 * were seen one by one tell neither how far all may go together, so places on the line
 * from the start to their levels are tried; nor whether two that help the same items add
 * up or repeat each other, so that is done with those that together do most for each item
 * (search_cover.c) and with all that help, and the better set stays.
 *
 * Where all that help were better, and the budget carries a search behind it, more rounds
 * stand at the best place, on new items, and leave out one variable after the other; when
 * the pool was better without one, the worst of them goes. One for each round: at a place
 * that is too far everything seems to harm, and the first to go mends that (backward
 * elimination; all at once was measured and loses what is needed).
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

#define HARMS 0.5 /* standard errors by which a variable that goes harms the others */
#define SURE 1.0  /* and by which each is missed where no further round is needed */
#define PLACES 4
#define CONTESTS 2 /* rounds of items in which two sets are compared */

static const double places[PLACES] = {0.5, 0.85, 1.4, 2.4}; /* of the way to the levels */

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
        return WW_FAIL_MEMORY(err, "a screen");
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
    return space->screen ? space->n_variables + 1 + PLACES : 0;
}

/* The kept variables at some share of the way to their levels, in the box. */
static void stand(const struct ww_space *space, const bool *stays, double place,
                  double *x)
{
    ww_space_start(space, x);
    for (uint32_t v = 0; v < space->n_variables; v++) {
        const struct ww_space_variable *variable = &space->variable[v];
        for (uint32_t j = 0; j < variable->values && stays[v]; j++) {
            const uint32_t i = variable->first + j;
            const double to = x[i] + place * (variable->level - x[i]);
            x[i] = to < variable->low    ? variable->low
                   : to > variable->high ? variable->high
                                         : to;
        }
    }
}

/* What is gained by a change, over all rounds that tried it. */
struct sums {
    double sum, squares;
    uint32_t n;
};

struct screening {
    struct ww_search *s;
    struct ww_screen *screen;
    struct ww_search_report *report;
    bool *stays;       /* [n_variables] */
    bool *stood;       /* [n_variables] in the round before */
    bool *wide;        /* [n_variables] what helps alone, be it needed or not */
    struct sums *sums; /* [n_variables] */
    struct ww_screen_gains gains;
    uint32_t *moved; /* [n] variables of the trials of a round */
    uint32_t n;
    double place;
    bool may_repeat; /* what stays helps alone, and was not asked whether it repeats
                        others */
    double *x;       /* [n_variables + 1][d] */
};

static enum ww_err begin(struct screening *c, struct ww_error *err)
{
    const uint32_t n = c->s->space.n_variables;
    c->gains.n = n;
    c->stays = ww_calloc(n, sizeof(*c->stays));
    c->stood = ww_calloc(n, sizeof(*c->stood));
    c->wide = ww_calloc(n, sizeof(*c->wide));
    c->sums = ww_calloc(n, sizeof(*c->sums));
    c->moved = ww_calloc(n, sizeof(*c->moved));
    c->x = ww_calloc(n + 1, c->s->space.d * sizeof(*c->x));
    return c->stays && c->stood && c->wide && c->sums && c->moved && c->x
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a screen");
}

static void end(struct screening *c)
{
    ww_free(c->stays);
    ww_free(c->stood);
    ww_free(c->wide);
    ww_free(c->gains.gain);
    ww_free(c->sums);
    ww_free(c->moved);
    ww_free(c->x);
}

/* What a trial said against another one, by item where both have as many scores. */
static void add_trial(const struct ww_search *s, uint32_t trial, uint32_t against,
                      struct sums *sums)
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

static double mean_of(const struct sums *sums)
{
    return sums->n > 0 ? sums->sum / sums->n : 0;
}

/* Standard error; 0 of one observation, which is believed. */
static double error_of(const struct sums *sums)
{
    const double mean = mean_of(sums);
    const double spread = sums->n > 1 ? sums->squares / sums->n - mean * mean : 0;
    return spread > 0 ? sqrt(spread / (sums->n - 1)) : 0;
}

/* Those that stay, and the points that differ in one variable each, on new items. */
static enum ww_err try_round(struct screening *c, double place, uint32_t *first,
                             struct ww_error *err)
{
    const struct ww_space *space = &c->s->space;
    const uint64_t items = ww_search_items(c->s, WW_PART_SEARCH, c->s->rounds++);
    bool *stays = c->stays;
    stand(space, stays, place, c->x);
    for (uint32_t i = 0; i < c->n; i++) {
        const bool stood = stays[c->moved[i]];
        stays[c->moved[i]] = !stood;
        stand(space, stays, place, c->x + (size_t)(i + 1) * space->d);
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

/* Would so many trials leave what the end takes? */
static bool fits(const struct ww_search *s, uint64_t trials, uint64_t last)
{
    return s->next + trials + last <= s->budget;
}

/* Where none helps the one that harms least stays, and the first where all failed. */
static enum ww_err choose(struct screening *c, struct ww_error *err)
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
static enum ww_err try_alone(struct screening *c, struct ww_error *err)
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
static enum ww_err first_rounds(struct screening *c, struct ww_error *err)
{
    const struct ww_space *space = &c->s->space;
    bool sure = false;
    for (c->n = 0; c->n < space->n_variables; c->n++) {
        c->moved[c->n] = c->n;
    }
    enum ww_err rc = try_alone(c, err);
    while (!rc && !sure && c->gains.items > 0 && c->screen->rounds < space->screen &&
           fits(c->s, c->n + 1 + 3 * PLACES, ww_search_last(space))) {
        rc = try_alone(c, err);
        sure = !rc && memcmp(c->stood, c->stays, c->n * sizeof(*c->stood)) == 0;
    }
    memset(c->sums, 0, c->n * sizeof(*c->sums));
    return rc;
}

/* Every place of a set on some items; NaN where one failed. */
static enum ww_err try_places(struct screening *c, const bool *stays, uint64_t items,
                              double *value, struct ww_error *err)
{
    const uint32_t d = c->s->space.d;
    double x[PLACES * WW_SPACE_MAX_NUMBERS];
    uint32_t first = 0;
    for (uint32_t i = 0; i < PLACES; i++) {
        stand(&c->s->space, stays, places[i], x + (size_t)i * d);
    }
    enum ww_err rc = ww_search_try(c->s, x, PLACES, WW_PART_SEARCH, items, &first, err);
    for (uint32_t i = 0; i < PLACES && !rc; i++) {
        value[i] += ww_search_value(c->s, first + i);
    }
    return rc ? rc : ww_search_add_point(c->s, first, PLACES, c->report, err);
}

/* Of a generation of the search and all that is behind it. */
static uint64_t search_trials(const struct screening *c)
{
    const struct ww_space *space = &c->s->space;
    return (uint64_t)ww_search_population(space, c->screen->n) + ww_search_reserve(space);
}

static uint64_t new_items(struct screening *c)
{
    return ww_search_items(c->s, WW_PART_SEARCH, c->s->rounds++);
}

/* Of the places, PLACES where all failed. */
static uint32_t best_of(const double *value)
{
    uint32_t best = PLACES;
    for (uint32_t i = 0; i < PLACES; i++) {
        if (!isnan(value[i]) && (best == PLACES || value[i] > value[best])) {
            best = i;
        }
    }
    return best;
}

/* What covers all items against all that helps alone, each at its best place: variables
 * that help the same items may repeat each other or add up, which only trials of them
 * together tell. */
static enum ww_err choose_set(struct screening *c, double *value, struct ww_error *err)
{
    const uint32_t last = ww_search_last(&c->s->space);
    const size_t bytes = c->s->space.n_variables * sizeof(*c->wide);
    double wide[PLACES] = {0};
    enum ww_err rc = WW_OK;
    for (uint32_t r = 0; r < CONTESTS && !rc && fits(c->s, 2 * PLACES, last); r++) {
        const uint64_t items = new_items(c);
        rc = try_places(c, c->stays, items, value, err);
        rc = rc ? rc : try_places(c, c->wide, items, wide, err);
    }
    const uint32_t here = best_of(value);
    const uint32_t there = best_of(wide);
    if (!rc && there < PLACES && (here == PLACES || wide[there] > value[here])) {
        memcpy(c->stays, c->wide, bytes);
        memcpy(value, wide, sizeof(wide));
        c->may_repeat = true;
    }
    return rc;
}

/* What stays, as the search behind the screen has it. */
static void keep(struct screening *c)
{
    const struct ww_space *space = &c->s->space;
    struct ww_screen *screen = c->screen;
    screen->n = 0;
    for (uint32_t v = 0; v < space->n_variables; v++) {
        screen->share[v] = c->stays[v] ? c->place : 0;
        for (uint32_t j = 0; j < space->variable[v].values; j++) {
            const uint32_t number = space->variable[v].first + j;
            screen->kept[number] = c->stays[v];
            if (c->stays[v]) {
                screen->number[screen->n++] = number;
            }
        }
    }
    screen->done = true;
}

/* The best place; tried again where the budget is for nothing else. */
static enum ww_err find_place(struct screening *c, struct ww_error *err)
{
    const uint32_t last = ww_search_last(&c->s->space);
    const size_t bytes = c->s->space.n_variables * sizeof(*c->wide);
    double value[PLACES] = {0};
    enum ww_err rc = WW_OK;
    if (memcmp(c->stays, c->wide, bytes) == 0) {
        rc = try_places(c, c->stays, new_items(c), value, err);
    } else {
        rc = choose_set(c, value, err);
    }
    keep(c);
    while (!rc && !fits(c->s, 0, search_trials(c)) && fits(c->s, PLACES, last)) {
        rc = try_places(c, c->stays, new_items(c), value, err);
    }
    const uint32_t best = best_of(value);
    c->place = !rc && best < PLACES ? places[best] : c->place;
    return rc;
}

/* The variable whose absence helps most goes, if it helps by enough. */
static bool drop_worst(struct screening *c)
{
    uint32_t worst = 0;
    double most = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct sums *sums = &c->sums[c->moved[i]];
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

static bool all_missed(const struct screening *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const struct sums *sums = &c->sums[c->moved[i]];
        if (mean_of(sums) + SURE * error_of(sums) >= 0) {
            return false;
        }
    }
    return true;
}

/* As many rounds as the space says, the budget allows and the doubt asks for. */
static enum ww_err more_rounds(struct screening *c, bool *dropped, struct ww_error *err)
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
        if (c->n < 2 || !fits(c->s, c->n + 1 + PLACES, search_trials(c))) {
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

enum ww_err ww_screen_run(struct ww_search *s, struct ww_screen *screen,
                          struct ww_search_report *report, struct ww_error *err)
{
    struct screening c = {.s = s, .screen = screen, .report = report, .place = 1};
    bool more = false;
    bool dropped = false;
    enum ww_err rc = begin(&c, err);
    rc = rc ? rc : first_rounds(&c, err);
    if (!rc && !fits(s, 2 * PLACES, ww_search_last(&s->space))) {
        memcpy(c.stays, c.wide, s->space.n_variables * sizeof(*c.wide)); /* no contest */
    }
    if (!rc) {
        keep(&c);
        c.may_repeat = c.gains.items == 0;
        more = screen->rounds < s->space.screen &&
               fits(s, 2 * PLACES + screen->n + 1, search_trials(&c));
        rc = find_place(&c, err);
    }
    rc = rc || !more || !c.may_repeat ? rc : more_rounds(&c, &dropped, err);
    if (!rc) {
        keep(&c);
        if (dropped && fits(s, PLACES, ww_search_last(&s->space))) {
            memcpy(c.wide, c.stays, s->space.n_variables * sizeof(*c.wide));
            rc = find_place(&c, err);
        }
    }
    if (!rc) {
        keep(&c);
        stand(&s->space, c.stays, c.place, screen->from);
    }
    end(&c);
    return rc;
}

void ww_screen_json(const struct ww_screen *screen, const struct ww_space *space,
                    struct ww_jw *w)
{
    if (!screen->done) {
        return;
    }
    ww_jw_ku64(w, "screen_rounds", screen->rounds);
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
