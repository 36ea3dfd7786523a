/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The other half of a lock's self-check: every non-linear core of every block commutes
 * with the transform, on random activations and the model's own gains, biases and tables.
 *
 * Together with the probes (probe.h) this is a proof by parts. For each linear map W the
 * stream shows W' S_I = A_O W on the real weights, S_I being the element of what W reads
 * and A_O the action on what it writes. Here each core f (norm, attention between
 * projections, activation and gate, choice of experts) is shown to satisfy
 * f'(A x) = S f(x) for the same A and S, f' having the transformed gains. A block is
 * nothing but such maps and sums of them, so the locked block takes S x to S y whenever
 * the block takes x to y. What it does not show is that the layout describes the model:
 * that is what ww_check_layout and the tests against the reference library are for.
 */
#ifndef WW_LOCK_CHECK_CORE_H
#define WW_LOCK_CHECK_CORE_H

#include "lock/gauge.h"
#include "weightward/forward.h"

/** Largest deviation allowed, relative to the largest value. Double sums give 1e-13. */
#define WW_CORE_LIMIT 1e-8

/** All cores of a layout. base may be NULL (the model's files). *max_error is the largest
 *  deviation. WW_E_CHECK_FAILED names the block and the part. */
enum ww_err ww_check_cores(const struct ww_gauge *gauge, const struct ww_weights *base,
                           double *max_error, struct ww_error *err) WW_MUST_USE;

#endif
