/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which variables stay, by what each did alone, item by item. Items are of several kinds.
 * What one kind needs does little for the mean, and what helps all a little because
 * others do that better harms beside them. So those stay that together do most for each
 * item: the best one, then the one that adds most to it, and so on (greedy, as facilities
 * are placed: Nemhauser, Wolsey and Fisher 1978), until none adds much. What harms in the
 * mean stays in no case.
 */
#include <math.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ADDS 0.01 /* of what the first one did */

static double mean_of(const struct ww_screen_gains *g, uint32_t v)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->items; i++) {
        sum += g->gain[(size_t)i * g->n + v];
    }
    return sum / g->items;
}

/* What a variable adds to the best of those that stay. */
static double sum_above(const struct ww_screen_gains *g, uint32_t v, const double *best)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->items; i++) {
        sum += fmax(0, g->gain[(size_t)i * g->n + v] - best[i]);
    }
    return sum;
}

/* Scores of each trial that has any, of items where all have as many; else 0. */
static uint32_t items_of(const struct ww_search *s, uint32_t first, uint32_t n)
{
    const uint32_t items = ww_journal_find(s->journal, first)->n;
    for (uint32_t i = 1; i <= n; i++) {
        const uint32_t other = ww_journal_find(s->journal, first + i)->n;
        if (other != 0 && other != items) {
            return 0;
        }
    }
    return items > 1 ? items : 0;
}

enum ww_err ww_screen_gains_add(struct ww_screen_gains *gains, const struct ww_search *s,
                                uint32_t first, struct ww_error *err)
{
    const uint32_t more = items_of(s, first, gains->n);
    const double sign = s->space.minimise ? -1 : 1;
    const double *start = ww_journal_find(s->journal, first)->scores;
    double *gain = ww_realloc_array(
        gains->gain, (size_t)(gains->items + more) * gains->n + 1, sizeof(*gain));
    if (!gain) {
        return WW_FAIL_MEMORY(err, "a screen");
    }
    gains->gain = gain;
    for (uint32_t v = 0; v < gains->n; v++) {
        const struct ww_journal_entry *e = ww_journal_find(s->journal, first + 1 + v);
        for (uint32_t i = 0; i < more; i++) {
            gain[(size_t)(gains->items + i) * gains->n + v] =
                e->n > 0 ? sign * (e->scores[i] - start[i]) : 0;
        }
    }
    gains->items += more;
    return WW_OK;
}

enum ww_err ww_screen_cover(const struct ww_screen_gains *gains, bool *stays,
                            struct ww_error *err)
{
    double *best = ww_calloc(gains->items, sizeof(*best));
    double first = 0;
    double adds = 0;
    if (!best) {
        return WW_FAIL_MEMORY(err, "a screen");
    }
    for (;;) {
        uint32_t next = gains->n;
        adds = 0;
        for (uint32_t v = 0; v < gains->n; v++) {
            const bool may = !stays[v] && mean_of(gains, v) > 0;
            const double sum = may ? sum_above(gains, v, best) : 0;
            next = sum > adds ? v : next;
            adds = fmax(adds, sum);
        }
        if (adds <= ADDS * first) {
            break;
        }
        first = fmax(first, adds);
        stays[next] = true;
        for (uint32_t i = 0; i < gains->items; i++) {
            best[i] = fmax(best[i], gains->gain[(size_t)i * gains->n + next]);
        }
    }
    ww_free(best);
    return WW_OK;
}
