/* SPDX-License-Identifier: Apache-2.0 */
/* What is unexplained may be of few directions: an adapter that was merged in. */
#include "lineage/directions.h"
#include "lineage/verdict_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define TENTH 0.1 /* of the difference, unexplained: more, and it may be an adapter's */

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
 * added to the base, or to one of them, or to the blend. Candidates that explain nine
 * tenths of the difference went in: of a small share of what was trained few directions
 * may lie above noise. */
enum ww_err ww_verdict_adapter(const struct ww_verdict_ask *v,
                               struct ww_decompose_report *r, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_directions_ask ask = {v->family, shares, NULL, v->fitted, &v->options->run};
    enum ww_err rc = WW_OK;

    if ((v->family->disguise.read && !v->family->disguise.exact) ||
        r->unexplained <= 1 - WW_VERDICT_CEILING) {
        return WW_OK;
    }
    if (r->unexplained > TENTH) {
        rc = ww_directions_find(&ask, r, err);
    }
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
