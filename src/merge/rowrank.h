/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks within a row, by a radix sort that keeps equal elements in their order. */
#ifndef WW_MERGE_ROWRANK_H
#define WW_MERGE_ROWRANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_ROW_RANK_SCRATCH(n) ((2 * (size_t)(n)) * sizeof(uint64_t))

/** rank[i] of element i among n, 0 for the smallest, by keys of 32 bits; equal ones by
 *  index, or with `shared` the mean of their places. scratch: WW_ROW_RANK_SCRATCH bytes,
 *  aligned to 8. n below 2^32. */
void ww_row_rank(const uint64_t *keys, size_t n, bool shared, void *scratch, double *rank);

#endif
