/* SPDX-License-Identifier: Apache-2.0 */
/* Sine, arc cosine, exponential and logarithm with the same bits on every machine. */
#ifndef WW_LA_FIXMATH_H
#define WW_LA_FIXMATH_H

#include <stddef.h>

/** abs(x) up to 1e5; error below 4e-16. */
double ww_fix_sin(double x);
double ww_fix_cos(double x);
/** x in [-1, 1], result in [0, pi]; error below 1e-15. */
double ww_fix_acos(double x);
/** Any x; 0 below -745, infinity above 709.8; relative error below 1e-15. */
double ww_fix_exp(double x);
/** x > 0 and normal; error below 4e-16 relative to the larger of 1 and the result. */
double ww_fix_log(double x);
/** Relative error below 2e-15. */
double ww_fix_tanh(double x);

/** The same values, bit for bit, of n numbers; out may be x. */
void ww_fix_exp_n(const double *x, size_t n, double *out);
void ww_fix_tanh_n(const double *x, size_t n, double *out);

#endif
