/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far variables that helped one by one go together: places on the line from the start
 * to their levels, and the contest of two sets of them.
 */
#include <math.h>
#include <string.h>

#include "evo/search_screen_int.h"

#define CONTESTS 2 /* rounds of items in which two sets are compared */

static const double places[WW_SCREEN_PLACES] = {0.5, 0.85, 1.4, 2.4}; /* of the way */

/* Every place of a set on some items; NaN where one failed. */
static enum ww_err try_places(struct ww_screening *c, const bool *stays, uint64_t items,
                              double *value, struct ww_error *err)
{
    const uint32_t d = c->s->space.d;
    double x[WW_SCREEN_PLACES * WW_SPACE_MAX_NUMBERS];
    uint32_t first = 0;
    for (uint32_t i = 0; i < WW_SCREEN_PLACES; i++) {
        ww_screen_stand(&c->s->space, stays, places[i], x + (size_t)i * d);
    }
    enum ww_err rc =
        ww_search_try(c->s, x, WW_SCREEN_PLACES, WW_PART_SEARCH, items, &first, err);
    for (uint32_t i = 0; i < WW_SCREEN_PLACES && !rc; i++) {
        value[i] += ww_search_value(c->s, first + i);
    }
    return rc ? rc : ww_search_add_point(c->s, first, WW_SCREEN_PLACES, c->report, err);
}

static uint64_t new_items(struct ww_screening *c)
{
    return ww_search_items(c->s, WW_PART_SEARCH, c->s->rounds++);
}

/* Of the places, WW_SCREEN_PLACES where all failed. */
static uint32_t best_of(const double *value)
{
    uint32_t best = WW_SCREEN_PLACES;
    for (uint32_t i = 0; i < WW_SCREEN_PLACES; i++) {
        if (!isnan(value[i]) && (best == WW_SCREEN_PLACES || value[i] > value[best])) {
            best = i;
        }
    }
    return best;
}

/* What covers all items against all that helps alone, each at its best place: variables
 * that help the same items may repeat each other or add up, which only trials of them
 * together tell. */
static enum ww_err choose_set(struct ww_screening *c, double *value, struct ww_error *err)
{
    const uint32_t last = ww_search_last(&c->s->space);
    const size_t bytes = c->s->space.n_variables * sizeof(*c->wide);
    double wide[WW_SCREEN_PLACES] = {0};
    enum ww_err rc = WW_OK;
    for (uint32_t r = 0;
         r < CONTESTS && !rc && ww_screen_fits(c->s, 2 * WW_SCREEN_PLACES, last); r++) {
        const uint64_t items = new_items(c);
        rc = try_places(c, c->stays, items, value, err);
        rc = rc ? rc : try_places(c, c->wide, items, wide, err);
    }
    const uint32_t here = best_of(value);
    const uint32_t there = best_of(wide);
    if (!rc && there < WW_SCREEN_PLACES &&
        (here == WW_SCREEN_PLACES || wide[there] > value[here])) {
        memcpy(c->stays, c->wide, bytes);
        memcpy(value, wide, sizeof(wide));
        c->may_repeat = true;
    }
    return rc;
}

/* The best place; tried again where the budget is for nothing else. */
enum ww_err ww_screen_find_place(struct ww_screening *c, struct ww_error *err)
{
    const uint32_t last = ww_search_last(&c->s->space);
    const size_t bytes = c->s->space.n_variables * sizeof(*c->wide);
    double value[WW_SCREEN_PLACES] = {0};
    enum ww_err rc = WW_OK;
    if (memcmp(c->stays, c->wide, bytes) == 0) {
        rc = try_places(c, c->stays, new_items(c), value, err);
    } else {
        rc = choose_set(c, value, err);
    }
    ww_screen_keep(c);
    while (!rc && !ww_screen_fits(c->s, 0, ww_screen_search_trials(c)) &&
           ww_screen_fits(c->s, WW_SCREEN_PLACES, last)) {
        rc = try_places(c, c->stays, new_items(c), value, err);
    }
    const uint32_t best = best_of(value);
    c->place = !rc && best < WW_SCREEN_PLACES ? places[best] : c->place;
    return rc;
}
