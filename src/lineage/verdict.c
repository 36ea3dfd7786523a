/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that replay decide; where none does, the keep rates tell at least how elements
 * were dropped. Names are those of the merge methods.
 */
#include "lineage/verdict.h"

#include <math.h>
#include <string.h>

#include "lineage/decompose_report.h"
#include "lineage/verdict_work.h"
#include "lineage/places.h"
#include "util/alloc.h"

#define MASKED 0.95 /* kept share below which elements were dropped */
#define STACKED 0.5 /* match below which layers only begin like those of models */
#define SUM_IS_ONE 0.01
/* Of the difference: what a twin leaves of a source for which it stands, where rounding
 * leaves nothing. */
#define OF_A_TWIN 0.001
#define OF_A_NEAR_TWIN 0.0002
#define OF_ROUNDING 0.1 /* so much of what rounding leaves is seen beside it */
/* The same where weights were rounded once more: the most that quantisers left beside the
 * cells of their values was a half of it. */
#define ROUNDINGS 3 /* as many times what rounding leaves may be more of it */
#define BURIED                                                                           \
    0.2 /* of the difference at most beside rounding: too little to tell it by */
#define ALL_KEPT 0.97 /* part of a source's elements above which none were dropped */
#define SLOPE 0.04    /* by which the longer half is kept more, where length decides */
#define STEEP 0.3     /* where it alone does */
#define SOME 0.35 /* of the elements, sums over some sources: no sum of all has that */

struct words {
    const char *best;
    const char *others[9];
};

static const struct words by_shape[] = {
    [WW_KEEP_ALL] = {"unclear", {NULL}},
    /* With several sources the longest of them hides the ramp of each. */
    [WW_KEEP_FLAT] = {"dare_linear", {"dare_ties", "della_linear", "della", "sce", NULL}},
    /* A source that is not known has dropped and kept by lengths that are not known. */
    [WW_KEEP_RAMP] = {"della_linear",
                      {"della", "dare_linear", "dare_ties", "sce",
                       "ties with a source that was not given", NULL}},
    [WW_KEEP_STEP] = {"ties", {"della", "della_linear", "sce", NULL}},
    /* Selected by length, but of no recipe that the sources allow, and never so little
     * that nothing else was added. */
    [WW_KEEP_FLOOR] = {"unclear",
                       {"ties with a source that was not given",
                        "breadcrumbs with a source that was not given", "ties",
                        "breadcrumbs", "sce", NULL}},
    [WW_KEEP_BAND] = {"breadcrumbs", {"breadcrumbs_ties", NULL}},
};
static const struct words blend = {"blend",
                                   {"linear", "task_arithmetic", "slerp", "model_stock",
                                    "other arithmetic", "training after a merge", NULL}};
static const struct words low_rank = {
    "lora",
    {"training in few directions", "difference of another model, truncated", NULL}};
/* Nothing else went in, and no number says which elements of what did were taken. */
static const struct words selected = {"unclear",
                                      {"ties", "breadcrumbs", "breadcrumbs_ties", "sce",
                                       "dare_linear", "dare_ties", "della_linear",
                                       "a merge of merges", NULL}};
/* Nothing but noise beside it; what drops at random leaves noise as well. */
static const struct words noisy = {"blend",
                                   {"linear", "task_arithmetic", "slerp", "model_stock",
                                    "dare_linear", "della_linear", "other arithmetic",
                                    NULL}};
static const struct words unclear = {"unclear", {NULL}};
static const struct words none = {"none", {NULL}};

static void set_words(struct ww_decompose_report *r, const struct words *w)
{
    size_t n = 0;

    r->method = w->best;
    memset(r->not_excluded, 0, sizeof(r->not_excluded));
    for (; w->others[n]; n++) {
        r->not_excluded[n] = w->others[n];
    }
}

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
    for (size_t i = 0; i < r->n_sources; i++) {
        sum += r->sources[i].recipe;
    }
    if (strcmp(contest->method, "task_arithmetic") == 0 && fabs(sum - 1) >= SUM_IS_ONE) {
        r->not_excluded[n] = "linear with the base";
    }
}

/* Can elements have been selected? Half unexplained without any that stayed at the base
 * is something else: layers in other places, sources that are not known. Behind another
 * rounding bits do not tell which stayed. */
static bool may_be_masked(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r)
{
    return r->unexplained > 1 - WW_VERDICT_CEILING && !v->family->disguise.cells &&
           (r->kept < MASKED * r->kept_most || r->unexplained < WW_LINEAGE_MOSTLY);
}

/* A sum leaves nothing but rounding, so that little more is something else already: a
 * twin that stands for a source which was not given leaves so little, and a near one,
 * where rounding leaves little, a part of that. */
static bool may_hide_twin(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r)
{
    const double near = fmax(OF_A_NEAR_TWIN, OF_ROUNDING * (1 - r->r2_ceiling));

    return !v->family->disguise.read && r->unexplained > fmin(OF_A_TWIN, near) &&
           r->unexplained <= 1 - WW_VERDICT_CEILING;
}

/* Above which part a twin may be what is unexplained. Cells of the suspect's values take
 * off all that rounding left; where it was rounded twice, as before it was rotated, the
 * other rounding is unexplained as well. */
static double twin_shows(const struct ww_verdict_ask *v,
                         const struct ww_decompose_report *r)
{
    const double shows = v->family->disguise.shows;

    if (v->family->disguise.cells) {
        return WW_VERDICT_LITTLE;
    }
    return shows > 0
               ? fmin(WW_LINEAGE_ELSEWHERE, fmax(shows, ROUNDINGS * (1 - r->r2_ceiling)))
               : WW_LINEAGE_ELSEWHERE;
}

/* Where rounding is most of the difference, and no cells tell what it left, a source that
 * was not given is as much as an estimate of the rounding may be off. */
static bool is_buried(const struct ww_verdict_ask *v, const struct ww_decompose_report *r)
{
    return v->family->disguise.shows > 0 && !v->family->disguise.cells &&
           r->r2_ceiling < BURIED;
}

/* Do elements say that something else went in? */
static bool lacks(const struct ww_subsets *parts)
{
    return parts->strayed > WW_SUBSETS_STRAYED ||
           (parts->told &&
            (parts->explained < WW_SUBSETS_LACKS || parts->left > WW_LINEAGE_ELSEWHERE));
}

/* Do the bits name a method? Most of them do where a number is a little off, unless the
 * others are something else's. */
static bool is_named(const struct ww_decompose_report *r, const struct ww_subsets *parts,
                     bool masked)
{
    return r->method_match >= WW_VERDICT_BITS ||
           (masked && r->method_match >= WW_VERDICT_NEARLY && !lacks(parts));
}

/* Do elements say more than a sum of them all does? */
static bool needs_elements(const struct ww_verdict_ask *v,
                           const struct ww_decompose_report *r,
                           const struct ww_contest *contest, bool masked)
{
    const bool much = r->unexplained > 1 - WW_VERDICT_CEILING;

    return (masked || may_hide_twin(v, r) || (much && v->family->disguise.cells)) &&
           contest->match < WW_VERDICT_BITS && r->n_ranks == 0;
}

static enum ww_err measure(const struct ww_verdict_ask *v, struct ww_decompose_report *r,
                           struct ww_keep *keep, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    return ww_keep_measure(v->family, shares, v->fitted, &v->options->run, keep,
                           &r->run.bytes_read, err);
}

/* A floor below a step is what the given sources do not explain: then no dropping does.
 */
static void set_mask(struct ww_decompose_report *r, const struct ww_keep *keep)
{
    const enum ww_keep_shape shape = ww_keep_shape(keep);

    set_words(r, &by_shape[shape]);
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
static enum ww_keep_shape shape_of(const struct ww_keep *keep,
                                   const struct ww_subsets *parts)
{
    const enum ww_keep_shape shape = ww_keep_shape(keep);
    double slope = 0;

    if (keep->dropped > 1 - MASKED && (shape == WW_KEEP_STEP || shape == WW_KEEP_BAND)) {
        return shape;
    }
    for (unsigned i = 0; i < WW_LINEAGE_MAX_SOURCES; i++) {
        slope = fmax(slope, parts->kept[i] >= 0 ? parts->slope[i] : 0);
    }
    return slope > STEEP ? WW_KEEP_STEP : slope > SLOPE ? WW_KEEP_RAMP : WW_KEEP_FLAT;
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
    set_words(r, &by_shape[shape_of(keep, parts)]);
    memcpy(r->keep_rates, keep->rate, sizeof(r->keep_rates));
    r->has_keep_rates = true;
    take_kept(r, parts);
}

/* Layers that are models' as they are need no shares. That was read off the beginnings
 * of tensors; *stack is false when the rest says otherwise. */
static enum ww_err judge_stack(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r, bool *stack,
                               struct ww_error *err)
{
    struct ww_contest_ask ask = ww_verdict_ask_of(v);
    struct ww_contest contest = {0};
    enum ww_err rc = WW_OK;

    if (ww_verdict_can_slice(r, true)) {
        rc = ww_verdict_run(v, &ask, true, r, &contest, err);
        *stack = contest.match >= STACKED;
    }
    if (rc || !*stack) {
        ww_free(contest.recipe);
        return rc;
    }
    r->method = "passthrough";
    r->recipe = contest.recipe;
    r->method_match = contest.match;
    return rc;
}

/* Is so much of the suspect a sum over some of the sources that elements were selected,
 * whatever else went in? Of a sum that lacks a source little is. */
static bool selects(const struct ww_subsets *parts)
{
    return parts->told && parts->sure && parts->explained >= SOME;
}

/* What the bits and keep rates say when a contest is over. */
static void conclude(struct ww_decompose_report *r, const struct ww_contest *contest,
                     const struct ww_keep *keep, const struct ww_subsets *parts)
{
    r->recipe = contest->recipe;
    r->nearest = r->recipe != NULL;
    r->method_match = contest->match;
    r->gradient = contest->gradient && contest->match >= WW_VERDICT_BITS;
    if (contest->match >= WW_VERDICT_BITS) {
        set_winner(r, contest);
    } else if (r->n_ranks > 0) {
        set_words(r, &low_rank);
    } else if (r->unexplained <= 1 - WW_VERDICT_CEILING) {
        set_words(r, &blend);
    } else if (is_named(r, parts, keep != NULL)) {
        set_winner(r, contest);
    } else if (keep && drops(parts)) {
        set_parts(r, keep, parts);
    } else if (keep && keep->dropped > 1 - MASKED) {
        set_mask(r, keep);
    } else {
        set_words(r, selects(parts) ? &selected : &unclear);
        if (ww_verdict_is_whole(parts)) {
            take_kept(r, parts);
        }
    }
}

/* Did an adapter that was not given go into a blend? What candidates have in common with
 * it is in their shares then; beside one whole model it is all that is left. */
static bool has_adapter(const struct ww_decompose_report *r)
{
    bool several = ww_decompose_count_included(r) > 1;

    for (size_t i = 0; i < r->n_sources; i++) {
        several |= r->sources[i].included && r->sources[i].recipe != 1;
    }
    return several && r->n_ranks > 0;
}

/* A recipe is held against a sample, where a source moves the weights. Did the suspect
 * leave it in other tensors, or where none of its models differs from the base? A scaled
 * model moves all weights, and sources that the bits alone tell have no share, so that
 * where they move it is not known. */
static bool leaves_recipe(const struct ww_verdict_ask *v,
                          const struct ww_contest *contest)
{
    return !contest->scaled && !contest->has_set &&
           (v->elsewhere.apart >= WW_CONTEST_LEAST ||
            (contest->summed && contest->match >= WW_VERDICT_BITS &&
             v->elsewhere.off >= WW_CONTEST_LEAST));
}

/* Bits that come out, and elements that were dropped, explain what sums do not; unless
 * the elements themselves say that something else went in, of which little is enough: a
 * twin of a source that was not given explains most of that one. */
static bool is_incomplete(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r,
                          const struct ww_subsets *parts, bool masked)
{
    const double least = lacks(parts) ? 1 - WW_VERDICT_CEILING : twin_shows(v, r);
    const bool little = may_hide_twin(v, r) && r->n_ranks == 0;

    return has_adapter(r) ||
           (ww_decompose_count_included(r) > 0 &&
            (r->unexplained > least || little || is_buried(v, r)) &&
            !is_named(r, parts, masked) && !ww_verdict_is_whole(parts) &&
            (lacks(parts) || !r->has_keep_rates));
}

/* Do places that no source moves say more? Where answers are in part so far, but not by
 * as little as a near twin leaves, which places do not tell either; and where weights
 * were rounded, of which shares alone say that a source went in. */
static bool needs_places(const struct ww_verdict_ask *v,
                         const struct ww_decompose_report *r,
                         const struct ww_contest *contest)
{
    const bool rounded = v->family->disguise.read && !v->family->disguise.exact;

    return contest->match < WW_VERDICT_BITS && r->n_ranks == 0 &&
           ((r->incomplete && !may_hide_twin(v, r)) ||
            (rounded && ww_decompose_count_included(r) > 1));
}

/* Is an answer whole so far, of weights whose cells tell more than how much they leave?
 * Very little is the merge's own rounding and what shares are off, which has directions.
 */
static bool needs_cells(const struct ww_verdict_ask *v,
                        const struct ww_decompose_report *r,
                        const struct ww_subsets *parts)
{
    return v->family->disguise.cells && !r->incomplete &&
           ww_decompose_count_included(r) > 0 && r->n_ranks == 0 && r->still == 0 &&
           !r->has_noise && !ww_verdict_is_whole(parts) && r->unexplained > OF_A_TWIN;
}

/* Is an answer whole so far, of weights that were undone by an estimate? A part of that
 * estimate's error is what a relative leaves as well. */
static bool needs_directions(const struct ww_verdict_ask *v,
                             const struct ww_decompose_report *r)
{
    return v->family->disguise.shows > 0 && !v->family->disguise.cells &&
           !r->incomplete && ww_decompose_count_included(r) > 0 && r->n_ranks == 0 &&
           r->still == 0 && !r->has_noise && r->unexplained > OF_A_TWIN;
}

/* What a relative leaves without being told, where bits are not the merge's own. */
static double unseen(const struct ww_verdict_ask *v, const struct ww_decompose_report *r)
{
    const bool rounded = v->family->disguise.read && !v->family->disguise.exact;

    return rounded && ww_decompose_count_included(r) > 0 && !r->incomplete
               ? twin_shows(v, r)
               : 0;
}

/* What places, noise and directions say beside, of what is told so far. */
static enum ww_err ask_further(const struct ww_verdict_ask *ask,
                               const struct ww_contest *contest,
                               const struct ww_subsets *parts,
                               struct ww_decompose_report *report, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (needs_places(ask, report, contest)) {
        rc = ww_verdict_places(ask, parts, report, err);
        if (report->still > 0 && strcmp(report->method, unclear.best) == 0) {
            set_words(report, &selected);
        }
    }
    if (!rc && report->incomplete && report->n_ranks == 0) {
        rc = ww_verdict_noise(ask, report, err);
        if (report->noise_like && strcmp(report->method, unclear.best) == 0) {
            set_words(report, &noisy);
        }
    }
    if (!rc && needs_cells(ask, report, parts)) {
        rc = ww_verdict_outside(ask, report, err);
    }
    if (!rc && needs_directions(ask, report)) {
        rc = ww_verdict_directions(ask, report, err);
    }
    return rc;
}

enum ww_err ww_verdict(const struct ww_verdict_ask *ask,
                       struct ww_decompose_report *report, struct ww_error *err)
{
    const bool masked = may_be_masked(ask, report);
    const size_t n = ww_decompose_count_included(report);
    bool stack = ww_places_whole(report);
    struct ww_contest contest = {0};
    struct ww_keep keep;
    struct ww_subsets parts = {.strayed = -1};
    enum ww_err rc = WW_OK;

    report->parts = -1;
    set_words(report, &none);
    if (stack) {
        rc = judge_stack(ask, report, &stack, err);
    }
    if (rc || stack) {
        return rc;
    }
    if (n == 0) {
        rc = ww_verdict_adapter(ask, report, err);
        set_words(report, report->n_ranks ? &low_rank : &none);
        return rc;
    }
    if (masked) {
        rc = measure(ask, report, &keep, err);
    }
    if (!rc) {
        rc = ww_verdict_contest(ask, masked ? &keep : NULL, report, &contest, err);
    }
    if (!rc && contest.has_set) {
        rc = ww_verdict_take_set(ask, &contest, report, err);
    }
    if (!rc && masked && ww_decompose_count_included(report) > 1) {
        rc = ww_verdict_prune(ask, &keep, report, &contest, err);
    }
    if (!rc && contest.match < WW_VERDICT_BITS) {
        rc = ww_verdict_adapter(ask, report, err);
    }
    if (!rc && needs_elements(ask, report, &contest, masked)) {
        rc = ww_verdict_elements(ask, report, &parts, err);
    }
    if (rc) {
        ww_free(contest.recipe);
        return rc;
    }
    conclude(report, &contest, masked ? &keep : NULL, &parts);
    report->incomplete =
        is_incomplete(ask, report, &parts, masked) ||
        (contest.match >= WW_VERDICT_BITS && contest.elsewhere) ||
        (is_named(report, &parts, masked) && leaves_recipe(ask, &contest));
    rc = ask_further(ask, &contest, &parts, report, err);
    report->unseen = unseen(ask, report);
    return rc;
}
