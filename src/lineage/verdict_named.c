/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits and keep rates say of the method. */
#include "lineage/verdict_work.h"

#include <math.h>
#include <string.h>

#define SUM_IS_ONE 0.01
#define ALL_KEPT 0.97 /* part of a source's elements above which none were dropped */
#define STEEP                                                                            \
    0.3           /* by which the longer half is kept more, where length alone decides   \
                   */
#define SOME 0.35 /* of the elements, sums over some sources: no sum of all has that */

/* Weights that give the bits, as far as the bits tell them. */
static void take_weights(struct ww_decompose_report *r, const struct ww_contest *contest)
{
    size_t at = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        struct ww_lineage_source *s = &r->sources[i];
        if (s->included) {
            s->share = s->recipe = contest->weights[at];
            s->low = s->share - contest->within[at];
            s->high = s->share + contest->within[at++];
        }
    }
}

/* Rounding moves a share near 1 by more than its interval says; the bits do not. Of a
 * weight that was rounded itself they say no more than that. */
static void hold_weights(struct ww_decompose_report *r, const struct ww_contest *contest)
{
    size_t at = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        struct ww_lineage_source *s = &r->sources[i];
        const double weight = s->included ? contest->weights[at++] : 0;
        if (s->included && (weight < s->low || weight > s->high)) {
            s->share = s->recipe = weight;
            s->low = fmin(s->low, weight);
            s->high = fmax(s->high, weight);
        }
        if (s->included) {
            s->low -= contest->within[at - 1];
            s->high += contest->within[at - 1];
        }
    }
}

static size_t add_word(struct ww_decompose_report *r, const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(r->not_excluded[i], word) == 0) {
            return n;
        }
    }
    if (n + 1 < WW_LINEAGE_MAX_WORDS) {
        r->not_excluded[n++] = word;
    }
    return n;
}

/* TIES that gives most of the bits may be breadcrumbs of a gamma that was not tried, or
 * of one that leaves nothing out of the smallest tensors, which merges refuse. */
static size_t add_crumbs(struct ww_decompose_report *r, const struct ww_contest *contest,
                         size_t n)
{
    if (contest->match >= WW_VERDICT_BITS || strcmp(contest->method, "ties") != 0) {
        return n;
    }
    return add_word(r, "breadcrumbs_ties", add_word(r, "breadcrumbs", n));
}

static void set_winner(struct ww_decompose_report *r, const struct ww_contest *contest)
{
    double sum = 0;
    size_t n = 0;

    if (contest->scaled) {
        take_weights(r, contest);
    } else if (contest->summed) {
        hold_weights(r, contest);
    }
    r->method = contest->method;
    r->nearest = false;
    memset(r->not_excluded, 0, sizeof(r->not_excluded));
    for (; contest->equals[n]; n++) {
        r->not_excluded[n] = contest->equals[n];
    }
    n = add_crumbs(r, contest, n);
    for (size_t i = 0; i < r->n_sources; i++) {
        sum += r->sources[i].recipe;
    }
    if (strcmp(contest->method, "task_arithmetic") == 0 && fabs(sum - 1) >= SUM_IS_ONE) {
        (void)add_word(r, "linear with the base", n);
    }
}

bool ww_verdict_is_named(const struct ww_decompose_report *r,
                         const struct ww_subsets *parts, bool masked)
{
    return r->method_match >= WW_VERDICT_BITS ||
           (masked && r->method_match >= WW_VERDICT_NEARLY && !ww_verdict_lacks(parts));
}

/* A floor below a step is what the given sources do not explain: then no dropping does.
 */
static void set_mask(struct ww_decompose_report *r, const struct ww_keep *keep,
                     const struct ww_subsets *parts)
{
    const enum ww_keep_shape shape = ww_keep_shape(keep);
    const bool by_chance = shape == WW_KEEP_FLAT || shape == WW_KEEP_RAMP;

    if (by_chance && parts->told && !ww_verdict_lacks(parts)) {
        ww_verdict_say_chance(r, parts);
    } else {
        ww_verdict_say_shape(r, shape);
    }
    memcpy(r->keep_rates, keep->rate, sizeof(r->keep_rates));
    r->has_keep_rates = shape != WW_KEEP_FLOOR;
}

/* Did the sums show that elements were dropped? */
static bool drops(const struct ww_subsets *parts)
{
    bool found = false;

    for (unsigned i = 0; i < WW_LINEAGE_MAX_SOURCES; i++) {
        found |= parts->kept[i] >= 0 && parts->kept[i] < ALL_KEPT;
    }
    return ww_verdict_is_whole(parts) && found;
}

/* One by one, elements tell more of each source than the longest of all does. */
static void say_dropped(struct ww_decompose_report *r, const struct ww_keep *keep,
                        const struct ww_subsets *parts)
{
    const enum ww_keep_shape shape = ww_keep_shape(keep);
    double slope = 0;

    for (unsigned i = 0; i < WW_LINEAGE_MAX_SOURCES; i++) {
        slope = fmax(slope, parts->kept[i] >= 0 ? parts->slope[i] : 0);
    }
    if (keep->dropped > 1 - WW_VERDICT_MASKED &&
        (shape == WW_KEEP_STEP || shape == WW_KEEP_BAND)) {
        ww_verdict_say_shape(r, shape);
    } else if (slope > STEEP) {
        ww_verdict_say_shape(r, WW_KEEP_STEP);
    } else {
        ww_verdict_say_chance(r, parts);
    }
}

static void take_kept(struct ww_decompose_report *r, const struct ww_subsets *parts)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        r->sources[i].kept = parts->kept[i];
    }
}

static void set_parts(struct ww_decompose_report *r, const struct ww_keep *keep,
                      const struct ww_subsets *parts)
{
    say_dropped(r, keep, parts);
    memcpy(r->keep_rates, keep->rate, sizeof(r->keep_rates));
    r->has_keep_rates = true;
    take_kept(r, parts);
}

/* Is so much of the suspect a sum over some of the sources that elements were selected,
 * whatever else went in? Of a sum that lacks a source little is. */
static bool selects(const struct ww_subsets *parts)
{
    return parts->told && parts->sure && parts->explained >= SOME;
}

void ww_verdict_conclude(struct ww_decompose_report *r, const struct ww_contest *contest,
                         const struct ww_keep *keep, const struct ww_subsets *parts)
{
    r->recipe = contest->recipe;
    r->nearest = r->recipe != NULL;
    r->method_match = contest->match;
    r->gradient = contest->gradient && contest->match >= WW_VERDICT_BITS;
    if (contest->match >= WW_VERDICT_BITS) {
        set_winner(r, contest);
    } else if (r->n_ranks > 0) {
        ww_verdict_say(r, WW_SAY_LOW_RANK);
    } else if (r->unexplained <= 1 - WW_VERDICT_CEILING) {
        ww_verdict_say(r, WW_SAY_BLEND);
    } else if (ww_verdict_is_named(r, parts, keep != NULL)) {
        set_winner(r, contest);
    } else if (keep && drops(parts)) {
        set_parts(r, keep, parts);
    } else if (keep && keep->dropped > 1 - WW_VERDICT_MASKED) {
        set_mask(r, keep, parts);
    } else {
        ww_verdict_say(r, selects(parts) ? WW_SAY_SELECTED : WW_SAY_UNCLEAR);
        if (ww_verdict_is_whole(parts)) {
            take_kept(r, parts);
        }
    }
}
