/* SPDX-License-Identifier: Apache-2.0 */
/* The elements of a tile by bin: internal to moments.c. */
#ifndef WW_LINEAGE_MOMENTS_SORT_H
#define WW_LINEAGE_MOMENTS_SORT_H

#include "lineage/moments.h"

/** By the tile's bins: how many elements are used, which and where each goes. Bin b
 * begins at first[b] and ends where the next one begins. */
size_t ww_moments_sort(struct ww_moments_tile *tile, size_t n,
                       uint32_t first[WW_MOMENTS_BINS + 1]);
/** Their differences from the base, in that order, as columns of tile->sorted. */
void ww_moments_sort_columns(struct ww_moments_tile *tile, unsigned k, size_t used);

#endif
