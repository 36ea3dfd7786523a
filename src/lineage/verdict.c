/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that replay decide; where none does, the keep rates tell at least how elements
 * were dropped.
 */
#include "lineage/verdict.h"

#include <math.h>

#include "lineage/decompose_report.h"
#include "lineage/places.h"
#include "lineage/verdict_work.h"
#include "util/alloc.h"

#define STACKED 0.5 /* match below which layers only begin like those of models */

/* Can elements have been selected? Half unexplained without any that stayed at the base
 * is something else: layers in other places, sources that are not known. Behind another
 * rounding bits do not tell which stayed. */
static bool may_be_masked(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r)
{
    return r->unexplained > 1 - WW_VERDICT_CEILING && !v->family->disguise.cells &&
           (r->kept < WW_VERDICT_MASKED * r->kept_most ||
            r->unexplained < WW_LINEAGE_MOSTLY);
}

/* Do elements say more than a sum of them all does? */
static bool needs_elements(const struct ww_verdict_ask *v,
                           const struct ww_decompose_report *r,
                           const struct ww_contest *contest, bool masked)
{
    const bool much = r->unexplained > 1 - WW_VERDICT_CEILING;

    return (masked || ww_verdict_may_hide_twin(v, r) ||
            (much && v->family->disguise.cells)) &&
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

enum ww_err ww_verdict(const struct ww_verdict_ask *ask,
                       struct ww_decompose_report *report, struct ww_error *err)
{
    const bool masked = may_be_masked(ask, report);
    const size_t n = ww_decompose_count_included(report);
    bool stack = ww_places_whole(report);
    struct ww_contest contest = {0};
    struct ww_keep keep;
    struct ww_subsets parts = {
        .strayed = -1, .longer.error = INFINITY, .opposed.error = INFINITY};
    enum ww_err rc = WW_OK;

    report->parts = -1;
    ww_verdict_say(report, WW_SAY_NONE);
    if (stack) {
        rc = judge_stack(ask, report, &stack, err);
    }
    if (rc || stack) {
        return rc;
    }
    if (n == 0) {
        rc = ww_verdict_adapter(ask, report, err);
        ww_verdict_say(report, report->n_ranks ? WW_SAY_LOW_RANK : WW_SAY_NONE);
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
    ww_verdict_conclude(report, &contest, masked ? &keep : NULL, &parts);
    report->incomplete = ww_verdict_in_part(ask, report, &parts, masked) ||
                         (ww_verdict_is_named(report, &parts, masked) &&
                          (contest.elsewhere || ww_verdict_leaves_recipe(ask, &contest)));
    rc = ww_verdict_ask_further(ask, &contest, &parts, report, err);
    report->unseen = ww_verdict_unseen(ask, report);
    return rc;
}
