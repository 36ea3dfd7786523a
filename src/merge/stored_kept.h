/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The output of a selecting method from BF16 as they are stored: what is kept of each
 * change, the election of a sign, the sum and its rounding, in registers. The operations
 * and their order are those of kept.h, elect.h, weighted.h and convert.h, so the bits are
 * theirs.
 */
#ifndef WW_MERGE_STORED_KEPT_H
#define WW_MERGE_STORED_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_STORED_KEPT_MOST 4 /* sources, 2 at least */

struct ww_stored_kept {
    uint32_t n_x;
    struct ww_stored_kept_source {
        double weight;
        double range[2]; /* kept are magnitudes from the first up to below the second */
        const uint8_t *bits; /* or these, from the lowest of a byte, for all sources, */
        double factor;       /* and then they are rescaled */
    } sources[WW_STORED_KEPT_MOST];
    bool elect;     /* a sum of 0 elects plus */
    bool normalize; /* divide by the weights of those that agree, or by the divisor */
    double divisor;
    double lambda;
};

/** out = base + lambda times the sum, rounded; n of each, of any alignment. False, and
 * out is worth nothing, where an input is NaN or infinite or a result is not 0 and not in
 *  [2^-126, 2^127). Needs ww_stored_fast(). */
bool ww_stored_kept(const struct ww_stored_kept *kept, const uint8_t *const *x,
                    const uint8_t *base, size_t n, uint8_t *out);
/** The same with vectors of 512 bits, which needs ww_stored_wide(), or of 256. */
bool ww_stored_kept_with(bool wide, const struct ww_stored_kept *kept,
                         const uint8_t *const *x, const uint8_t *base, size_t n,
                         uint8_t *out);
/** How many changes from the base have this magnitude, rounded to float. The same need.
 */
uint64_t ww_stored_count(const uint8_t *x, const uint8_t *base, size_t n, uint32_t key);

#endif
