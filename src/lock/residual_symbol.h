/* SPDX-License-Identifier: Apache-2.0 */
/* Differences of ordered integers as tokens and raw bits, and the context in which a
 * token is coded; shared by writer and reader. */
#ifndef WW_LOCK_RESIDUAL_SYMBOL_H
#define WW_LOCK_RESIDUAL_SYMBOL_H

#include <stdint.h>
#include <string.h>

#include "codec/ordered.h"
#include "lock/dense_map.h"
#include "model/convert.h"

#define WW_RESIDUAL_CONTEXTS 64
#define WW_RESIDUAL_DIRECT 16 /* smaller differences are tokens of their own */
#define WW_RESIDUAL_TOKENS (WW_RESIDUAL_DIRECT + 60)

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
    return (unsigned)(context < WW_RESIDUAL_CONTEXTS ? context
                                                     : WW_RESIDUAL_CONTEXTS - 1);
}

#endif
