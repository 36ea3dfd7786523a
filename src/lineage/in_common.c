/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/in_common.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "weightward/lineage.h"

#define BITS_AGREE 0.99
#define RARE 0.05
#define DEVIATIONS 3 /* of tensors from each other, that a source's share is long */

/* How many controls reach as much as a source. */
static size_t count_reached(const struct ww_decompose_report *report,
                            const struct ww_lineage_source *source)
{
    size_t n = 0;

    for (size_t c = 0; source->reached && c < report->n_controls; c++) {
        n += source->reached[c] >= source->statistic;
    }
    return n;
}

/* NULL: it is a source as far as controls tell. */
static enum ww_err ask_controls(const struct ww_decompose_report *report,
                                const struct ww_lineage_source *s, char **why,
                                struct ww_error *err)
{
    const size_t n = count_reached(report, s);

    if (n == 0 || (1.0 + (double)n) / (1.0 + (double)report->n_controls) <= RARE) {
        return WW_OK;
    }
    *why = ww_asprintf("its share of %.4f is no finding: %zu of %zu controls reach "
                       "as much in its place, as one would that went in itself: such a "
                       "model is no control but a candidate",
                       s->share, n, report->n_controls);
    return *why ? WW_OK : WW_FAIL_MEMORY(err, "a note");
}

/* The same of its tensors, where most is another's or training's, and no rank among
 * controls says more. A source of some layers of a stack has none of the others. */
static enum ww_err ask_tensors(const struct ww_decompose_report *report,
                               const struct ww_lineage_source *s, double even, char **why,
                               struct ww_error *err)
{
    const bool ranked = s->p_value >= 0 && s->p_value <= RARE;

    if (!report->incomplete || report->unexplained <= WW_LINEAGE_MOSTLY || ranked ||
        report->n_places > 0 || even >= DEVIATIONS) {
        return WW_OK;
    }
    *why = ww_asprintf("its share of %.4f is no finding: tensors have shares that are "
                       "%.1f times as long as they differ, as siblings have more in "
                       "common in some than in others, and most of the difference is "
                       "something else",
                       s->share, even);
    return *why ? WW_OK : WW_FAIL_MEMORY(err, "a note");
}

/* Nobody is left. */
static void tell_none(struct ww_decompose_report *report)
{
    report->incomplete = false;
    report->has_keep_rates = false;
    report->still = 0;
    report->has_noise = report->noise_like = false;
    report->unseen = 0;
    report->method = "none";
    report->not_excluded[0] = NULL;
    ww_free(report->recipe);
    report->recipe = NULL;
    report->nearest = false;
}

enum ww_err ww_in_common_drop(struct ww_decompose_report *report, const double *even,
                              struct ww_error *err)
{
    size_t left = 0;
    size_t dropped = 0;

    if (report->method_match >= BITS_AGREE) {
        return WW_OK;
    }
    for (size_t i = 0; i < report->n_sources; i++) {
        struct ww_lineage_source *s = &report->sources[i];
        char *why = NULL;
        enum ww_err rc = s->included ? ask_controls(report, s, &why, err) : WW_OK;
        if (!rc && !why && s->included && even) {
            rc = ask_tensors(report, s, even[i], &why, err);
        }
        if (rc) {
            return rc;
        }
        if (!why) {
            left += s->included;
            continue;
        }
        ww_free(s->note);
        s->note = why;
        s->included = false;
        s->recipe = 0;
        dropped++;
    }
    if (dropped && !left) {
        tell_none(report);
    }
    return WW_OK;
}
