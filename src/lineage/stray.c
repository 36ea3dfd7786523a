/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounding of BF16 makes a part of every task vector exactly zero, most of all where
 * weights are large, and there the suspect is the base's or something else went in. How
 * often something would show there is told by how often the suspect leaves the base
 * elsewhere, at weights of the same exponent of the same tensor.
 */
#include <math.h>

#include "lineage/stray_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define AT_MOST 1.0   /* by which a source enters at most, */
#define OF_SHARE 4.0  /* or by that of its share, what was dropped being made up for */
#define SHOWN 500     /* places that would show something: of all, */
#define OF_ONE 100    /* of one tensor, */
#define ALONE 2000    /* of one source, which nothing shows, */
#define FEW_ALONE 200 /* and of one that something does */
#define LEAST 30      /* places that the least source would have shown at */
#define ANYWHERE 1e-4 /* of places: accidents of a merge in a narrow dtype */
#define NONE 0.001    /* of those that show something: accidents of arithmetic */
#define NONE_OF_ONE 0.03
#define ENOUGH 200   /* elements that a source alone moved, */
#define OF_TENSOR 20 /* and of one tensor */
#define SHOWS 10     /* of them that a twin misses where it shows, */
#define FEWER 3      /* and by how often a source misses fewer */
#define ZEROED 0.02  /* of weights that blocks made zero and no source did: pruned */

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
        const struct met *m = &s->met[((size_t)t * s->n_named + k) * 2 + which];
        met += m->n >= OF_TENSOR ? m->met : 0;
        all += m->n >= OF_TENSOR ? m->n : 0;
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
    const struct ww_sweep_ask ask = {.phase = "method",
                                     .through = ww_stray_through,
                                     .use = use,
                                     .sources = read,
                                     .cells = true,
                                     .in_part = true};
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
    s.met = ww_calloc((size_t)family->n_tensors * s.n_named * 2, sizeof(*s.met));
    s.weights = ww_calloc(family->n_tensors, sizeof(struct weights *));
    if (!s.counts || !s.alone || !s.met || !s.weights) {
        rc = WW_FAIL_MEMORY(err, "places that sources leave as they were");
        goto out;
    }
    rc = ww_sweep(family, &ask, run, ww_stray_visit, &s, bytes_read, err);
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
    ww_free(s.met);
    for (uint32_t t = 0; s.weights && t < family->n_tensors; t++) {
        ww_free(s.weights[t]); /* of one that failed */
    }
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
