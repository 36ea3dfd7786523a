/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks within a row, and what a draw against a rank decides. */
#ifndef WW_MERGE_ROWRANK_H
#define WW_MERGE_ROWRANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_ROW_RANK_SCRATCH(n) ((2 * (size_t)(n)) * sizeof(uint64_t))
#define WW_ROW_KEEP_SCRATCH(n)                                                           \
    (WW_ROW_RANK_SCRATCH(n) + 3 * (size_t)(n) * sizeof(uint32_t))

/** rank[i] of element i among n, 0 for the smallest; equal ones by index, or with
 * `shared` the mean of their places. keys: below 2^31. scratch: WW_ROW_RANK_SCRATCH
 * bytes, aligned to 8. n below 2^32. */
void ww_row_rank(const uint32_t *keys, size_t n, bool shared, void *scratch,
                 double *rank);

/** A draw below (low + step * rank) * 2^32 keeps its element. */
struct ww_row_odds {
    double low;
    double step;
    bool shared;
    const uint32_t *last; /* [n] by rank, from ww_row_last; NULL: computed as needed */
};
/** last[rank]: the last draw that keeps an element. All odds are above 0 and below 1. */
void ww_row_last(const struct ww_row_odds *odds, size_t n, uint32_t *last);

/** keep[i] of the elements of a row by their draws and ranks as above: the same as with
 *  ww_row_rank, which is called for the rows that need it. scratch: WW_ROW_KEEP_SCRATCH
 *  bytes, aligned to 8. */
void ww_row_keep(const uint32_t *keys, const uint32_t *draws, size_t n,
                 const struct ww_row_odds *odds, void *scratch, uint8_t *keep);

#endif
