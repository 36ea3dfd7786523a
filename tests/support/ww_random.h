/* SPDX-License-Identifier: Apache-2.0 */
/* Repeatable bytes for tests. */
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

#endif
