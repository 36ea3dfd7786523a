/* SPDX-License-Identifier: Apache-2.0 */
/* The key of one change of BF16 as they are stored. */
#ifndef WW_MERGE_STORED_KEY_H
#define WW_MERGE_STORED_KEY_H

#include <string.h>

#include "util/float_bits.h"

/** The bits of the magnitude of x[i] - base[i], rounded to float. */
static inline uint32_t ww_stored_key(const uint8_t *x, const uint8_t *base, size_t i)
{
    uint16_t of_x;
    uint16_t of_base;
    uint32_t bits;

    memcpy(&of_x, x + 2 * i, sizeof(of_x));
    memcpy(&of_base, base + 2 * i, sizeof(of_base));
    const float change = ww_float_of_bf16(of_x) - ww_float_of_bf16(of_base);
    memcpy(&bits, &change, sizeof(bits));
    return bits & 0x7fffffff;
}

#endif
