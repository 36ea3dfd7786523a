/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that replay decide; where none does, the keep rates tell at least how elements
 * were dropped. Names are those of the merge methods.
 */
#include "lineage/verdict.h"

#include <math.h>
#include <string.h>

#include "lineage/contest.h"
#include "lineage/directions.h"
#include "lineage/keep.h"
#include "lineage/subsets.h"
#include "lineage/places.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BITS_AGREE 0.99 /* match that names a method */
#define AS_GOOD 0.002   /* matches that differ by less are equal */
#define NEARLY 0.9      /* match that names it where a number is a little off */
#define AT_CEILING 0.99 /* r2 over its ceiling that leaves nothing unexplained */
#define MASKED 0.95     /* kept share below which elements were dropped */
#define STACKED 0.5     /* match below which layers only begin like those of models */
#define SUM_IS_ONE 0.01
/* Of the difference: what a twin leaves of a source for which it stands, where rounding
 * leaves nothing. */
#define OF_A_TWIN 0.001
/* The same where weights were rounded once more: the most that quantisers left beside the
 * cells of their values was a half of it. */
#define IN_CELLS 0.01
#define ALL_KEPT 0.97 /* part of a source's elements above which none were dropped */
#define SLOPE 0.04    /* by which the longer half is kept more, where length decides */
#define STEEP 0.3     /* where it alone does */

struct words {
    const char *best;
    const char *others[8];
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

/* The included sources as a contest takes them; false when there is none to name. */
static bool ask_for(const struct ww_decompose_report *r, const char **sources,
                    double *shares, size_t *which, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included) {
            if (!ww_sketch_can_name(r->sources[i].name)) {
                return false;
            }
            which[*n] = i;
            sources[*n] = r->sources[i].name;
            shares[(*n)++] = r->sources[i].recipe;
        }
    }
    return *n > 0;
}

/* Layers that follow each other are one slice. */
static size_t cut_slices(const struct ww_decompose_report *r, bool as_they_are,
                         struct ww_sketch_slice *slices)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_places; i++) {
        if (!ww_places_follows(r, i, as_they_are)) {
            slices[n++] =
                (struct ww_sketch_slice){as_they_are ? r->places[i].model : NULL,
                                         r->places[i].of_layer, r->places[i].of_layer};
        }
        slices[n - 1].end++;
    }
    return n;
}

/* Can the layers be named as slices of models? */
static bool can_slice(const struct ww_decompose_report *r, bool as_they_are)
{
    for (size_t i = 0; i < r->n_places; i++) {
        if (r->places[i].of_layer == UINT32_MAX ||
            (as_they_are && !ww_sketch_can_name(r->places[i].model))) {
            return false;
        }
    }
    return r->n_places > 0;
}

static enum ww_err run_contest(const struct ww_verdict_ask *v, struct ww_contest_ask *ask,
                               bool as_they_are, struct ww_decompose_report *r,
                               struct ww_contest *contest, struct ww_error *err)
{
    const bool sliced = as_they_are || v->family->disguise.depths.n > 0;
    struct ww_sketch_slice *slices = ww_calloc(r->n_places + 1, sizeof(*slices));
    enum ww_err rc = slices ? WW_OK : WW_FAIL_MEMORY(err, "slices");

    if (!rc) {
        ask->as_they_are = as_they_are;
        ask->n_slices =
            sliced && can_slice(r, as_they_are) ? cut_slices(r, as_they_are, slices) : 0;
        ask->slices = ask->n_slices ? slices : NULL;
        rc = ww_contest_run(ask, contest, &r->run.bytes_read, err);
    }
    ww_free(slices);
    return rc;
}

static struct ww_contest_ask new_ask(const struct ww_verdict_ask *v)
{
    return (struct ww_contest_ask){.suspect = v->family->models[WW_FAMILY_SUSPECT],
                                   .base = v->options->base,
                                   .half = v->half,
                                   .seed = v->options->seed,
                                   .run = &v->options->run};
}

/* Candidates that the sums left out, though they are no copies of others. */
static size_t name_others(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r, const char **others)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        const struct ww_lineage_source *s = &r->sources[i];
        if (!s->included && v->side[i] && ww_sketch_can_name(s->name)) {
            others[n++] = s->name;
        }
    }
    return n;
}

/* The bits decide which candidates are sources; why a sum says otherwise is noted. */
static enum ww_err take_set(const struct ww_verdict_ask *v,
                            const struct ww_contest *contest,
                            struct ww_decompose_report *r, struct ww_error *err)
{
    bool was[WW_LINEAGE_MAX_SOURCES];
    size_t at = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        was[i] = r->sources[i].included;
    }
    for (unsigned turn = 0; turn < 2; turn++) { /* those asked for, then the others */
        for (size_t i = 0; i < r->n_sources; i++) {
            struct ww_lineage_source *s = &r->sources[i];
            if (was[i] == (turn == 1) ||
                (turn && (!v->side[i] || !ww_sketch_can_name(s->name)))) {
                continue;
            }
            s->included = contest->set[at++];
            if (s->included != was[i]) {
                s->note = ww_strdup(s->included ? "the recipe that gives the bits needs "
                                                  "it, though it leaves no share in a sum"
                                                : "the recipe that gives the bits does "
                                                  "without it");
                s->recipe = s->included ? s->recipe : 0;
                if (!s->note) {
                    return WW_FAIL_MEMORY(err, "a verdict");
                }
            }
        }
    }
    return WW_OK;
}

static enum ww_err hold_contest(const struct ww_verdict_ask *v,
                                const struct ww_keep *keep, struct ww_decompose_report *r,
                                struct ww_contest *contest, struct ww_error *err)
{
    double core[WW_LINEAGE_MAX_SOURCES];
    size_t n_core = 0;
    const char *sources[WW_LINEAGE_MAX_SOURCES];
    const char *others[WW_LINEAGE_MAX_SOURCES];
    double shares[WW_LINEAGE_MAX_SOURCES];
    double lengths[WW_LINEAGE_MAX_SOURCES];
    size_t which[WW_LINEAGE_MAX_SOURCES];
    struct ww_contest_ask ask = new_ask(v);

    memset(contest, 0, sizeof(*contest));
    ask.sources = sources;
    ask.others = others;
    ask.shares = shares;
    ask.lengths = lengths;
    ask.scale = v->scale;
    ask.which = which;
    ask.core = keep ? core : NULL;
    ask.over = v->over;
    /* Bits can only be compared where they are the suspect's own. */
    if (v->family->disguise.read || !ww_sketch_can_name(v->options->base) ||
        !ask_for(r, sources, shares, which, &ask.n)) {
        return WW_OK;
    }
    for (size_t i = 0; i < ask.n; i++) {
        lengths[i] = v->lengths[which[i]];
    }
    for (size_t i = 0; keep && i < r->n_sources; i++) {
        if (r->sources[i].included) {
            core[n_core++] = keep->core[i];
        }
    }
    ask.kept = r->kept;
    ask.n_others = keep ? name_others(v, r, others) : 0;
    return run_contest(v, &ask, false, r, contest, err);
}

static uint32_t smallest(const struct ww_decompose_report *r)
{
    uint32_t least = WW_NONE;

    for (uint32_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included &&
            (least == WW_NONE ||
             fabs(r->sources[i].share) < fabs(r->sources[least].share))) {
            least = i;
        }
    }
    return least;
}

/* Takes those out that may be none: sources that a recipe of most bits weighs with
 * nothing, or else the smallest share where no recipe gives the bits. *least: which match
 * says that they are none; 2 where there is none such. */
static void leave_out(struct ww_decompose_report *r, const struct ww_contest *contest,
                      bool *was, double *least)
{
    const bool most = contest->match >= NEARLY && !contest->has_set;
    size_t at = 0;

    *least = 2;
    for (uint32_t i = 0; i < r->n_sources; i++) {
        was[i] = r->sources[i].included;
        if (was[i] && most && contest->idle[at]) {
            r->sources[i].included = false;
            *least = contest->match - AS_GOOD;
        }
        at += was[i];
    }
    if (*least > 1 && contest->match < BITS_AGREE) {
        r->sources[smallest(r)].included = false;
        *least = BITS_AGREE;
    }
}

/* What a selection leaves over is taken up by relatives of the sources. A recipe that
 * gives the bits without them decides that they are none. */
static enum ww_err prune(const struct ww_verdict_ask *v, const struct ww_keep *keep,
                         struct ww_decompose_report *r, struct ww_contest *contest,
                         struct ww_error *err)
{
    bool was[WW_LINEAGE_MAX_SOURCES];
    struct ww_contest without = {0};
    double least = 0;
    enum ww_err rc = WW_OK;

    leave_out(r, contest, was, &least);
    if (least > 1) {
        return WW_OK;
    }
    rc = hold_contest(v, keep, r, &without, err);
    if (!rc && without.match >= least) {
        ww_free(contest->recipe);
        *contest = without;
        rc = without.has_set ? take_set(v, contest, r, err) : WW_OK;
        for (size_t i = 0; i < r->n_sources; i++) {
            struct ww_lineage_source *s = &r->sources[i];
            s->recipe = s->included ? s->recipe : 0;
        }
        return rc;
    }
    for (size_t i = 0; i < r->n_sources; i++) {
        r->sources[i].included = was[i];
    }
    ww_free(without.recipe);
    return rc;
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

static void set_winner(struct ww_decompose_report *r, const struct ww_contest *contest)
{
    double sum = 0;
    size_t n = 0;

    if (contest->scaled) {
        take_weights(r, contest);
    }
    r->method = contest->method;
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
 * is something else: layers in other places, sources that are not known. */
static bool may_be_masked(const struct ww_decompose_report *r)
{
    return r->unexplained > 1 - AT_CEILING &&
           (r->kept < MASKED * r->kept_most || r->unexplained < WW_LINEAGE_MOSTLY);
}

/* The others' part is what they have in common with the adapter. */
static enum ww_err keep_only(struct ww_decompose_report *r, size_t source,
                             struct ww_error *err)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        struct ww_lineage_source *s = &r->sources[i];
        const bool was = s->included;
        s->included = i == source;
        s->recipe = i == source ? 1 : 0;
        if (was && i != source) {
            s->note = ww_strdup("what it explains lies in the few directions of a "
                                "low-rank difference");
            if (!s->note) {
                return WW_FAIL_MEMORY(err, "a verdict");
            }
        }
    }
    return WW_OK;
}

/* An adapter that was merged in is no candidate: its rank is what can be read. Candidates
 * have something in common with it, so their shares are not believed at first: it was
 * added to the base, or to one of them, or to the blend. */
static enum ww_err find_adapter(const struct ww_verdict_ask *v,
                                struct ww_decompose_report *r, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_directions_ask ask = {v->family, shares, NULL, v->fitted, &v->options->run};
    enum ww_err rc = WW_OK;

    if ((v->family->disguise.read && !v->family->disguise.exact) ||
        r->unexplained <= 1 - AT_CEILING) {
        return WW_OK;
    }
    rc = ww_directions_find(&ask, r, err);
    if (!rc && r->n_ranks) {
        return keep_only(r, r->n_sources, err);
    }
    for (size_t i = 0; i < r->n_sources && !rc; i++) {
        if (r->sources[i].included) {
            shares[i] = 1;
            rc = ww_directions_find(&ask, r, err);
            shares[i] = 0;
            if (!rc && r->n_ranks) {
                return keep_only(r, i, err);
            }
        }
    }
    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    ask.per_tensor = v->per_tensor;
    return rc ? rc : ww_directions_find(&ask, r, err);
}

/* A sum leaves nothing but rounding, so that little more is something else already: a
 * twin that stands for a source which was not given leaves so little. */
static bool may_hide_twin(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r)
{
    return !v->family->disguise.read && r->unexplained > OF_A_TWIN &&
           r->unexplained <= 1 - AT_CEILING && r->pruned <= WW_VERDICT_PRUNED;
}

/* Above which part a twin may be what is unexplained. Cells of the suspect's values take
 * off all that rounding left. */
static double twin_shows(const struct ww_verdict_ask *v)
{
    return v->family->disguise.cells ? IN_CELLS : WW_LINEAGE_ELSEWHERE;
}

/* Is each element a sum over some of the sources? */
static bool is_whole(const struct ww_subsets *parts)
{
    return parts->told && parts->explained >= WW_LINEAGE_PARTS &&
           parts->left <= WW_LINEAGE_ELSEWHERE && parts->strayed <= WW_SUBSETS_STRAYED;
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
    return r->method_match >= BITS_AGREE ||
           (masked && r->method_match >= NEARLY && !lacks(parts));
}

static enum ww_err measure_parts(const struct ww_verdict_ask *v,
                                 struct ww_decompose_report *r, struct ww_subsets *parts,
                                 struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].included ? r->sources[i].share : 0;
    }
    rc = ww_subsets_measure(v->family, shares, v->fitted, &v->options->run, parts,
                            &r->run.bytes_read, err);
    r->parts = parts->told ? parts->explained : -1;
    return rc;
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
    return is_whole(parts) && found;
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

static void set_parts(struct ww_decompose_report *r, const struct ww_keep *keep,
                      const struct ww_subsets *parts)
{
    set_words(r, &by_shape[shape_of(keep, parts)]);
    memcpy(r->keep_rates, keep->rate, sizeof(r->keep_rates));
    r->has_keep_rates = true;
    for (size_t i = 0; i < r->n_sources; i++) {
        r->sources[i].kept = parts->kept[i];
    }
}

/* Layers that are models' as they are need no shares. That was read off the beginnings
 * of tensors; *stack is false when the rest says otherwise. */
static enum ww_err judge_stack(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r, bool *stack,
                               struct ww_error *err)
{
    struct ww_contest_ask ask = new_ask(v);
    struct ww_contest contest = {0};
    enum ww_err rc = WW_OK;

    if (can_slice(r, true)) {
        rc = run_contest(v, &ask, true, r, &contest, err);
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

/* What the bits and keep rates say when a contest is over. */
static void conclude(struct ww_decompose_report *r, const struct ww_contest *contest,
                     const struct ww_keep *keep, const struct ww_subsets *parts)
{
    r->recipe = contest->recipe;
    r->method_match = contest->match;
    r->gradient = contest->gradient && contest->match >= BITS_AGREE;
    if (contest->match >= BITS_AGREE) {
        set_winner(r, contest);
    } else if (r->n_ranks > 0) {
        set_words(r, &low_rank);
    } else if (r->unexplained <= 1 - AT_CEILING) {
        set_words(r, &blend);
    } else if (is_named(r, parts, keep != NULL)) {
        set_winner(r, contest);
    } else if (keep && drops(parts)) {
        set_parts(r, keep, parts);
    } else if (keep && keep->dropped > 1 - MASKED) {
        set_mask(r, keep);
    } else {
        set_words(r, &unclear);
    }
}

static size_t count_included(const struct ww_decompose_report *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        n += r->sources[i].included;
    }
    return n;
}

/* Bits that come out, and elements that were dropped, explain what sums do not; unless
 * the elements themselves say that something else went in, of which little is enough: a
 * twin of a source that was not given explains most of that one. */
static bool is_incomplete(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r,
                          const struct ww_subsets *parts, bool masked)
{
    const double least = lacks(parts) ? 1 - AT_CEILING : twin_shows(v);
    const bool little = may_hide_twin(v, r) && r->n_ranks == 0;

    return count_included(r) > 0 && (r->unexplained > least || little) &&
           !is_named(r, parts, masked) && !is_whole(parts) &&
           (lacks(parts) || !r->has_keep_rates);
}

/* What a relative leaves without being told, where bits are not the merge's own. */
static double unseen(const struct ww_verdict_ask *v, const struct ww_decompose_report *r)
{
    const bool rounded = v->family->disguise.read && !v->family->disguise.exact;

    return rounded && count_included(r) > 0 && !r->incomplete ? twin_shows(v) : 0;
}

enum ww_err ww_verdict(const struct ww_verdict_ask *ask,
                       struct ww_decompose_report *report, struct ww_error *err)
{
    const bool masked = may_be_masked(report);
    const size_t n = count_included(report);
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
        rc = find_adapter(ask, report, err);
        set_words(report, report->n_ranks ? &low_rank : &none);
        return rc;
    }
    if (masked) {
        rc = measure(ask, report, &keep, err);
    }
    if (!rc) {
        rc = hold_contest(ask, masked ? &keep : NULL, report, &contest, err);
    }
    if (!rc && contest.has_set) {
        rc = take_set(ask, &contest, report, err);
    }
    if (!rc && masked && count_included(report) > 1) {
        rc = prune(ask, &keep, report, &contest, err);
    }
    if (!rc && contest.match < BITS_AGREE) {
        rc = find_adapter(ask, report, err);
    }
    if (!rc && (masked || may_hide_twin(ask, report)) && contest.match < BITS_AGREE &&
        report->n_ranks == 0) {
        rc = measure_parts(ask, report, &parts, err);
    }
    if (rc) {
        ww_free(contest.recipe);
        return rc;
    }
    conclude(report, &contest, masked ? &keep : NULL, &parts);
    report->incomplete = is_incomplete(ask, report, &parts, masked);
    report->unseen = unseen(ask, report);
    return WW_OK;
}
