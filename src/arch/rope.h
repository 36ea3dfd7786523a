/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary embedding: what the table holds, and applying it to a row of heads. */
#ifndef WW_ARCH_ROPE_H
#define WW_ARCH_ROPE_H

#include "arch/core.h"

struct ww_rope_table {
    enum ww_rope_style style;
    size_t n;
    size_t n_pairs; /* r / 2 */
    double *cos;    /* [n, n_pairs] */
    double *sin;
};

/** Frequencies [n_pairs] of an attention for a sequence of this length, and the factor on
 *  cos and sin. WW_E_CONFIG, WW_E_UNSUPPORTED. */
enum ww_err ww_rope_frequencies(const struct ww_layout *layout,
                                const struct ww_attention *att, size_t sequence_length,
                                double *frequency, double *factor,
                                struct ww_error *err) WW_MUST_USE;

/** Turn the pairs of n_heads heads of head_dim at x, row t of the table; the pairs start
 *  at dimension first. */
void ww_rope_turn(const struct ww_rope_table *table, size_t t, double *x, size_t n_heads,
                  size_t head_dim, size_t first);

#endif
