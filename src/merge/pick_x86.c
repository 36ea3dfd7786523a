/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight keys at a time with AVX2: a compare gives a bit for each, and four at a time
 * those that count are moved together by a table. No branch depends on a key.
 */
#include "merge/pick.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "merge/key_lanes.h"

#define TARGET __attribute__((target("avx2,popcnt")))
#define ALWAYS __attribute__((target("avx2,popcnt"), always_inline)) static inline

/* For each set of four: its members, then anything. */
static const uint32_t together[16][4] __attribute__((aligned(16))) = {
    {0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0},
    {1, 2, 0, 0}, {0, 1, 2, 0}, {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
    {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3},
};

bool ww_pick_fast(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

ALWAYS size_t store_four(__m128i keys, unsigned set, uint32_t *to)
{
    const __m128i order = _mm_load_si128((const __m128i *)(const void *)together[set]);
    const __m128 moved = _mm_permutevar_ps(_mm_castsi128_ps(keys), order);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_castps_si128(moved));
    return (size_t)__builtin_popcount(set);
}

TARGET size_t ww_pick_x86(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                          uint32_t *to, uint64_t *larger)
{
    const __m256i from = _mm256_set1_epi32((int)low);
    const __m256i width = _mm256_set1_epi32((int)span);
    const __m256i high = _mm256_set1_epi32((int)(low + span));
    __m256i above = _mm256_setzero_si256();
    size_t m = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256i k = _mm256_loadu_si256((const __m256i *)(const void *)(keys + i));
        const __m256i d = _mm256_sub_epi32(k, from);
        const __m256i in = _mm256_cmpeq_epi32(_mm256_min_epu32(d, width), d);
        const unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(in));
        above = _mm256_sub_epi32(above, _mm256_cmpgt_epi32(k, high));
        m += store_four(_mm256_castsi256_si128(k), set & 15, to + m);
        m += store_four(_mm256_extracti128_si256(k, 1), set >> 4, to + m);
    }
    *larger += ww_lanes_sum(above);
    return m + ww_pick_plain(keys + i, n - i, low, span, to + m, larger);
}

#else

bool ww_pick_fast(void)
{
    return false;
}

size_t ww_pick_x86(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                   uint32_t *to, uint64_t *larger)
{
    return ww_pick_plain(keys, n, low, span, to, larger);
}

#endif
