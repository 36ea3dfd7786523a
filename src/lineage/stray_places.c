/* SPDX-License-Identifier: Apache-2.0 */
/* Which places sources leave as they are, which one alone moves, and where the suspect
 * is. */
#include <math.h>

#include "lineage/draws.h"
#include "lineage/stray_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define RUN 64     /* elements that lie side by side, */
#define ALIVE 16   /* of which so many differ where training went by at all */
#define STILL 0.25 /* of how far elements move in root mean square: hardly differs */
#define EDGE 1e-6  /* of a weight: arithmetic at the edge of a cell */
#define FROM 0.5   /* of a share: the first weight, */
#define FINE 0.005 /* and the step to the next one */
#define APART 0.15 /* of its length: how far a made-up twin is from a source */

/* Where the suspect can lie as far as sources say, from the base. */
struct reach {
    double low;
    double high;
};
static const struct reach nowhere = {0, 0};

static double move_of(const struct straying *s, const struct ww_moments_tile *tile,
                      size_t e, unsigned i)
{
    return s->most[i] == 0
               ? 0
               : s->most[i] * (tile->columns[(size_t)(i + 2) * WW_MOMENTS_TILE + e] -
                               tile->columns[WW_MOMENTS_TILE + e]);
}

/* Of all sources but one; WW_NONE: of all. */
static struct reach reach_of(const struct straying *s, const struct ww_moments_tile *tile,
                             size_t e, unsigned but)
{
    struct reach r = {0, 0};

    for (unsigned i = 0; i < s->n_sources; i++) {
        const double by = i == but ? 0 : move_of(s, tile, e, i);
        r.low += fmin(0, by);
        r.high += fmax(0, by);
    }
    return r;
}

static double width(const struct reach *r)
{
    return r->high - r->low;
}

/* How far the blend moves the tile's elements, or one source differs, in root mean
 * square. */
static double typical(const struct straying *s, const struct ww_moments_tile *tile,
                      size_t n, const unsigned *source)
{
    double sum = 0;

    for (size_t e = 0; e < n; e++) {
        double by = source ? move_of(s, tile, e, *source) / s->most[*source] : 0;
        for (unsigned k = 0; k < s->n_named && !source; k++) {
            const unsigned i = s->named[k];
            by += s->shares[i] * move_of(s, tile, e, i) / s->most[i];
        }
        sum += by * by;
    }
    return n ? sqrt(sum / (double)n) : 0;
}

/* Root of the mean square of the base's weights. */
static double size_of(const struct ww_moments_tile *tile, size_t n)
{
    double sum = 0;

    for (size_t e = 0; e < n; e++) {
        const double base = tile->columns[WW_MOMENTS_TILE + e];
        sum += base * base;
    }
    return n ? sqrt(sum / (double)n) : 0;
}

/* Between which numbers the suspect's value was. before: it may have been rounded to the
 * grid then. */
static struct reach cell_of(const struct ww_moments_tile *tile, size_t e,
                            enum ww_dtype grid, bool before)
{
    const double suspect = tile->columns[e];
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    const double half =
        ldexp(0.5, ww_moments_step(fmax(fabs(suspect), fabs(base)), grid));
    const double edge = before ? half : EDGE * fabs(base);

    return tile->has_steps && tile->steps[e] > 0
               ? (struct reach){tile->low[e] - edge, tile->high[e] + edge}
               : (struct reach){suspect - half, suspect + half};
}

/* How far that is from all that is within reach of the base; 0: it may be there. */
static double outside(const struct ww_moments_tile *tile, size_t e, enum ww_dtype grid,
                      const struct reach *r)
{
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    const struct reach cell = cell_of(tile, e, grid, width(r) > 0);

    return fmax(0, fmax(cell.low - (base + r->high), (base + r->low) - cell.high));
}

static unsigned size_at(double base)
{
    int exponent = 0;

    (void)frexp(base, &exponent);
    return exponent > 0 ? 0 : -exponent >= SIZES ? SIZES - 1 : (unsigned)-exponent;
}

/* Says the element something? Not what was pruned, nor what blocks left nothing of, nor
 * what they may have made of zero. */
static bool says(const struct ww_moments_tile *tile, size_t e, double longest)
{
    const double suspect = tile->columns[e];
    const double base = tile->columns[WW_MOMENTS_TILE + e];

    return tile->has_steps && tile->steps[e] > 0
               ? tile->steps[e] <= longest && !(tile->low[e] <= 0 && tile->high[e] >= 0)
               : !ww_moments_pruned(suspect, base, false);
}

static bool is_zeroed(const struct ww_moments_tile *tile, size_t e)
{
    const double base = fabs(tile->columns[WW_MOMENTS_TILE + e]);

    return tile->has_steps && tile->steps[e] > 0 && tile->columns[e] == 0 &&
           base > tile->steps[e];
}

static void add(struct places *to, bool out)
{
    to->n++;
    to->out += out;
}

/* What a tile's elements are measured with. */
struct measure {
    enum ww_dtype grid;
    double longest;            /* step that leaves something, */
    double still;              /* reach that is none */
    double length[MOST_NAMED]; /* of the sources, in root mean square */
};

/* A tile, and what it is looked at with. */
struct look {
    const struct straying *s;
    const struct ww_moments_tile *tile;
    const struct measure *m;
};

static int bin_of(double weight, double share)
{
    const double at = weight > 0 ? log(weight / (FROM * fabs(share))) / FINE : -1;

    return at < 0 ? 0 : at > WEIGHTS ? WEIGHTS : (int)at;
}

/* Weights that make the suspect's value out of x; none where it moved the other way. */
static void add_weights(struct weights *to, const struct look *l, unsigned source,
                        size_t e, const struct reach *others, double x)
{
    const double share = l->s->shares[source];
    const double base = l->tile->columns[WW_MOMENTS_TILE + e];
    const struct reach cell = cell_of(l->tile, e, l->m->grid, true);
    const double one = (cell.low - base - others->high) / x * copysign(1, share);
    const double two = (cell.high - base - others->low) / x * copysign(1, share);

    to->n++;
    if (x != 0 && fmax(one, two) > 0) {
        const int from = bin_of(fmin(one, two), share);
        const int until = bin_of(fmax(one, two), share) + 1;
        to->steps[from]++;
        to->steps[until > WEIGHTS ? WEIGHTS : until]--;
    }
}

/* The one source that can have moved it, if it is one. */
static void add_alone(const struct look *l, size_t e, double whole, struct places *alone,
                      struct weights *weights)
{
    const struct straying *s = l->s;
    const unsigned size = size_at(l->tile->columns[WW_MOMENTS_TILE + e]);

    for (unsigned k = 0; k < s->n_named; k++) {
        const unsigned i = s->named[k];
        const double by = fabs(move_of(s, l->tile, e, i));
        if (by > 0 && whole - by <= l->m->still) {
            const struct reach r = reach_of(s, l->tile, e, i);
            const double x = move_of(s, l->tile, e, i) / s->most[i];
            const bool out = outside(l->tile, e, l->m->grid, &r) > 0;
            add(&alone[(size_t)k * SIZES + size], out);
            if (out) {
                const double off = ww_draw_side(e) * APART * l->m->length[k];
                add_weights(&weights[2 * k], l, i, e, &r, x);
                add_weights(&weights[2 * k + 1], l, i, e, &r, x + off);
            }
        }
    }
}

static void count_run(const struct look *l, size_t from, size_t to, struct counts *counts,
                      struct places *alone, struct weights *weights)
{
    const struct straying *s = l->s;
    const struct ww_moments_tile *tile = l->tile;
    const struct measure *m = l->m;

    for (size_t e = from; e < to; e++) {
        const struct reach r = reach_of(s, tile, e, WW_NONE);
        const unsigned at = size_at(tile->columns[WW_MOMENTS_TILE + e]);
        if (!says(tile, e, m->longest)) {
            continue;
        }
        if (width(&r) <= m->still) {
            add(&counts->still[at], outside(tile, e, m->grid, &r) > 0);
        } else {
            add(&counts->others[at], outside(tile, e, m->grid, &nowhere) > 0);
            add_alone(l, e, width(&r), alone, weights);
        }
    }
}

/* Rows of words that nobody trained on say nothing of sources. */
static bool is_alive(const struct straying *s, const struct ww_moments_tile *tile,
                     size_t from, size_t to, double still)
{
    unsigned differ = 0;

    for (size_t e = from; e < to; e++) {
        const struct reach r = reach_of(s, tile, e, WW_NONE);
        differ += width(&r) > still;
    }
    return differ >= ALIVE;
}

static void add_left(const struct straying *s, const struct ww_moments_tile *tile,
                     size_t n, const struct measure *m, struct counts *counts)
{
    for (size_t e = 0; e < n; e++) {
        if (says(tile, e, m->longest)) {
            const struct reach r = reach_of(s, tile, e, WW_NONE);
            const double away = outside(tile, e, m->grid, &nowhere);
            const double left = away > 0 ? outside(tile, e, m->grid, &r) : 0;
            counts->away += away * away;
            counts->left += left * left;
            counts->told++;
            counts->out += left > 0;
        }
        counts->zeroed += is_zeroed(tile, e);
    }
    counts->all += n;
}

enum ww_err ww_stray_visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                           size_t n, struct ww_error *err)
{
    const struct straying *s = payload;
    struct measure m = {s->family->tensors[tensor].grid,
                        tile->has_steps ? size_of(tile, n) : 0,
                        STILL * typical(s, tile, n, NULL),
                        {0}};
    struct counts *counts = &s->counts[tensor];
    const struct look l = {s, tile, &m};

    if (!s->weights[tensor]) {
        s->weights[tensor] = ww_calloc((size_t)s->n_named * 2, sizeof(struct weights));
    }
    if (!s->weights[tensor]) {
        return WW_FAIL_MEMORY(err, "places that sources leave as they were");
    }
    for (unsigned k = 0; k < s->n_named; k++) {
        m.length[k] = typical(s, tile, n, &s->named[k]);
    }
    add_left(s, tile, n, &m, counts);
    for (size_t from = 0; from < n; from += RUN) {
        const size_t to = from + RUN < n ? from + RUN : n;
        if (is_alive(s, tile, from, to, m.still)) {
            count_run(&l, from, to, counts,
                      s->alone + (size_t)tensor * s->n_named * SIZES, s->weights[tensor]);
        }
    }
    return WW_OK;
}

void ww_stray_through(void *payload, uint32_t tensor)
{
    const struct straying *s = payload;
    struct weights *weights = s->weights[tensor];

    for (size_t k = 0; k < (size_t)s->n_named * 2 && weights; k++) {
        struct met *out = &s->met[(size_t)tensor * s->n_named * 2 + k];
        int64_t at = 0;
        for (unsigned i = 0; i < WEIGHTS; i++) {
            at += weights[k].steps[i];
            out->met = at > out->met ? (uint32_t)at : out->met;
        }
        out->n = weights[k].n;
    }
    ww_free(weights);
    s->weights[tensor] = NULL;
}
