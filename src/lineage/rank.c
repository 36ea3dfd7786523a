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

static double statistic_of(const struct ww_moments *moments, const int8_t *side,
                           unsigned of)
{
    struct ww_fit fit;

    ww_fit(moments, side, &fit);
    return fit.error[of] > 0 ? fabs(fit.share[of]) / fit.error[of] : 0;
}

double ww_rank(const struct ww_moments *moments, const int8_t *side, unsigned candidate,
               unsigned first_control, double *statistic, double *reached)
{
    int8_t others[WW_LINEAGE_MAX_SOURCES] = {WW_SIDE_OUT};
    unsigned at_least = 0;

    memcpy(others, side, first_control * sizeof(*others));
    *statistic = statistic_of(moments, others, candidate);
    others[candidate] = WW_SIDE_OUT;
    for (unsigned c = first_control; c < moments->k; c++) {
        others[c] = WW_SIDE_PLUS;
        reached[c - first_control] = statistic_of(moments, others, c);
        if (side[candidate] == WW_SIDE_MINUS) { /* its side was chosen, so is theirs */
            others[c] = WW_SIDE_MINUS;
            reached[c - first_control] =
                fmax(reached[c - first_control], statistic_of(moments, others, c));
        }
        at_least += reached[c - first_control] >= *statistic;
        others[c] = WW_SIDE_OUT;
    }
    return (1.0 + at_least) / (1.0 + moments->k - first_control);
}

void ww_rank_holm(struct ww_lineage_source *sources, size_t n)
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
