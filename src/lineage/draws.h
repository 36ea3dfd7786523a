/* SPDX-License-Identifier: Apache-2.0 */
/* Draws that need no secret, only to be the same again. */
#ifndef WW_LINEAGE_DRAWS_H
#define WW_LINEAGE_DRAWS_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

/** One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which each
 *  bit of the input moves each of the output. */
static inline uint64_t ww_mix64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/** The next number of SplitMix64. */
uint64_t ww_draw(uint64_t *state);

/** 1 or -1, which a place decides. */
double ww_draw_side(size_t place);

/** A number that a seed and a name decide. */
uint64_t ww_draw_name(uint64_t seed, const char *name);

/** 2.5 % and 97.5 % of n values, which are sorted; 0 where there are none. */
void ww_draw_middle(double *values, size_t n, double *low, double *high);

/** 2.5 % and 97.5 % of sum(same) / sum(moved) over n tensors drawn anew with replacement.
 */
enum ww_err ww_draw_interval(const uint64_t *same, const uint64_t *moved, size_t n,
                             uint64_t seed, double *low, double *high,
                             struct ww_error *err) WW_MUST_USE;

#endif
