/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products with one fixed order of operations on every machine. */
#ifndef WW_ARCH_CORE_DOT_H
#define WW_ARCH_CORE_DOT_H

#include <stddef.h>

#define WW_DOT_LANES 8
/** Sum of a[i] * b[i] over eight lanes (i mod 8), lanes added pairwise: */
double ww_dot(const double *a, const double *b, size_t len);
double ww_dot_lanes(const double lane[WW_DOT_LANES]);

/** y[t * ldy] = ww_dot(w, x + t * ldx, len) for t < n, the very same bits. */
void ww_dot_many(const double *w, const double *x, size_t ldx, size_t n, size_t len,
                 double *y, size_t ldy);

/** All products of n vectors with each other, 2 <= n <= WW_DOT_PAIRS, in one reading of
 *  them: y[0..] = x[0] x[0], x[0] x[1], .., x[1] x[1], .., the very same bits. */
#define WW_DOT_PAIRS 3
void ww_dot_pairs(const double *const *x, size_t n, size_t len, double *y);

/** y[i] += a * x[i]. */
void ww_add_scaled(double *y, double a, const double *x, size_t len);

#endif
