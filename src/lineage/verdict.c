/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that replay decide; where none does, the keep rates tell at least how elements
 * were dropped. Names are those of the merge methods.
 */
#include "lineage/verdict.h"

#include <math.h>
#include <string.h>

#include "lineage/contest.h"
#include "lineage/keep.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BITS_AGREE 0.99 /* match that names a method */
#define NEARLY 0.9      /* match that names it where a number is a little off */
#define AT_CEILING 0.99 /* r2 over its ceiling that leaves nothing unexplained */
#define MASKED 0.95     /* kept share below which elements were dropped */
#define SUM_IS_ONE 0.01
#define MOSTLY_UNKNOWN 0.5

struct words {
    const char *best;
    const char *others[8];
};

static const struct words by_shape[] = {
    [WW_KEEP_ALL] = {"unclear", {NULL}},
    [WW_KEEP_FLAT] = {"dare_linear", {"dare_ties", "sce", NULL}},
    [WW_KEEP_RAMP] = {"della_linear", {"della", "dare_linear", "dare_ties", "sce", NULL}},
    [WW_KEEP_STEP] = {"ties", {"della", "della_linear", "sce", NULL}},
    [WW_KEEP_BAND] = {"breadcrumbs", {"breadcrumbs_ties", NULL}},
};
static const struct words blend = {"blend",
                                   {"linear", "task_arithmetic", "slerp", "model_stock",
                                    "other arithmetic", "training after a merge", NULL}};
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
                    double *shares, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included) {
            if (!ww_sketch_can_name(r->sources[i].name)) {
                return false;
            }
            sources[*n] = r->sources[i].name;
            shares[(*n)++] = r->sources[i].recipe;
        }
    }
    return *n > 0;
}

static enum ww_err hold_contest(const struct ww_family *family,
                                const struct ww_decompose_options *options,
                                const struct ww_keep *keep, struct ww_decompose_report *r,
                                struct ww_contest *contest, struct ww_error *err)
{
    double core[WW_LINEAGE_MAX_SOURCES];
    size_t n_core = 0;
    const char *sources[WW_LINEAGE_MAX_SOURCES];
    double shares[WW_LINEAGE_MAX_SOURCES];
    struct ww_contest_ask ask = {.suspect = family->models[WW_FAMILY_SUSPECT],
                                 .base = options->base,
                                 .sources = sources,
                                 .shares = shares,
                                 .core = keep ? core : NULL,
                                 .halves = options->halves,
                                 .seed = options->seed,
                                 .run = &options->run};

    memset(contest, 0, sizeof(*contest));
    /* Bits can only be compared where they are the suspect's own. */
    if (family->disguise.read || !ww_sketch_can_name(options->base) ||
        !ask_for(r, sources, shares, &ask.n)) {
        return WW_OK;
    }
    for (size_t i = 0; keep && i < r->n_sources; i++) {
        if (r->sources[i].included) {
            core[n_core++] = keep->core[i];
        }
    }
    return ww_contest_run(&ask, contest, &r->run.bytes_read, err);
}

static uint32_t smallest(const struct ww_decompose_report *r)
{
    uint32_t least = WW_NONE;

    for (uint32_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included &&
            (least == WW_NONE || r->sources[i].share < r->sources[least].share)) {
            least = i;
        }
    }
    return least;
}

/* What a selection leaves over is taken up by relatives of the sources. A recipe that
 * gives the bits without the smallest share decides that it is none. */
static enum ww_err prune(const struct ww_family *family,
                         const struct ww_decompose_options *options,
                         const struct ww_keep *keep, struct ww_decompose_report *r,
                         struct ww_contest *contest, struct ww_error *err)
{
    const uint32_t at = smallest(r);
    struct ww_lineage_source *source = &r->sources[at];
    struct ww_contest without;
    enum ww_err rc = WW_OK;

    source->included = false;
    rc = hold_contest(family, options, keep, r, &without, err);
    if (!rc && without.match >= BITS_AGREE) {
        source->recipe = 0;
        ww_free(contest->recipe);
        *contest = without;
        return WW_OK;
    }
    source->included = true;
    ww_free(without.recipe);
    return rc;
}

static void set_winner(struct ww_decompose_report *r, const struct ww_contest *contest)
{
    double sum = 0;
    size_t n = 0;

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
           (r->kept < MASKED || r->unexplained < MOSTLY_UNKNOWN);
}

static enum ww_err measure(const struct ww_family *family,
                           const struct ww_decompose_options *options, const bool *fitted,
                           struct ww_decompose_report *r, struct ww_keep *keep,
                           struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    return ww_keep_measure(family, shares, fitted, &options->run, keep,
                           &r->run.bytes_read, err);
}

static void set_mask(struct ww_decompose_report *r, const struct ww_keep *keep)
{
    set_words(r, &by_shape[ww_keep_shape(keep)]);
    memcpy(r->keep_rates, keep->rate, sizeof(r->keep_rates));
    r->has_keep_rates = true;
}

enum ww_err ww_verdict(const struct ww_family *family,
                       const struct ww_decompose_options *options, const bool *fitted,
                       struct ww_decompose_report *report, struct ww_error *err)
{
    const bool masked = may_be_masked(report);
    struct ww_contest contest;
    struct ww_keep keep;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_sources; i++) {
        n += report->sources[i].included;
    }
    set_words(report, &none);
    if (n == 0) {
        return WW_OK;
    }
    if (masked) {
        rc = measure(family, options, fitted, report, &keep, err);
    }
    if (!rc) {
        rc = hold_contest(family, options, masked ? &keep : NULL, report, &contest, err);
    }
    if (!rc && masked && n > 1 && contest.match < BITS_AGREE) {
        rc = prune(family, options, &keep, report, &contest, err);
    }
    if (rc) {
        return rc;
    }
    report->recipe = contest.recipe;
    report->method_match = contest.match;
    if (contest.match >= BITS_AGREE) {
        set_winner(report, &contest);
    } else if (report->unexplained <= 1 - AT_CEILING) {
        set_words(report, &blend);
    } else if (masked && contest.match >= NEARLY) {
        set_winner(report, &contest);
    } else if (report->kept < MASKED) {
        set_mask(report, &keep);
    } else {
        set_words(report, &unclear);
    }
    return WW_OK;
}
