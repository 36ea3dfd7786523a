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
#include <string.h>

#include "evo/search_screen_int.h"
#include "util/alloc.h"
#include "util/fail.h"

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
    return space->screen ? space->n_variables + 1 + WW_SCREEN_PLACES : 0;
}

static enum ww_err begin(struct ww_screening *c, struct ww_error *err)
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

static void end(struct ww_screening *c)
{
    ww_free(c->stays);
    ww_free(c->stood);
    ww_free(c->wide);
    ww_free(c->gains.gain);
    ww_free(c->sums);
    ww_free(c->moved);
    ww_free(c->x);
}

void ww_screen_stand(const struct ww_space *space, const bool *stays, double place,
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

bool ww_screen_fits(const struct ww_search *s, uint64_t trials, uint64_t last)
{
    return s->next + trials + last <= s->budget;
}

uint64_t ww_screen_search_trials(const struct ww_screening *c)
{
    const struct ww_space *space = &c->s->space;
    return (uint64_t)ww_search_population(space, c->screen->n) + ww_search_reserve(space);
}

void ww_screen_keep(struct ww_screening *c)
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

enum ww_err ww_screen_run(struct ww_search *s, struct ww_screen *screen,
                          struct ww_search_report *report, struct ww_error *err)
{
    struct ww_screening c = {.s = s, .screen = screen, .report = report, .place = 1};
    bool more = false;
    bool dropped = false;
    enum ww_err rc = begin(&c, err);
    rc = rc ? rc : ww_screen_first_rounds(&c, err);
    if (!rc && !ww_screen_fits(s, 2 * WW_SCREEN_PLACES, ww_search_last(&s->space))) {
        memcpy(c.stays, c.wide, s->space.n_variables * sizeof(*c.wide)); /* no contest */
    }
    if (!rc) {
        ww_screen_keep(&c);
        c.may_repeat = c.gains.items == 0;
        more = screen->rounds < s->space.screen &&
               ww_screen_fits(s, 2 * WW_SCREEN_PLACES + screen->n + 1,
                              ww_screen_search_trials(&c));
        rc = ww_screen_find_place(&c, err);
    }
    rc = rc || !more || !c.may_repeat ? rc : ww_screen_more_rounds(&c, &dropped, err);
    if (!rc) {
        ww_screen_keep(&c);
        if (dropped && ww_screen_fits(s, WW_SCREEN_PLACES, ww_search_last(&s->space))) {
            memcpy(c.wide, c.stays, s->space.n_variables * sizeof(*c.wide));
            rc = ww_screen_find_place(&c, err);
        }
    }
    if (!rc) {
        ww_screen_keep(&c);
        ww_screen_stand(&s->space, c.stays, c.place, screen->from);
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
