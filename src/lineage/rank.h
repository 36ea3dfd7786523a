/* SPDX-License-Identifier: Apache-2.0 */
/* T2: a candidate's place among models that are no source. */
#ifndef WW_LINEAGE_RANK_H
#define WW_LINEAGE_RANK_H

#include "lineage/fit.h"

/** p-value of source number candidate: sources of the moments from first_control on take
 *  its place, one at a time, beside the others in use; in that of one whose share is
 * below zero on the better of both sides. reached: theirs, [k - first_control]. */
double ww_rank(const struct ww_moments *moments, const int8_t *side, unsigned candidate,
               unsigned first_control, double *statistic, double *reached);

/** Holm (1979) over the p-values of all sources, in place. */
void ww_rank_holm(struct ww_lineage_source *sources, size_t n);

#endif
