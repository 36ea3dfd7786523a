/* SPDX-License-Identifier: Apache-2.0 */
/* Position biases on attention scores: ALiBi and T5's buckets. */
#ifndef WW_ARCH_CORE_BIAS_H
#define WW_ARCH_CORE_BIAS_H

#include "weightward/layout.h"

/** Slopes [n_heads]: powers of 2^(-8/c), c the largest power of two <= n_heads, then
 * every second power of the next finer row. */
void ww_core_alibi_slopes(uint64_t n_heads, double *slopes);

/** What ALiBi adds for a key at this position (scores are shifted alike for all keys, so
 *  the query's position does not matter). */
double ww_core_alibi(const struct ww_attention *att, double slope, uint64_t key_position);

/** Row of T5's bias table for this pair of positions. */
uint64_t ww_core_relative_bucket(const struct ww_attention *att, uint64_t query_position,
                                 uint64_t key_position);

#endif
