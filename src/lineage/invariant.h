/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Shares from what no transform inside of a head can change: M = A^T C, with A the
 * queries of a head and C its keys, or A the columns of the output projection and C the
 * values. A dense lock makes A' = T A and C' = T^-T C of them, and M' = M.
 *
 * Products of a blend obey the same sum as its weights, to first order in the task
 * vectors: M_S - M_B = sum of share x (M_i - M_B). Inner products of two M follow from d
 * x d matrices, so that no M is ever formed: <M1, M2> = sum of (A1 A2^T) o (C1 C2^T).
 */
#ifndef WW_LINEAGE_INVARIANT_H
#define WW_LINEAGE_INVARIANT_H

#include <stddef.h>
#include <stdint.h>

#include "lineage/fit.h"
#include "weightward/layout.h"
#include "weightward/lineage.h"

/** Suspect, base, sources. */
#define WW_INVARIANT_MAX (WW_LINEAGE_MAX_SOURCES + 2)

/** Rows of one head in one model: d of them, width long each. The first rotary.dims rows
 *  are rotary pairs, of which each has a product of its own (two complex rows, of which a
 *  lock may turn one against the other); the rest has one together. */
struct ww_head {
    const float *a;
    const float *c;
};
struct ww_head_shape {
    size_t d;
    size_t width_a;
    size_t width_c;
    struct ww_rope rope; /* style NONE: no pairs */
};

/** Products of all models' heads: n x n numbers, row-major. scratch holds 2 d^2 doubles.
 */
void ww_invariant_gram(const struct ww_head_shape *shape, const struct ww_head *heads,
                       unsigned n, double *gram, double *scratch);

/** Units (heads, or groups of them) that were summed: z = L G L^T / <M_B, M_B>, as
 *  (k + 1) x (k + 1) sums of products of (y, x_1 .. x_k). */
struct ww_invariant {
    unsigned k;
    size_t n;
    size_t capacity;
    double *z;
};
enum ww_err ww_invariant_add(struct ww_invariant *sums, const double *gram,
                             struct ww_error *err) WW_MUST_USE;
void ww_invariant_release(struct ww_invariant *sums);

/** Shares over all units, each on its side of zero (fit.h). */
void ww_invariant_fit(const struct ww_invariant *sums, const int8_t *side, double *share);

/** Half of a 95 % interval, from units drawn anew with replacement, with the factor that
 *  Student's distribution has for so few. */
enum ww_err ww_invariant_spread(const struct ww_invariant *sums, const int8_t *side,
                                uint64_t seed, double *half,
                                struct ww_error *err) WW_MUST_USE;

#endif
