/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Philox with AVX2. Each word of a counter has 64 bits of room, of which the lower half
 * counts: vpmuludq multiplies just those, so neither product nor operand is ever
 * shuffled, and what is left in upper halves does no harm. A compiler widens and narrows
 * around each multiplication instead, which takes three times as long.
 */
#include "la/philox.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define ALWAYS __attribute__((target("avx2"), always_inline)) static inline

bool ww_philox_fast(void)
{
    return __builtin_cpu_supports("avx2");
}

/* Four counters: word w of each in c[w]. */
ALWAYS void round_of(__m256i c[4], __m256i k0, __m256i k1)
{
    const __m256i a = _mm256_mul_epu32(c[0], _mm256_set1_epi64x(WW_PHILOX_MUL_0));
    const __m256i b = _mm256_mul_epu32(c[2], _mm256_set1_epi64x(WW_PHILOX_MUL_1));
    c[0] = _mm256_xor_si256(_mm256_srli_epi64(b, 32), _mm256_xor_si256(c[1], k0));
    c[2] = _mm256_xor_si256(_mm256_srli_epi64(a, 32), _mm256_xor_si256(c[3], k1));
    c[1] = b;
    c[3] = a;
}

/* Words of counters 0..3, one counter after the other. */
ALWAYS void store(const __m256i c[4], uint32_t *out)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    /* Words 0 and 1, and 2 and 3, of each counter in 64 bits. */
    const __m256i p =
        _mm256_or_si256(_mm256_and_si256(c[0], low), _mm256_slli_epi64(c[1], 32));
    const __m256i q =
        _mm256_or_si256(_mm256_and_si256(c[2], low), _mm256_slli_epi64(c[3], 32));
    const __m256i even = _mm256_unpacklo_epi64(p, q); /* counters 0 and 2 */
    const __m256i odd = _mm256_unpackhi_epi64(p, q);  /* 1 and 3 */
    _mm256_storeu_si256((__m256i *)(void *)out,
                        _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 8),
                        _mm256_permute2x128_si256(even, odd, 0x31));
}

ALWAYS void load(uint64_t at, uint32_t source, uint32_t which, __m256i c[4])
{
    c[0] = _mm256_add_epi64(_mm256_set1_epi64x((long long)at),
                            _mm256_setr_epi64x(0, 1, 2, 3));
    c[1] = _mm256_srli_epi64(c[0], 32);
    c[2] = _mm256_set1_epi64x(source);
    c[3] = _mm256_set1_epi64x(which);
}

TARGET void ww_philox_run_x86(const uint32_t key[2], uint64_t at, uint32_t source,
                              uint32_t which, size_t n, uint32_t *out)
{
    __m256i keys[WW_PHILOX_ROUNDS][2]; /* in memory, where an operand costs nothing */

    for (uint32_t r = 0; r < WW_PHILOX_ROUNDS; r++) {
        keys[r][0] = _mm256_set1_epi32((int)(key[0] + r * WW_PHILOX_KEY_0));
        keys[r][1] = _mm256_set1_epi32((int)(key[1] + r * WW_PHILOX_KEY_1));
    }
    for (size_t i = 0; i < n; i++) {
        __m256i c[4];
        __m256i d[4];
        load(at + i * WW_PHILOX_LANES, source, which, c);
        load(at + i * WW_PHILOX_LANES + 4, source, which, d);
#pragma GCC unroll 10
        for (int r = 0; r < WW_PHILOX_ROUNDS; r++) {
            round_of(c, keys[r][0], keys[r][1]);
            round_of(d, keys[r][0], keys[r][1]);
        }
        store(c, out + i * 4 * WW_PHILOX_LANES);
        store(d, out + i * 4 * WW_PHILOX_LANES + 16);
    }
}

#else

bool ww_philox_fast(void)
{
    return false;
}

void ww_philox_run_x86(const uint32_t key[2], uint64_t at, uint32_t source,
                       uint32_t which, size_t n, uint32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        ww_philox_run(key, at + i * WW_PHILOX_LANES, source, which,
                      out + i * 4 * WW_PHILOX_LANES);
    }
}

#endif
