/* SPDX-License-Identifier: Apache-2.0 */
/* TIES (arXiv 2306.01708) on matrices in memory, as merges in a common frame use it. */
#ifndef WW_MERGE_FRAME_TIES_H
#define WW_MERGE_FRAME_TIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_frame_part {
    double *x;      /* n entries, overwritten */
    double density; /* share of the entries that is kept */
    double weight;  /* of an entry in the mean, not in the election */
};

/** Keep max(least, int(density n)) entries of largest magnitude of each part, equal ones
 * by lowest index; the others become 0. */
enum ww_err ww_frame_trim(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                          size_t least, struct ww_error *err);
/** Of what is kept: elect a sign by the sum of what is kept, or by the number of those
 * with it (0: plus); the mean, over those of that sign, of weight times entry is left in
 * part 0.
 */
void ww_frame_elect(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                    bool by_count);
/** Both, one after the other: at least one entry, by the sum. */
enum ww_err ww_frame_ties(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                          struct ww_error *err) WW_MUST_USE;

#endif
