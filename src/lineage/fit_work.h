/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a fit share: sums of bins, weighed. */
#ifndef WW_LINEAGE_FIT_WORK_H
#define WW_LINEAGE_FIT_WORK_H

#include "lineage/fit.h"

/** Products of the sources with each other, rows of k, and with the difference. */
struct ww_fit_system {
    double xx[WW_LINEAGE_MAX_SOURCES * WW_LINEAGE_MAX_SOURCES];
    double xy[WW_LINEAGE_MAX_SOURCES];
};

/** The base's column, where a bin has one. */
struct ww_fit_size {
    double scale; /* g; 1 where there is none */
    double bb;    /* 0 where there is none */
};

/** Variance of rounding to the steps of a bin. */
static inline double ww_fit_variance(const struct ww_moments_bin *bin)
{
    return bin->steps / (double)bin->n / 12;
}

/** Least squares of y - g sum a x on the base, as g - 1 = <B, y - sum a x> / <B, B + sum
 * a x>. */
struct ww_fit_size ww_fit_size_of(const struct ww_moments_bin *bin, unsigned k,
                                  const double *a);
/** Sum i, j of the products without what the base has of both. */
double ww_fit_clear(const struct ww_moments_bin *bin, unsigned k,
                    const struct ww_fit_size *s, unsigned i, unsigned j);
/** (1, -g a) Z (1, -g a)^T */
double ww_fit_left(const struct ww_moments_bin *bin, unsigned k, const double *a,
                   const struct ww_fit_size *s);
/** Of the sources in use alone: with many controls the others are most of the sums. A
 *  source whose share lies below zero enters with its sign turned, so that all unknowns
 *  are at least 0. side NULL: all are in use as they are. */
void ww_fit_weigh(const struct ww_moments *moments, const int8_t *side, const double *a,
                  double tau2, struct ww_fit_system *s);

#endif
