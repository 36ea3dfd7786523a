/* SPDX-License-Identifier: Apache-2.0 */
/* Repeatable bytes and numbers for tests. */
#ifndef WW_RANDOM_H
#define WW_RANDOM_H

#include <stdint.h>
#include <string.h>

static inline uint64_t fx_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void fx_fill(uint64_t *seed, uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t v = fx_random(seed);
        memcpy(p + i, &v, n - i < 8 ? n - i : 8);
    }
}

/* Nearly normal, of mean 0 and deviation 1, and never beyond 6: the same everywhere. */
static inline double fx_normal(uint64_t *seed)
{
    double sum = 0;
    for (unsigned i = 0; i < 12; i++) {
        sum += (double)(fx_random(seed) >> 11) / 9007199254740992.0;
    }
    return sum - 6;
}

static inline uint16_t fx_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float fx_from_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

#endif
