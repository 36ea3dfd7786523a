/* SPDX-License-Identifier: Apache-2.0 */
/* A loop over many like things, cut into one slice for each thread. What each of them
 * writes must be its own, so that the number of threads changes nothing. */
#ifndef WW_LINEAGE_SLICES_H
#define WW_LINEAGE_SLICES_H

#include <stddef.h>

typedef void (*ww_slice_fn)(void *payload, size_t from, size_t to);

/** run(payload, from, to) over [0, n); multiple: slices begin at multiples of it. */
void ww_slices(unsigned threads, size_t n, size_t multiple, ww_slice_fn run,
               void *payload);

#endif
