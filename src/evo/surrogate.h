/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A quadratic through scores that were paid for, which can be asked for free: MAP (Li et
 * al. 2024, arXiv 2406.07529) finds fronts of merges so. Ridge regression on 1, u_i and
 * u_i u_j with the box as [-1, 1]; sums in one order.
 */
#ifndef WW_EVO_SURROGATE_H
#define WW_EVO_SURROGATE_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_SURROGATE_MAX_VARIABLES 24u

struct ww_surrogate {
    uint32_t d;
    double *weight; /* [ww_surrogate_terms(d)] */
    double told; /* share of the variance told of points left out one by one; at most 1,
                    0 or less: nothing */
};

size_t ww_surrogate_terms(uint32_t d);
/** Points u [n][d] in [-1, 1], scores y [n]; those that are NaN are left out. WW_E_USAGE
 *  for fewer good ones than terms, or too many variables. */
enum ww_err ww_surrogate_fit(const double *u, const double *y, size_t n, uint32_t d,
                             struct ww_surrogate *out, struct ww_error *err) WW_MUST_USE;
double ww_surrogate_value(const struct ww_surrogate *surrogate, const double *u);
void ww_surrogate_release(struct ww_surrogate *surrogate);

#endif
