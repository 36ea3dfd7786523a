/* SPDX-License-Identifier: Apache-2.0 */
/* Floats by their bits; compilers make vector code of loops over these. */
#ifndef WW_UTIL_FLOAT_BITS_H
#define WW_UTIL_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

static inline float ww_float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}
/** A BF16 is the larger half of a float. */
static inline float ww_float_of_bf16(uint16_t bits)
{
    return ww_float_of_bits((uint32_t)bits << 16);
}

#endif
