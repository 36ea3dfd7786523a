/* SPDX-License-Identifier: Apache-2.0 */
/* Eight keys in a vector with AVX2, for the files that include it where they have that.
 */
#ifndef WW_MERGE_KEY_LANES_H
#define WW_MERGE_KEY_LANES_H

#include <immintrin.h>
#include <stdint.h>

#define WW_KEY_LANES __attribute__((target("avx2"), always_inline)) static inline

/** The magnitudes' bits of x - base, eight floats each, rounded to float. */
WW_KEY_LANES __m256i ww_keys_of(__m256i x, __m256i base)
{
    const __m256 change =
        _mm256_sub_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(base));
    return _mm256_and_si256(_mm256_castps_si256(change), _mm256_set1_epi32(0x7fffffff));
}

/** The same of eight BF16 as they are stored, in their order. */
WW_KEY_LANES __m256i ww_keys_at(const uint8_t *x, const uint8_t *base)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)x);
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)base);
    return ww_keys_of(_mm256_slli_epi32(_mm256_cvtepu16_epi32(a), 16),
                      _mm256_slli_epi32(_mm256_cvtepu16_epi32(b), 16));
}

WW_KEY_LANES uint64_t ww_lanes_sum(__m256i v)
{
    uint32_t lanes[8];
    uint64_t sum = 0;

    _mm256_storeu_si256((__m256i *)(void *)lanes, v);
    for (unsigned i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return sum;
}

#endif
