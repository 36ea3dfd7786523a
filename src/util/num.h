/* SPDX-License-Identifier: Apache-2.0 */
/* Checked arithmetic on sizes and offsets, and little-endian loads and stores. */
#ifndef WW_UTIL_NUM_H
#define WW_UTIL_NUM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool ww_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool ww_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline uint64_t ww_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t ww_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/** n rounded up to a multiple of step (a power of two); the caller rules out overflow. */
static inline uint64_t ww_round_up(uint64_t n, uint64_t step)
{
    return (n + step - 1) & ~(step - 1);
}

static inline uint64_t ww_div_up(uint64_t n, uint64_t step)
{
    return n / step + (n % step != 0);
}

static inline void ww_put_u32le(uint8_t out[4], uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(v >> (8 * i));
    }
}

static inline void ww_put_u64le(uint8_t out[8], uint64_t v)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(v >> (8 * i));
    }
}

static inline uint32_t ww_get_u32le(const uint8_t in[4])
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

static inline uint64_t ww_get_u64le(const uint8_t in[8])
{
    return (uint64_t)ww_get_u32le(in) | (uint64_t)ww_get_u32le(in + 4) << 32;
}

#endif
