/* SPDX-License-Identifier: Apache-2.0 */
/* In how many directions a suspect was moved, matrix by matrix: an adapter that was
 * merged in leaves a difference of its rank, and rounding on top. */
#ifndef WW_LINEAGE_DIRECTIONS_H
#define WW_LINEAGE_DIRECTIONS_H

#include "lineage/family.h"

struct ww_directions_ask {
    const struct ww_family *family;
    const double *shares;     /* of the sources: what they explain is taken off first */
    const double *per_tensor; /* [n_tensors][sources], instead; or NULL */
    const bool *use;          /* which tensors; NULL: all */
    const struct ww_run_options *run;
};

/** Fills ranks of the report when what is left over is of few directions in at least nine
 *  of ten matrices that rounding does not hide; else leaves them empty. */
enum ww_err ww_directions_find(const struct ww_directions_ask *ask,
                               struct ww_decompose_report *report,
                               struct ww_error *err) WW_MUST_USE;

/** Of d (m x n, m and n up to WW_DIRECTIONS_SIDE): singular values that independent noise
 *  of the given variances ([m][n]) does not reach, and the share of the squares in them.
 *  few: they are few, and what is left is no more than the noise. */
#define WW_DIRECTIONS_SIDE 512
struct ww_directions {
    uint32_t rank;
    uint32_t most; /* ranks above are not called few */
    double part;
    bool few;
};
enum ww_err ww_directions_count(const double *d, const double *variances, size_t m,
                                size_t n, struct ww_directions *out,
                                struct ww_error *err) WW_MUST_USE;

#endif
