/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods that select elements. A density has no estimator here: it is searched,
 * coarsely, then finely, as more of the mask comes out right the nearer it is.
 */
#include <math.h>
#include <string.h>

#include "lineage/contest_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LOOK ((uint64_t)1 << 17) /* elements that numbers are searched on */
#define WORTH 0.15               /* so are the weights */
#define ROUNDS 6                 /* of looks at the weights */
#define GAIN 0.01                /* of a look that is worth another one */
#define SPREAD 0.4               /* match from which densities may differ */
#define TURNS 2                  /* of looks at densities that differ */
#define FEW 6                    /* sources whose densities are looked at one by one */
#define SCALES 15                /* fiftieths by which shares may be too small */
#define MOST_TENTHS 30           /* that weights sum to, where their parts count alone */
#define CUTS 0.02                /* bits that equal values at a cut may cost */
#define NEARLY 0.3               /* a coarse density is worth a finer look from here */

static double hundredths(double v)
{
    return round(v * 100) / 100;
}

/* What one twin has too much the other has too little: hundredths from one weight to
 * another. */
static enum ww_err shift(struct ww_contesting *c, struct ww_sketch *s,
                         struct ww_trial *coarse, struct ww_error *err)
{
    static const int steps[] = {-1, 1, -4, 4};
    enum ww_err rc = WW_OK;

    for (size_t pair = 0; pair < s->n * s->n; pair++) {
        const size_t i = pair / s->n;
        const size_t j = pair % s->n;
        for (size_t k = 0; i < j && k < WW_LEN(steps) && !rc; k++) {
            struct ww_sketch moved = *s;
            const double least = coarse->match;
            moved.weights[i] = hundredths(s->weights[i] + steps[k] / 100.0);
            moved.weights[j] = hundredths(s->weights[j] - steps[k] / 100.0);
            rc = ww_contest_try(c, &moved, false, coarse, err);
            *s = coarse->match > least ? moved : *s;
        }
    }
    return rc;
}

/* Rounds over the hundredths around each weight, one after another, as long as they help.
 */
enum ww_err ww_contest_refine(struct ww_contesting *c, struct ww_sketch *s,
                              struct ww_trial *coarse, struct ww_error *err)
{
    static const int steps[] = {-1, 1, -3, 3, -8, 8};
    double before = 0;
    enum ww_err rc = WW_OK;

    for (unsigned round = 0; round < ROUNDS && !rc && coarse->match > before + GAIN;
         round++) {
        before = coarse->match;
        for (size_t i = 0; i < s->n; i++) {
            const double near = hundredths(s->weights[i]);
            double best = s->weights[i];
            for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]) && !rc; k++) {
                const double least = coarse->match;
                s->weights[i] = hundredths(near + steps[k] / 100.0);
                rc = ww_contest_try(c, s, false, coarse, err);
                best = coarse->match > least ? s->weights[i] : best;
            }
            s->weights[i] = best;
        }
        if (!rc && s->n <= FEW && coarse->match > SPREAD &&
            coarse->match < WW_CONTEST_AGREED) {
            rc = shift(c, s, coarse, err);
        }
    }
    return rc;
}

/* Is it the recipe but for the last places of its numbers? */
static bool may_settle(const struct ww_sketch *s, const struct ww_trial *coarse)
{
    return s->n <= FEW && coarse->match > SPREAD && coarse->match < WW_CONTEST_AGREED;
}

/* Each source may have a density of its own: one after another, in tenths. */
static enum ww_err spread(struct ww_contesting *c, struct ww_sketch *s,
                          struct ww_trial *coarse, struct ww_error *err)
{
    double before = 0;
    enum ww_err rc = WW_OK;

    for (unsigned turn = 0; turn < TURNS && !rc && coarse->match > before + GAIN;
         turn++) {
        before = coarse->match;
        for (size_t i = 0; i < s->n && !rc; i++) {
            double best = s->densities[i];
            for (unsigned tenth = 1; tenth <= 9 && !rc; tenth++) {
                const double least = coarse->match;
                s->densities[i] = tenth / 10.0;
                rc = ww_contest_try(c, s, false, coarse, err);
                best = coarse->match > least ? s->densities[i] : best;
            }
            s->densities[i] = best;
        }
        if (!rc && coarse->match > before + GAIN) {
            rc = ww_contest_refine(c, s, coarse, err);
        }
    }
    return rc;
}

/* Densities that differ: in tenths where they are far off, then in thousandths. */
static enum ww_err part_ways(struct ww_contesting *c, struct ww_sketch *s, double *number,
                             struct ww_trial *coarse, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    s->densities_differ = true;
    for (size_t i = 0; i < s->n; i++) {
        s->densities[i] = s->density;
    }
    if (coarse->match < WW_CONTEST_SETTLED) {
        rc = spread(c, s, coarse, err);
    }
    return rc || !may_settle(s, coarse) ? rc
                                        : ww_contest_settle(c, s, number, coarse, err);
}

/* Shares of a selection are the weights less what was dropped, and about in one part for
 * all: the part is looked for, in hundredths that recipes have. Weights that are divided
 * by their sum have it in lambda. */
static enum ww_err rescale(struct ww_contesting *c, struct ww_sketch *s,
                           struct ww_trial *coarse, struct ww_error *err)
{
    const struct ww_sketch start = *s;
    const bool in_vain = s->divided && !s->key;
    enum ww_err rc = WW_OK;

    for (unsigned step = 0; step <= SCALES && !rc && !in_vain; step++) {
        struct ww_sketch scaled = start;
        const double least = coarse->match;
        for (size_t i = 0; i < s->n && !s->divided; i++) {
            scaled.weights[i] = hundredths(start.weights[i] * (1 + 0.02 * step));
        }
        scaled.value *= s->divided ? 1 + 0.02 * step : 1;
        rc = ww_contest_try(c, &scaled, false, coarse, err);
        *s = coarse->match > least ? scaled : *s;
    }
    return rc;
}

/* Task vectors of few steps have large parts of equal length, and of those at a cut any
 * may have been kept: numbers are told by the others then, at three times the cost. */
static enum ww_err look_at_cuts(struct ww_contesting *c, const struct ww_sketch *s,
                                struct ww_trial *coarse, struct ww_error *err)
{
    struct ww_trial with = {0};
    const enum ww_err rc = ww_contest_try(c, s, true, &with, err);

    c->cuts = !rc && with.match > coarse->match + CUTS;
    ww_free(c->cuts ? coarse->text : with.text);
    *coarse = c->cuts ? with : *coarse;
    return rc;
}

/* Density, or the share that is selected: tenths, then halves of them, then with all
 * other numbers in thousandths where most of the bits come out. Only the last look leaves
 * undecided elements out, as it costs three predictions. */
enum ww_err ww_contest_search(struct ww_contesting *c, struct ww_sketch *s,
                              double *number, struct ww_trial *best, struct ww_error *err)
{
    const uint64_t room = c->room;
    struct ww_trial coarse = {0};
    double at = 0;
    enum ww_err rc = WW_OK;

    c->room = room < LOOK ? room : LOOK;
    for (unsigned i = 1; i <= 9 && !rc; i++) {
        const double before = coarse.match;
        *number = i / 10.0;
        rc = ww_contest_try(c, s, false, &coarse, err);
        at = coarse.match > before ? *number : at;
    }
    for (int side = -1; side <= 1 && !rc && coarse.match > NEARLY; side += 2) {
        const double before = coarse.match;
        const double tenth = at;
        *number = round((tenth + side * 0.05) * 100) / 100;
        rc = ww_contest_try(c, s, false, &coarse, err);
        at = coarse.match > before ? *number : tenth;
    }
    *number = at;
    if (!rc && coarse.match > NEARLY) {
        rc = look_at_cuts(c, s, &coarse, err);
    }
    if (!rc && s->weighted && coarse.match > WORTH) {
        rc = rescale(c, s, &coarse, err);
    }
    if (!rc && s->weighted && coarse.match > WORTH) {
        rc = ww_contest_refine(c, s, &coarse, err);
    }
    if (!rc && may_settle(s, &coarse)) {
        rc = ww_contest_settle(c, s, number, &coarse, err);
    }
    if (!rc && s->dense && s->n > 1 && may_settle(s, &coarse)) {
        rc = part_ways(c, s, number, &coarse, err);
    }
    c->room = room;
    c->cuts = false;
    if (!rc && coarse.match > NEARLY) {
        rc = ww_contest_try(c, s, true, best, err);
    }
    ww_free(coarse.text);
    return rc;
}

/* How many of the largest are dropped is looked for where the rest is right so far. */
static enum ww_err try_gammas(struct ww_contesting *c, const struct ww_sketch *found,
                              struct ww_trial *best, struct ww_error *err)
{
    static const double gammas[] = {0, 0.005, 0.02, 0.03, 0.05, 0.1};
    const uint64_t room = c->room;
    struct ww_sketch s = *found;
    struct ww_trial coarse = {0};
    double gamma = -1;
    enum ww_err rc = WW_OK;

    c->room = room < LOOK ? room : LOOK;
    rc = ww_contest_try(c, &s, false, &coarse, err);
    s.extra = "gamma";
    for (size_t i = 0; i < WW_LEN(gammas) && !rc; i++) {
        const double before = coarse.match;
        s.extra_value = gammas[i];
        rc = ww_contest_try(c, &s, false, &coarse, err);
        gamma = coarse.match > before ? gammas[i] : gamma;
    }
    c->room = room;
    ww_free(coarse.text);
    s.extra_value = gamma;
    return rc || gamma < 0 ? rc : ww_contest_search(c, &s, &s.density, best, err);
}

/* Weights of which only the proportions are known, in the tenths that somebody may have
 * written: those of the least sum. False when there are none. */
static bool in_tenths(struct ww_sketch *s)
{
    for (unsigned sum = 1; sum <= MOST_TENTHS; sum++) {
        bool near = true;
        for (size_t i = 0; i < s->n; i++) {
            const double at = s->weights[i] * sum;
            near &= round(at) != 0 && fabs(at - round(at)) <= WW_CONTEST_REACH * sum;
        }
        for (size_t i = 0; i < s->n && near; i++) {
            s->weights[i] = round(s->weights[i] * sum) / 10;
        }
        if (near) {
            return true;
        }
    }
    return false;
}

/* The same sums where signs were elected, divided by the weights of what was kept: where
 * all were kept that is by the weights' sum, and lambda is what the weights seem to sum
 * to. */
static void divide(struct ww_sketch *s, const double *weights, double sum)
{
    s->plain = false;
    s->divided = true;
    if (fabs(sum - 1) >= WW_CONTEST_EVEN) {
        s->key = "lambda";
        s->value = ww_sketch_shortest(sum, WW_CONTEST_REACH);
    }
    for (size_t i = 0; i < s->n; i++) {
        s->weights[i] = weights[i] / sum;
    }
    if (in_tenths(s)) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        s->weights[i] = ww_sketch_shortest(s->weights[i], WW_CONTEST_REACH);
    }
}

/* One search; found is its sketch where it is the best so far. */
static enum ww_err search_from(struct ww_contesting *c, const struct ww_sketch *start,
                               struct ww_sketch *found, struct ww_trial *best,
                               struct ww_error *err)
{
    struct ww_sketch s = *start;
    const double before = best->match;
    const enum ww_err rc = ww_contest_search(c, &s, &s.density, best, err);

    *found = best->match > before ? s : *found;
    return rc;
}

/* Of few sources the core has the weights; of many too few elements are in it, and shares
 * are the better beginning. */
static enum ww_err try_cut(struct ww_contesting *c, const char *method, double *match,
                           struct ww_error *err)
{
    const bool elects = strcmp(method, "breadcrumbs") != 0;
    const double *starts[] = {c->ask->core, c->ask->shares};
    struct ww_sketch found = c->sketch;
    struct ww_trial best = {0};
    enum ww_err rc = WW_OK;

    for (unsigned k = 0; k < 2 && !rc && best.match < WW_CONTEST_SETTLED; k++) {
        struct ww_sketch s = c->sketch; /* nothing of the beginning before */
        double sum = 0;
        s.method = method;
        s.weighted = s.dense = s.plain = true;
        for (size_t i = 0; i < c->ask->n; i++) {
            s.weights[i] = ww_sketch_shortest(starts[k][i], WW_CONTEST_REACH);
            sum += starts[k][i];
        }
        rc = search_from(c, &s, &found, &best, err);
        if (!rc && best.match < WW_CONTEST_SETTLED && elects && s.n > 1 && sum > 0) {
            divide(&s, starts[k], sum);
            rc = search_from(c, &s, &found, &best, err);
        }
    }
    if (!rc && strcmp(method, "ties") != 0 && best.match > SPREAD &&
        best.match < WW_CONTEST_SETTLED) {
        rc = try_gammas(c, &found, &best, err);
    }
    *match = best.match;
    ww_contest_close(c, method, false, &best);
    return rc;
}

enum ww_err ww_contest_selections(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    struct ww_trial best = {0};
    double ties = 0;
    double crumbs = 0;
    enum ww_err rc = try_cut(c, "ties", &ties, err);

    if (!rc && c->out->match < WW_CONTEST_AGREED) {
        rc = try_cut(c, "breadcrumbs", &crumbs, err);
    }
    /* But for the few longest, which it drops, it is TIES. */
    if (!rc && fmax(ties, crumbs) > SPREAD && c->out->match < WW_CONTEST_AGREED) {
        rc = try_cut(c, "breadcrumbs_ties", &crumbs, err);
    }
    s.method = "sce";
    if (!rc && c->out->match < WW_CONTEST_SETTLED && c->ask->n >= 2) {
        rc = ww_contest_try(c, &s, false, &best, err);
        s.key = "select_topk";
        rc = rc ? rc : ww_contest_search(c, &s, &s.value, &best, err);
        ww_contest_close(c, s.method, false, &best);
    }
    /* About the part that left the base is what was selected. */
    if (!rc && c->out->match < WW_CONTEST_SETTLED && c->ask->n_others) {
        s.key = "select_topk";
        s.value = fmax(0.1, round(c->ask->kept * 10) / 10);
        rc = ww_contest_set(c, &s, err);
    }
    return rc;
}
