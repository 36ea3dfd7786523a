/* SPDX-License-Identifier: Apache-2.0 */
/* What places say that sources leave as they are, or that one of them alone moves. */
#include "lineage/stray.h"
#include "lineage/verdict_work.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Sources that nothing shows where they alone would are none: what they seem to have is a
 * relative's. */
static enum ww_err drop_needless(const struct ww_stray *stray, double *shares,
                                 struct ww_decompose_report *r, struct ww_error *err)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        struct ww_lineage_source *s = &r->sources[i];
        if (s->included && ww_stray_without(stray, (unsigned)i)) {
            s->included = false;
            s->recipe = shares[i] = 0;
            ww_free(s->note);
            s->note = ww_strdup("elements that it alone would have moved were not moved");
            if (!s->note) {
                return WW_FAIL_MEMORY(err, "a verdict");
            }
        }
    }
    return WW_OK;
}

/* Of cells elements tell a nearer relative than places do. */
static bool shows(const struct ww_verdict_ask *v, const struct ww_subsets *parts)
{
    return v->family->disguise.cells && parts->told && parts->shows;
}

/* A source that was not given moves elements where those given do not. Where none moved,
 * what is unexplained is how elements were selected. */
enum ww_err ww_verdict_places(const struct ww_verdict_ask *v,
                              const struct ww_subsets *parts,
                              struct ww_decompose_report *r, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_stray stray;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].included ? r->sources[i].share : 0;
    }
    rc = ww_stray_measure(v->family, shares, v->fitted, &v->options->run, &stray,
                          &r->run.bytes_read, err);
    rc = rc ? rc : drop_needless(&stray, shares, r, err);
    if (rc || !r->incomplete || parts->left > WW_LINEAGE_ELSEWHERE ||
        parts->strayed > WW_SUBSETS_STRAYED || shows(v, parts) ||
        !ww_stray_none(&stray, shares, (unsigned)r->n_sources)) {
        return rc;
    }
    r->incomplete = false;
    r->still = (uint64_t)stray.shown;
    return WW_OK;
}
