/* SPDX-License-Identifier: Apache-2.0 */
/* Stored numbers as ordered integers, so that neighbours differ by one (-0 is the one
 * below +0, NaN payloads survive), and the differences of such integers. */
#ifndef WW_CODEC_ORDERED_H
#define WW_CODEC_ORDERED_H

#include <stdint.h>
#include <string.h>

/* bits of a stored number, in its low `width` bytes. */
static inline uint64_t ww_ordered_load(const uint8_t *at, unsigned width)
{
    uint64_t bits = 0;
    memcpy(&bits, at, width);
    return bits;
}

/* Order-preserving: the negative numbers, most negative first, then the others. */
static inline uint64_t ww_ordered_of(uint64_t bits, unsigned width)
{
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const uint64_t all = sign | (sign - 1);
    return bits ^ (sign | (all & (UINT64_C(0) - (bits >> (8 * width - 1)))));
}

static inline uint64_t ww_ordered_bits(uint64_t order, unsigned width)
{
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const uint64_t all = sign | (sign - 1);
    return order ^ (sign | (all & ((order >> (8 * width - 1)) - 1)));
}

/* Differences modulo the type's range, small ones of either sign to small numbers. */
static inline uint64_t ww_ordered_fold(uint64_t original, uint64_t predicted,
                                       unsigned width)
{
    const unsigned shift = 64 - 8 * width;
    const uint64_t difference = (original - predicted) << shift;
    const uint64_t negative = (uint64_t)0 - (difference >> 63);
    return ((difference >> shift) << 1 ^ negative) & (~UINT64_C(0) >> shift);
}

static inline uint64_t ww_ordered_unfold(uint64_t folded, uint64_t predicted,
                                         unsigned width)
{
    const uint64_t all = ~UINT64_C(0) >> (64 - 8 * width);
    const uint64_t negative = (uint64_t)0 - (folded & 1);
    return (predicted + (folded >> 1 ^ negative)) & all;
}

#endif
