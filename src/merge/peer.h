/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The arithmetic of mergekit 0.1.5: torch computes every step in float32 and rounds its
 * result to the dtype of the tensors (float64 stays what it is); sums over models are
 * float32 and rounded once. A double that holds the exact or correctly rounded result of
 * one step and is then rounded to float32 is what float32 gives, since 53 >= 2 * 24 + 2.
 */
#ifndef WW_MERGE_PEER_H
#define WW_MERGE_PEER_H

#include "merge/kernel.h"

/** Methods whose steps are known. */
bool ww_peer_knows(const struct ww_method *method);
/** Where x holds the result of one step: what torch would have. */
void ww_peer_round(enum ww_dtype dtype, double *x, size_t n);
double ww_peer_value(enum ww_dtype dtype, double x);
/** Round to float32, unless dtype is float64. */
void ww_peer_float(enum ww_dtype dtype, double *x, size_t n);
/** sum[i] += w x[i], rounded to float32 once, as a fused multiply-add does. */
void ww_peer_fused(enum ww_dtype dtype, const double *x, double w, size_t n, double *sum);
/** out = the sum of x[0 .. n_x), in float32 and rounded once. */
void ww_peer_sum(enum ww_dtype dtype, double *const *x, uint32_t n_x, size_t n,
                 double *out);
/** out = base + lambda (out / divisor), rounded after each step; steps by 1 are left out.
 */
void ww_peer_onto(enum ww_dtype dtype, const double *base, double divisor, double lambda,
                  size_t n, double *out);

#endif
