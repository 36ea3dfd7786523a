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

/* Gains by variable, of those alone that help in the mean. */
struct cover {
    uint32_t n, items;
    double *gain; /* [n][items] */
    double *best; /* [items], of those that stay */
    double *most; /* [n], what each added when it was last asked; it never adds more */
};

static enum ww_err begin(struct cover *c, const struct ww_screen_gains *gains,
                         struct ww_error *err)
{
    *c = (struct cover){.n = gains->n, .items = gains->items};
    c->gain = ww_calloc(c->n, c->items * sizeof(*c->gain));
    c->best = ww_calloc(c->items, sizeof(*c->best));
    c->most = ww_calloc(c->n, sizeof(*c->most));
    if (!c->gain || !c->best || !c->most) {
        return WW_FAIL_MEMORY(err, "a screen");
    }
    for (uint32_t v = 0; v < c->n; v++) {
        double *own = c->gain + (size_t)v * c->items;
        double sum = 0;
        for (uint32_t i = 0; i < c->items; i++) {
            own[i] = gains->gain[(size_t)i * c->n + v];
            sum += own[i];
        }
        c->most[v] = sum > 0 ? (double)INFINITY : 0;
    }
    return WW_OK;
}

static void end(struct cover *c)
{
    ww_free(c->gain);
    ww_free(c->best);
    ww_free(c->most);
}

/* What a variable adds to the best of those that stay. */
static double sum_above(const struct cover *c, uint32_t v)
{
    const double *own = c->gain + (size_t)v * c->items;
    double sum = 0;
    for (uint32_t i = 0; i < c->items; i++) {
        sum += fmax(0, own[i] - c->best[i]);
    }
    return sum;
}

/* The one that adds most, n where none adds anything. Only those are asked that added
 * more when they were asked before (Minoux 1978). */
static uint32_t next_of(struct cover *c, double *adds)
{
    uint32_t next = c->n;
    *adds = 0;
    for (uint32_t v = 0; v < c->n; v++) {
        if (c->most[v] > *adds) {
            c->most[v] = sum_above(c, v);
            next = c->most[v] > *adds ? v : next;
            *adds = fmax(*adds, c->most[v]);
        }
    }
    return next;
}

enum ww_err ww_screen_cover(const struct ww_screen_gains *gains, bool *stays,
                            struct ww_error *err)
{
    struct cover c;
    double first = 0;
    double adds = 0;
    enum ww_err rc = begin(&c, gains, err);
    while (!rc) {
        const uint32_t next = next_of(&c, &adds);
        if (adds <= ADDS * first) {
            break;
        }
        first = fmax(first, adds);
        stays[next] = true;
        c.most[next] = 0;
        for (uint32_t i = 0; i < c.items; i++) {
            c.best[i] = fmax(c.best[i], c.gain[(size_t)next * c.items + i]);
        }
    }
    end(&c);
    return rc;
}
