/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sums of magnitudes of changes of BF16 as they are stored, of those that are kept and of
 * those that are not: tilesum.h without keys and bytes in between.
 */
#ifndef WW_MERGE_STORED_SUMS_H
#define WW_MERGE_STORED_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/tilesum.h"

/** Is none of n values NaN or infinite? This, and all of the below, needs
 * ww_stored_fast(). */
bool ww_stored_finite(const uint8_t *x, size_t n);
/** ww_stored_key of each of n changes. */
void ww_stored_keys(const uint8_t *x, const uint8_t *base, size_t n, uint32_t *keys);
/** Bit i of bits, from the lowest of a byte: draws[i] <= last. Bits after the last one
 *  are 0. */
void ww_stored_drawn(const uint32_t *draws, uint32_t last, size_t n, uint8_t *bits);
/** Magnitudes of changes to sums[1] where their bit is set, else to sums[0]. */
void ww_stored_magsum(struct ww_magsum sums[2], const uint8_t *x, const uint8_t *base,
                      size_t n, const uint8_t *bits);

#endif
