/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both a suspect and its false sources descend from one base, so no permutation of
 * weights gives a null. Models that are known to be no source do: if the candidate is one
 * of them, its statistic has any rank among theirs with the same chance (Barnard 1963),
 * whatever siblings have in common. Equal statistics count against the candidate.
 */
#include "lineage/rank.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static double statistic_of(const struct ww_moments *moments, const int8_t *side,
                           unsigned of)
{
    struct ww_fit fit;

    ww_fit(moments, side, &fit);
    return fit.error[of] > 0 ? fabs(fit.share[of]) / fit.error[of] : 0;
}

/* Takes the place of the candidate, which stays out of others. */
static double reach_of(const struct ww_moments *moments, int8_t *others, int8_t side,
                       unsigned control)
{
    double reached = 0;

    others[control] = WW_SIDE_PLUS;
    reached = statistic_of(moments, others, control);
    if (side == WW_SIDE_MINUS) { /* its side was chosen, so is theirs */
        others[control] = WW_SIDE_MINUS;
        reached = fmax(reached, statistic_of(moments, others, control));
    }
    others[control] = WW_SIDE_OUT;
    return reached;
}

double ww_rank(const struct ww_moments *moments, const int8_t *side, const uint32_t *same,
               unsigned candidate, unsigned first_control, double *statistic,
               double *reached)
{
    int8_t others[WW_LINEAGE_MAX_SOURCES] = {WW_SIDE_OUT};
    unsigned at_least = 0;
    unsigned n = 0;

    memcpy(others, side, first_control * sizeof(*others));
    *statistic = statistic_of(moments, others, candidate);
    others[candidate] = WW_SIDE_OUT;
    for (unsigned c = first_control; c < moments->k; c++) {
        if (!same || same[c] == c) {
            reached[n] = reach_of(moments, others, side[candidate], c);
            at_least += reached[n++] >= *statistic;
        }
    }
    return (1.0 + at_least) / (1.0 + n);
}

/* A model that is a control twice would count as two. */
static enum ww_err count_controls(const struct ww_rank_ask *ask,
                                  struct ww_decompose_report *report,
                                  struct ww_strlist *warnings, struct ww_error *err)
{
    const size_t first = report->n_sources;
    enum ww_err rc = WW_OK;

    report->n_controls = 0;
    for (size_t c = 0; c < ask->n_controls && !rc; c++) {
        const uint32_t same = ask->same[first + c];
        char *text = NULL;
        if (same == first + c) {
            report->n_controls++;
            continue;
        }
        text = same == WW_NONE
                   ? ww_asprintf("control '%s' does not differ from the base where it "
                                 "counts, and is left out of the ranks",
                                 ask->controls[c])
                   : ww_asprintf("control '%s' cannot be told from '%s', and is left out "
                                 "of the ranks",
                                 ask->controls[c],
                                 same < first ? report->sources[same].name
                                              : ask->controls[same - first]);
        rc = text ? ww_strlist_add(warnings, text, err) : WW_FAIL_MEMORY(err, "a note");
        ww_free(text);
    }
    return rc;
}

/* Holm (1979) over the p-values of all sources, in place. */
static void holm(struct ww_lineage_source *sources, size_t n)
{
    bool done[WW_LINEAGE_MAX_SOURCES] = {false};
    double before = 0;

    for (size_t m = 0; m < n; m++) {
        size_t least = n;
        for (size_t i = 0; i < n; i++) {
            if (!done[i] && (least == n || sources[i].p_value < sources[least].p_value)) {
                least = i;
            }
        }
        done[least] = true;
        before = fmax(before, fmin(1, sources[least].p_value * (double)(n - m)));
        sources[least].p_value = before;
    }
}

enum ww_err ww_rank_sources(const struct ww_rank_ask *ask,
                            struct ww_decompose_report *report,
                            struct ww_strlist *warnings, struct ww_error *err)
{
    enum ww_err rc = count_controls(ask, report, warnings, err);

    if (rc || report->n_controls == 0) {
        return rc;
    }
    for (unsigned i = 0; i < report->n_sources; i++) {
        struct ww_lineage_source *source = &report->sources[i];
        source->p_value = 1;
        if (!ask->side[i]) {
            continue;
        }
        source->reached = ww_calloc(report->n_controls, sizeof(double));
        if (!source->reached) {
            return WW_FAIL_MEMORY(err, "ranks among controls");
        }
        source->p_value =
            ww_rank(ask->moments, ask->side, ask->same, i, (unsigned)report->n_sources,
                    &source->statistic, source->reached);
    }
    holm(report->sources, report->n_sources);
    return WW_OK;
}
