/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Weighted sums and inner products of BF16 as they are stored: each value is read once,
 * widened, summed and rounded in registers. The operations and their order are those of
 * weighted.h, core_dot.h and convert.h, so the bits are theirs.
 */
#ifndef WW_MERGE_STORED_H
#define WW_MERGE_STORED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_STORED_MOST 64 /* sources of a sum */
/** out = (sum of w[s] x[s]) / divisor. With a base the x are taken less it, and out is
 *  base + lambda times that. */
struct ww_stored_sum {
    const double *w; /* [n_x], 1 <= n_x <= WW_STORED_MOST */
    uint32_t n_x;
    double divisor; /* 1: it is not divided */
    double lambda;
};

/** Has this processor AVX2? Without it the others do nothing and say false. */
bool ww_stored_fast(void);
/** Has it the AVX-512 that their wider forms take? */
bool ww_stored_wide(void);

/** n values of BF16 each, of any alignment; base may be NULL. False, and out is worth
 *  nothing, where some result is not 0 and not in [2^-126, 2^127): so it is always when a
 *  value of x or base is NaN or infinite, as long as all numbers of sum are finite. */
bool ww_stored_sum(const struct ww_stored_sum *sum, const uint8_t *const *x,
                   const uint8_t *base, size_t n, uint8_t *out);

#define WW_STORED_VECTORS 3
/** Adds the upper triangle of all inner products to acc, row by row, as ww_gram_add does;
 *  2 <= n_x <= WW_STORED_VECTORS. False, and acc as it was, where one is not finite. */
bool ww_stored_gram(const uint8_t *const *x, uint32_t n_x, const uint8_t *base, size_t n,
                    double *acc);

#endif
