/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the stored type as ordered integers, their differences as tokens and raw
 * bits, and the context in which a token is coded; shared by writer and reader. */
#ifndef WW_LOCK_RESIDUAL_SYMBOL_H
#define WW_LOCK_RESIDUAL_SYMBOL_H

#include <stdint.h>
#include <string.h>

#include "lock/dense_map.h"
#include "model/convert.h"

#define WW_RESIDUAL_CONTEXTS 64
#define WW_RESIDUAL_DIRECT 16 /* smaller differences are tokens of their own */
#define WW_RESIDUAL_TOKENS (WW_RESIDUAL_DIRECT + 60)

/* bits of a stored number, in its low `width` bytes. */
static inline uint64_t ww_residual_load(const uint8_t *at, unsigned width)
{
    uint64_t bits = 0;
    memcpy(&bits, at, width);
    return bits;
}

/* Order-preserving: the negative numbers, most negative first, then the others. */
static inline uint64_t ww_residual_order(uint64_t bits, unsigned width)
{
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const uint64_t all = sign | (sign - 1);
    return bits & sign ? ~bits & all : bits | sign;
}

static inline uint64_t ww_residual_unorder(uint64_t order, unsigned width)
{
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const uint64_t all = sign | (sign - 1);
    return order & sign ? order & ~sign : ~order & all;
}

/* Differences modulo the type's range, small ones of either sign to small numbers. */
static inline uint64_t ww_residual_fold(uint64_t original, uint64_t predicted,
                                        unsigned width)
{
    const unsigned shift = 64 - 8 * width;
    const uint64_t difference = (original - predicted) << shift;
    const uint64_t negative = (uint64_t)0 - (difference >> 63);
    return ((difference >> shift) << 1 ^ negative) & (~UINT64_C(0) >> shift);
}

static inline uint64_t ww_residual_unfold(uint64_t folded, uint64_t predicted,
                                          unsigned width)
{
    const uint64_t all = ~UINT64_C(0) >> (64 - 8 * width);
    const uint64_t negative = (uint64_t)0 - (folded & 1);
    return (predicted + (folded >> 1 ^ negative)) & all;
}

/* Folded differences from WW_RESIDUAL_DIRECT on: a token for the number of bits, the bits
 * below the highest one raw. */
static inline unsigned ww_residual_token(uint64_t folded, unsigned *n_raw)
{
    unsigned top = 0;

    *n_raw = 0;
    if (folded < WW_RESIDUAL_DIRECT) {
        return (unsigned)folded;
    }
    top = 63u - (unsigned)__builtin_clzll(folded);
    *n_raw = top;
    return WW_RESIDUAL_DIRECT + top - 4;
}

/* How fine the stored type is at the predicted number against the size of what it was
 * mixed from, in half octaves: the error of a prediction is about a fixed share of that
 * size, so the context fixes the spread of the differences. Bits only. */
static inline unsigned ww_residual_context(enum ww_dtype dtype, double predicted,
                                           int16_t level)
{
    const int least = dtype == WW_DTYPE_F16 ? -14 : -1022;
    uint64_t bits = 0;
    int exponent = 0;
    int context = 0;

    if (level == WW_NO_LEVEL) {
        return 0;
    }
    memcpy(&bits, &predicted, sizeof(bits));
    exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    exponent = exponent < least ? least : exponent;
    context = level - 2 * exponent + 5;
    context = context < 1 ? 1 : context;
    return (unsigned)(context < WW_RESIDUAL_CONTEXTS ? context : WW_RESIDUAL_CONTEXTS - 1);
}

#endif
