/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounding of BF16 makes a part of every task vector exactly zero, most of all where
 * weights are large, and there the suspect is the base's or something else went in. How
 * often something would show there is told by how often the suspect leaves the base
 * elsewhere, at weights of the same exponent of the same tensor.
 */
#include "lineage/stray.h"

#include <math.h>
#include <string.h>

#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SIZES 16     /* exponents of weights that are told apart */
#define RUN 64       /* elements that lie side by side, */
#define ALIVE 16     /* of which so many differ where training went by at all */
#define AT_MOST 1.0  /* by which a source enters at most, */
#define OF_SHARE 4.0 /* or by that of its share, what was dropped being made up for */
#define STILL                                                                            \
    0.25           /* of how far elements move in root mean square: what hardly differs  \
                    */
#define EDGE 1e-6  /* of a weight: arithmetic at the edge of a cell */
#define SHOWN 500  /* places that would show something: of all, */
#define OF_ONE 100 /* of one tensor, */
#define ALONE 2000 /* of one source, which nothing shows, */
#define FEW_ALONE 200 /* and of one that something does */
#define LEAST 30      /* places that the least source would have shown at */
#define ANYWHERE 1e-4 /* of places: accidents of a merge in a narrow dtype */
#define NONE 0.001    /* of those that show something: accidents of arithmetic */
#define NONE_OF_ONE 0.03
#define MOST_NAMED 6 /* sources */
#define FROM 0.5     /* of a share: the first weight, */
#define FINE 0.005   /* and the step to the next one */
#define APART 0.15   /* of its length: how far a made-up twin is from a source */
#define ENOUGH 200   /* elements that a source alone moved, */
#define OF_TENSOR 20 /* and of one tensor */
#define SHOWS 10     /* of them that a twin misses where it shows, */
#define FEWER 3      /* and by how often a source misses fewer */
#define ZEROED 0.02  /* of weights that blocks made zero and no source did: pruned */

/* Places of one kind, and those of them where the suspect is where it cannot be. */
struct places {
    uint64_t n;
    uint64_t out;
};

struct counts {
    uint64_t all;
    uint64_t zeroed;
    uint64_t told; /* not pruned, and more than its rounding is left of it */
    uint64_t out;
    double away; /* squares of how far the suspect is from the base, */
    double left; /* and from where sources may have moved it */
    struct places still[SIZES];
    struct places others[SIZES]; /* a source may have moved the suspect; out: it moved */
};

/* Elements that a source alone moved, by the weights that make each: a difference array
 * over weights in equal parts. */
#define WEIGHTS 640
struct weights {
    int32_t steps[WEIGHTS + 1];
    uint32_t n;
};

struct straying {
    const struct ww_family *family;
    unsigned n_sources;
    double most[WW_LINEAGE_MAX_SOURCES]; /* by which sources enter, with its sign */
    const double *shares;
    struct counts *counts;   /* per tensor */
    struct places *alone;    /* [tensors][n_named][SIZES] */
    struct weights *weights; /* [tensors][n_named][2]: of the source, of a made-up twin */
    unsigned n_named;
    unsigned named[MOST_NAMED]; /* the sources that take part */
};

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

static int bin_of(double weight, double share)
{
    const double at = weight > 0 ? log(weight / (FROM * fabs(share))) / FINE : -1;

    return at < 0 ? 0 : at > WEIGHTS ? WEIGHTS : (int)at;
}

/* Weights that make the suspect's value out of x; none where it moved the other way. */
static void add_weights(struct weights *to, const struct straying *s, unsigned source,
                        const struct ww_moments_tile *tile, size_t e,
                        const struct measure *m, const struct reach *others, double x)
{
    const double share = s->shares[source];
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    const struct reach cell = cell_of(tile, e, m->grid, true);
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

/* One side or the other, by the place alone. */
static double toss(size_t e)
{
    uint64_t state = e;

    return ww_draw(&state) & 1 ? 1 : -1;
}

/* The one source that can have moved it, if it is one. */
static void add_alone(const struct straying *s, const struct ww_moments_tile *tile,
                      size_t e, const struct measure *m, double whole,
                      struct places *alone, struct weights *weights)
{
    for (unsigned k = 0; k < s->n_named; k++) {
        const unsigned i = s->named[k];
        const double by = fabs(move_of(s, tile, e, i));
        if (by > 0 && whole - by <= m->still) {
            const struct reach r = reach_of(s, tile, e, i);
            const double x = move_of(s, tile, e, i) / s->most[i];
            const bool out = outside(tile, e, m->grid, &r) > 0;
            add(&alone[(size_t)k * SIZES + size_at(tile->columns[WW_MOMENTS_TILE + e])],
                out);
            if (out) {
                add_weights(&weights[2 * k], s, i, tile, e, m, &r, x);
                add_weights(&weights[2 * k + 1], s, i, tile, e, m, &r,
                            x + toss(e) * APART * m->length[k]);
            }
        }
    }
}

static void count_run(const struct straying *s, const struct ww_moments_tile *tile,
                      size_t from, size_t to, const struct measure *m,
                      struct counts *counts, struct places *alone,
                      struct weights *weights)
{
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
            add_alone(s, tile, e, m, width(&r), alone, weights);
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

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    const struct straying *s = payload;
    struct measure m = {s->family->tensors[tensor].grid,
                        tile->has_steps ? size_of(tile, n) : 0,
                        STILL * typical(s, tile, n, NULL),
                        {0}};
    struct counts *counts = &s->counts[tensor];
    (void)err;

    for (unsigned k = 0; k < s->n_named; k++) {
        m.length[k] = typical(s, tile, n, &s->named[k]);
    }
    add_left(s, tile, n, &m, counts);
    for (size_t from = 0; from < n; from += RUN) {
        const size_t to = from + RUN < n ? from + RUN : n;
        if (is_alive(s, tile, from, to, m.still)) {
            count_run(s, tile, from, to, &m, counts,
                      s->alone + (size_t)tensor * s->n_named * SIZES,
                      s->weights + (size_t)tensor * s->n_named * 2);
        }
    }
    return WW_OK;
}

/* How many of them would show that something went in, and how many did. */
struct sums {
    double shown;
    double out;
};

static void add_up(struct sums *to, const struct places *at, const struct counts *counts)
{
    for (unsigned i = 0; i < SIZES; i++) {
        const struct places *others = &counts->others[i];
        if (others->n > 0) {
            to->shown += (double)at[i].n * (double)others->out / (double)others->n;
            to->out += (double)at[i].out;
        }
    }
}

static void tell_still(const struct straying *s, struct ww_stray *out)
{
    struct sums sum = {0};
    uint64_t all = 0;
    uint64_t zeroed = 0;
    uint64_t told = 0;
    double away = 0;

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        struct sums one = {0};
        add_up(&one, s->counts[t].still, &s->counts[t]);
        sum.shown += one.shown;
        sum.out += one.out;
        all += s->counts[t].all;
        zeroed += s->counts[t].zeroed;
        told += s->counts[t].told;
        out->anywhere += (double)s->counts[t].out;
        away += s->counts[t].away;
        out->left += s->counts[t].left;
        if (one.shown >= OF_ONE) {
            out->worst = fmax(out->worst, one.out / one.shown);
        }
    }
    out->told = sum.shown >= SHOWN && (double)zeroed <= ZEROED * (double)all;
    out->shown = sum.shown;
    out->strayed = sum.out;
    out->anywhere /= told > 0 ? (double)told : 1;
    out->left /= away > 0 ? away : 1;
}

static void tell_alone(const struct straying *s, unsigned k, struct ww_stray *out)
{
    const unsigned source = s->named[k];
    struct sums sum = {0};

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        add_up(&sum, s->alone + ((size_t)t * s->n_named + k) * SIZES, &s->counts[t]);
    }
    out->alone[source] = sum.shown;
    out->needed[source] = sum.shown > 0 ? sum.out / sum.shown : 0;
}

/* The part of them that the one weight which makes most does not make. */
static double missed(const struct straying *s, unsigned k, unsigned which)
{
    uint64_t all = 0;
    uint64_t met = 0;

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        const struct weights *w = &s->weights[((size_t)t * s->n_named + k) * 2 + which];
        int64_t at = 0;
        int64_t most = 0;
        for (unsigned i = 0; i < WEIGHTS && w->n >= OF_TENSOR; i++) {
            at += w->steps[i];
            most = at > most ? at : most;
        }
        met += (uint64_t)most;
        all += w->n >= OF_TENSOR ? w->n : 0;
    }
    return all >= ENOUGH ? 1 - (double)met / (double)all : -1;
}

static void name_sources(struct straying *s, bool *read)
{
    for (unsigned i = 0; i < s->n_sources; i++) {
        const double share = s->shares[i];
        read[i] = share != 0;
        s->most[i] = read[i] ? copysign(fmax(AT_MOST, OF_SHARE * fabs(share)), share) : 0;
        if (read[i] && s->n_named < MOST_NAMED) {
            s->named[s->n_named] = i;
        }
        s->n_named += read[i];
    }
}

enum ww_err ww_stray_measure(const struct ww_family *family, const double *shares,
                             const bool *use, const struct ww_run_options *run,
                             struct ww_stray *out, uint64_t *bytes_read,
                             struct ww_error *err)
{
    struct straying s = {.family = family,
                         .n_sources = family->n_models - WW_FAMILY_SOURCES,
                         .shares = shares};
    bool read[WW_LINEAGE_MAX_SOURCES];
    const struct ww_sweep_ask ask = {
        .phase = "method", .use = use, .sources = read, .cells = true, .in_part = true};
    enum ww_err rc = WW_OK;

    *out = (struct ww_stray){.told = false};
    if (family->disguise.read && !family->disguise.exact && !family->disguise.cells) {
        return WW_OK;
    }
    name_sources(&s, read);
    if (s.n_named == 0 || s.n_named > MOST_NAMED) {
        return WW_OK;
    }
    s.counts = ww_calloc(family->n_tensors, sizeof(*s.counts));
    s.alone = ww_calloc((size_t)family->n_tensors * s.n_named * SIZES, sizeof(*s.alone));
    s.weights = ww_calloc((size_t)family->n_tensors * s.n_named * 2, sizeof(*s.weights));
    if (!s.counts || !s.alone || !s.weights) {
        rc = WW_FAIL_MEMORY(err, "places that sources leave as they were");
        goto out;
    }
    rc = ww_sweep(family, &ask, run, visit, &s, bytes_read, err);
    if (!rc) {
        tell_still(&s, out);
    }
    for (unsigned k = 0; k < s.n_named && !rc; k++) {
        tell_alone(&s, k, out);
        out->missed[s.named[k]] = missed(&s, k, 0);
        out->twin[s.named[k]] = missed(&s, k, 1);
    }
out:
    ww_free(s.counts);
    ww_free(s.alone);
    ww_free(s.weights);
    return rc;
}

/* Is it the source itself, as far as a twin would show? */
static bool is_itself(const struct ww_stray *stray, unsigned i)
{
    const double moved = stray->needed[i] * stray->alone[i];

    return stray->twin[i] * moved >= SHOWS && stray->missed[i] >= 0 &&
           FEWER * stray->missed[i] <= stray->twin[i];
}

/* Would a source as small as this one have shown at places enough? */
static bool would_show(const struct ww_stray *stray, unsigned i)
{
    return stray->alone[i] >= FEW_ALONE && stray->needed[i] * stray->shown >= LEAST;
}

bool ww_stray_none(const struct ww_stray *stray, const double *shares, unsigned n)
{
    bool none = stray->told && stray->strayed <= NONE * stray->shown &&
                stray->worst <= NONE_OF_ONE && stray->anywhere <= ANYWHERE &&
                stray->left <= WW_LINEAGE_ELSEWHERE;

    for (unsigned i = 0; i < n && none; i++) {
        none = shares[i] == 0 || (would_show(stray, i) && is_itself(stray, i));
    }
    return none;
}

bool ww_stray_without(const struct ww_stray *stray, unsigned source)
{
    return stray->alone[source] >= ALONE && stray->needed[source] <= NONE;
}
