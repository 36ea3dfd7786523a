/* SPDX-License-Identifier: Apache-2.0 */
/* Elementwise sums over blocks, in a fixed order; every method ends in one of them. */
#ifndef WW_MERGE_WEIGHTED_H
#define WW_MERGE_WEIGHTED_H

#include <stddef.h>
#include <stdint.h>

struct ww_weighted {
    double *w; /* [n_sources], own */
    double divisor;
    double lambda;
};

/** out[i] = ((w[0] x[0][i]) + w[1] x[1][i]) + ... */
void ww_weighted_sum(double *const *x, const double *w, uint32_t n_x, size_t n,
                     double *out);
/** The same, and each sum divided. */
void ww_weighted_mean(double *const *x, const double *w, uint32_t n_x, double divisor,
                      size_t n, double *out);
/** out += x. */
void ww_weighted_add(const double *x, size_t n, double *out);
/** out[i] = ((0 + x[0][i]) + x[1][i]) + ... */
void ww_weighted_total(double *const *x, uint32_t n_x, size_t n, double *out);
void ww_weighted_divide(double *out, double divisor, size_t n);
/** out[i] = base[i] + lambda out[i] */
void ww_weighted_onto(const double *base, double lambda, size_t n, double *out);
/** x[i] = x[i] - base[i] */
void ww_weighted_delta(double *x, const double *base, size_t n);

#endif
