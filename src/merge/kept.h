/* SPDX-License-Identifier: Apache-2.0 */
/* What a selection leaves of the changes of a block, rescaled and weighted. */
#ifndef WW_MERGE_KEPT_H
#define WW_MERGE_KEPT_H

#include <stddef.h>
#include <stdint.h>

/** For each set of four bits, from the lowest, the masks of four doubles. */
extern const uint64_t ww_keep_masks[16][4];

/** x[i] = x[i] factor weight where it is kept, else 0. keep: a byte for each, 0 or 1. */
void ww_keep_bytes(double *x, const uint8_t *keep, double factor, double weight,
                   size_t n);
/** keep: bits, from the lowest of a byte; n is a multiple of 4. */
void ww_keep_bits(double *x, const uint8_t *keep, double factor, double weight, size_t n);
/** Kept are magnitudes from range[0] up to below range[1]. */
void ww_keep_range(double *x, const double range[2], double factor, double weight,
                   size_t n);

#endif
