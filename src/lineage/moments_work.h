/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the sums share: elements of a tile get a bin, are put in the order of
 * bins, and columns of a bin are multiplied. */
#ifndef WW_LINEAGE_MOMENTS_WORK_H
#define WW_LINEAGE_MOMENTS_WORK_H

#include <string.h>

#include "lineage/moments.h"

/** Bits of a dtype's mantissa and the least exponent of a normal number. */
struct ww_moments_format {
    int mantissa;
    int least;
};
struct ww_moments_format ww_moments_format(enum ww_dtype dtype);

/** 2^e for the exponents that steps have. */
static inline double ww_moments_power(int e)
{
    const uint64_t bits = (uint64_t)(e + 1023) << 52;
    double v = 0;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

/** Sets the bins of the n elements in the tile: the largest value decides the grid's
 * step, the longest task vector whether the element is used. Of columns it leaves
 * differences in place of values, and of steps what was rounded by. Returns how many were
 * pruned. */
uint64_t ww_moments_classify(struct ww_moments_tile *tile, unsigned k, size_t n,
                             enum ww_dtype dtype);
/** The same of BF16 as it is stored. */
uint64_t ww_moments_classify_stored(struct ww_moments_tile *tile, unsigned k, size_t n);

/** By the tile's bins: how many elements are used, which and where each goes. Bin b
 * begins at first[b] and ends where the next one begins. */
size_t ww_moments_sort(struct ww_moments_tile *tile, size_t n,
                       uint32_t first[WW_MOMENTS_BINS + 1]);
/** Their differences from the base, in that order, as columns of tile->sorted. */
void ww_moments_sort_columns(struct ww_moments_tile *tile, unsigned k, size_t used);

/** out[q] += sum of a x column q, of n_b columns of WW_MOMENTS_TILE. */
void ww_moments_products(const double *a, const double *columns, unsigned n_b, size_t n,
                         double *out);
/** Sum of fourth powers. */
double ww_moments_fourth(const double *a, size_t n);

#endif
