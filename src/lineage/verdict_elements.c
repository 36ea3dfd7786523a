/* SPDX-License-Identifier: Apache-2.0 */
/* What single elements say of the sources: whether each is a sum over some of them. */
#include <math.h>

#include "lineage/verdict_work.h"
#include "util/alloc.h"
#include "util/fail.h"

bool ww_verdict_is_whole(const struct ww_subsets *parts)
{
    return parts->told && parts->sure && parts->explained >= WW_LINEAGE_PARTS &&
           parts->left <= WW_LINEAGE_ELSEWHERE && parts->strayed <= WW_SUBSETS_STRAYED;
}

/* Bits tell values apart; of cells it has to be shown that they do. */
static enum ww_err measure(const struct ww_verdict_ask *v, struct ww_decompose_report *r,
                           struct ww_subsets *parts, struct ww_error *err)
{
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].included ? r->sources[i].share : 0;
    }
    rc = ww_subsets_measure(v->family, shares, v->fitted, &v->options->run, parts,
                            &r->run.bytes_read, err);
    parts->sure |= !v->family->disguise.cells;
    return rc;
}

/* The least of those that are; WW_NONE: all are needed. */
static uint32_t needless(const struct ww_decompose_report *r,
                         const struct ww_subsets *parts)
{
    uint32_t least = WW_NONE;

    for (uint32_t i = 0; i < r->n_sources; i++) {
        if (parts->needless[i] &&
            (least == WW_NONE ||
             fabs(r->sources[i].share) < fabs(r->sources[least].share))) {
            least = i;
        }
    }
    return least;
}

/* Without it elements are such sums as well, or it stays, and nothing is sure. */
static enum ww_err leave_out(const struct ww_verdict_ask *v, uint32_t source,
                             struct ww_decompose_report *r, struct ww_subsets *parts,
                             struct ww_error *err)
{
    struct ww_lineage_source *s = &r->sources[source];
    struct ww_subsets without;
    enum ww_err rc = WW_OK;

    s->included = false;
    rc = measure(v, r, &without, err);
    if (rc || !ww_verdict_is_whole(&without)) {
        s->included = true;
        parts->sure = false;
        return rc;
    }
    *parts = without;
    s->recipe = 0;
    ww_free(s->note);
    s->note = ww_strdup("elements are sums over the other sources without it");
    return s->note ? WW_OK : WW_FAIL_MEMORY(err, "a verdict");
}

enum ww_err ww_verdict_elements(const struct ww_verdict_ask *v,
                                struct ww_decompose_report *r, struct ww_subsets *parts,
                                struct ww_error *err)
{
    enum ww_err rc = measure(v, r, parts, err);
    uint32_t i = rc ? WW_NONE : needless(r, parts);

    while (!rc && i != WW_NONE && ww_verdict_is_whole(parts)) {
        rc = leave_out(v, i, r, parts, err);
        i = needless(r, parts);
    }
    r->parts = parts->told && parts->sure ? parts->explained : -1;
    return rc;
}
