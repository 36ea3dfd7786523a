/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Matrices and phases from a keystream: docs/formats/lock-derivation.md is the
 * definition. Doubles, + - * / and square roots in a fixed order, a logarithm and an
 * exponential of our own: the same bits on every machine.
 */
#ifndef WW_LOCK_DENSE_DRAW_H
#define WW_LOCK_DENSE_DRAW_H

#include "lock/draw.h"

/** n points of the unit circle, uniform: (re, im) pairs. */
void ww_draw_phases(struct ww_draw *draw, double *out, uint32_t n);

/** An n x n orthogonal matrix, Haar distributed: the factor Q of G = L Q, L lower
 *  triangular with positive diagonal, G of independent normal deviates. WW_E_NOMEM. */
enum ww_err ww_draw_haar(struct ww_draw *draw, double *out, uint32_t n,
                         struct ww_error *err) WW_MUST_USE;

/** U diag(s) V with U and V as above and s between c^-1/2 and c^1/2, uniform in the
 *  logarithm; inverse_t is its transposed inverse, U diag(1/s) V. WW_E_NOMEM. */
enum ww_err ww_draw_conditioned(struct ww_draw *draw, double c, double *out,
                                double *inverse_t, uint32_t n,
                                struct ww_error *err) WW_MUST_USE;

/** The logarithm and exponential behind them: within two units in the last place. */
double ww_exact_log(double x); /* x normal and positive */
double ww_exact_exp(double x); /* |x| <= 1 */

#endif
