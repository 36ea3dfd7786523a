/* SPDX-License-Identifier: Apache-2.0 */
/* Is an answer in part, and what says that beside the bits? */
#include "lineage/verdict_work.h"

#include <math.h>

#include "lineage/decompose_report.h"

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

bool ww_verdict_may_hide_twin(const struct ww_verdict_ask *v,
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

bool ww_verdict_lacks(const struct ww_subsets *parts)
{
    return parts->strayed > WW_SUBSETS_STRAYED ||
           (parts->told &&
            (parts->explained < WW_SUBSETS_LACKS || parts->left > WW_LINEAGE_ELSEWHERE));
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

bool ww_verdict_leaves_recipe(const struct ww_verdict_ask *v,
                              const struct ww_contest *contest)
{
    return !contest->scaled && !contest->has_set &&
           (v->elsewhere.apart >= WW_CONTEST_LEAST ||
            (contest->summed && contest->match >= WW_VERDICT_BITS &&
             v->elsewhere.off >= WW_CONTEST_LEAST));
}

/* Rates say that elements were dropped, and only elements that nothing else was added. */
bool ww_verdict_in_part(const struct ww_verdict_ask *v,
                        const struct ww_decompose_report *r,
                        const struct ww_subsets *parts, bool masked)
{
    const double least =
        ww_verdict_lacks(parts) ? 1 - WW_VERDICT_CEILING : twin_shows(v, r);
    const bool little = ww_verdict_may_hide_twin(v, r) && r->n_ranks == 0;

    return has_adapter(r) ||
           (ww_decompose_count_included(r) > 0 &&
            (r->unexplained > least || little || is_buried(v, r)) &&
            !ww_verdict_is_named(r, parts, masked) && !ww_verdict_is_whole(parts) &&
            (!parts->told || ww_verdict_lacks(parts) || !r->has_keep_rates));
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
           ((r->incomplete && !ww_verdict_may_hide_twin(v, r)) ||
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

double ww_verdict_unseen(const struct ww_verdict_ask *v,
                         const struct ww_decompose_report *r)
{
    const bool rounded = v->family->disguise.read && !v->family->disguise.exact;

    return rounded && ww_decompose_count_included(r) > 0 && !r->incomplete
               ? twin_shows(v, r)
               : 0;
}

enum ww_err ww_verdict_ask_further(const struct ww_verdict_ask *ask,
                                   const struct ww_contest *contest,
                                   const struct ww_subsets *parts,
                                   struct ww_decompose_report *report,
                                   struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (needs_places(ask, report, contest)) {
        rc = ww_verdict_places(ask, parts, report, err);
        if (report->still > 0 && ww_verdict_is_unclear(report)) {
            ww_verdict_say(report, WW_SAY_SELECTED);
        }
    }
    if (!rc && report->incomplete && report->n_ranks == 0) {
        rc = ww_verdict_noise(ask, report, err);
        if (report->noise_like && ww_verdict_is_unclear(report)) {
            ww_verdict_say(report, WW_SAY_NOISY);
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
