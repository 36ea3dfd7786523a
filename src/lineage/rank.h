/* SPDX-License-Identifier: Apache-2.0 */
/* T2: a candidate's place among models that are no source. */
#ifndef WW_LINEAGE_RANK_H
#define WW_LINEAGE_RANK_H

#include "lineage/fit.h"
#include "util/str.h"

/** p-value of source number candidate: sources of the moments from first_control on take
 *  its place, one at a time, beside the others in use; in that of one whose share is
 * below zero on the better of both sides. same: ww_fit_collinear, controls that are
 * another's are left out; NULL: none is. reached: theirs, [k - first_control]. */
double ww_rank(const struct ww_moments *moments, const int8_t *side, const uint32_t *same,
               unsigned candidate, unsigned first_control, double *statistic,
               double *reached);

struct ww_rank_ask {
    const struct ww_moments *moments;
    const int8_t *side;
    const uint32_t *same;        /* ww_fit_collinear */
    const char *const *controls; /* the moments's last sources, by path */
    size_t n_controls;
};

/** p-values of the report's sources and what its controls reach. Controls that equal the
 * base, a candidate or each other are one draw or none: they are left out, with a warning
 * for each. Borrows; strings go to the report. WW_E_NOMEM. */
enum ww_err ww_rank_sources(const struct ww_rank_ask *ask,
                            struct ww_decompose_report *report,
                            struct ww_strlist *warnings,
                            struct ww_error *err) WW_MUST_USE;

#endif
