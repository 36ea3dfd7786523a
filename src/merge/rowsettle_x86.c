/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thirty-two draws at a time with AVX2. Their comparisons become bytes, and a bit each;
 * how many of those are set cannot be foreseen, so the first places are written whether
 * they are there or not, and the next ones over what was too much.
 */
#include "merge/rowsettle.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,popcnt")))
#define ALWAYS __attribute__((target("avx2,bmi,popcnt"), always_inline)) static inline

#define STEP 32u
#define AT_ONCE 8u

bool ww_row_settle_fast(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("popcnt");
}

/* All bits of the bytes of 32 draws up to a limit. */
ALWAYS __m256i up_to(const __m256i draws[4], struct ww_row_limit limit)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i last = _mm256_set1_epi32((int)limit.last);
    __m256i in[4];

#pragma GCC unroll 4
    for (unsigned v = 0; v < 4; v++) {
        in[v] = _mm256_cmpeq_epi32(_mm256_min_epu32(draws[v], last), draws[v]);
    }
    return _mm256_and_si256(
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(_mm256_packs_epi32(in[0], in[1]),
                                                       _mm256_packs_epi32(in[2], in[3])),
                                    order),
        _mm256_set1_epi32((int)limit.any));
}

/* `to` has room for as many as there are, and for AT_ONCE. */
ALWAYS size_t write_places(uint32_t set, uint32_t at, uint32_t *to)
{
    const uint32_t n = (uint32_t)__builtin_popcount(set);

#pragma GCC unroll 8
    for (uint32_t k = 0; k < AT_ONCE; k++) {
        to[k] = at + _tzcnt_u32(set);
        set = _blsr_u32(set);
    }
    for (uint32_t k = AT_ONCE; k < n; k++) {
        to[k] = at + _tzcnt_u32(set);
        set = _blsr_u32(set);
    }
    return n;
}

/* The last ones of a row, one by one. */
static size_t rest(const uint32_t *draws, size_t i, size_t n, struct ww_row_limit below,
                   struct ww_row_limit above, uint8_t *keep, uint32_t *open, size_t m)
{
    for (; i < n; i++) {
        const bool kept = below.any && draws[i] <= below.last;
        keep[i] = kept;
        if (!kept && above.any && draws[i] <= above.last) {
            open[m++] = (uint32_t)i;
        }
    }
    return m;
}

TARGET size_t ww_row_settle_x86(const uint32_t *draws, size_t n,
                                struct ww_row_limit below, struct ww_row_limit above,
                                uint8_t *keep, uint32_t *open)
{
    size_t m = 0;
    size_t i = 0;

    for (; i + STEP <= n; i += STEP) {
        __m256i some[4];
        for (unsigned v = 0; v < 4; v++) {
            some[v] = _mm256_loadu_si256(
                (const __m256i *)(const void *)(draws + i + (size_t)8 * v));
        }
        const __m256i kept = up_to(some, below);
        const __m256i either = up_to(some, above);
        _mm256_storeu_si256((__m256i *)(void *)(keep + i),
                            _mm256_and_si256(kept, _mm256_set1_epi8(1)));
        m += write_places(
            (uint32_t)_mm256_movemask_epi8(_mm256_andnot_si256(kept, either)),
            (uint32_t)i, open + m);
    }
    return rest(draws, i, n, below, above, keep, open, m);
}

#define TARGET_512 __attribute__((target("avx512f,avx512bw,avx512vl,popcnt")))
#define STEP_512 16u

bool ww_row_settle_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("popcnt");
}

/* Sixteen at a time: places are moved together by one instruction. Whole vectors are
 * written, and there is room for as many places as draws were looked at. */
TARGET_512 size_t ww_row_settle_512(const uint32_t *draws, size_t n,
                                    struct ww_row_limit below, struct ww_row_limit above,
                                    uint8_t *keep, uint32_t *open)
{
    const __m512i last = _mm512_set1_epi32((int)below.last);
    const __m512i end = _mm512_set1_epi32((int)above.last);
    const __m512i step = _mm512_set1_epi32(STEP_512);
    __m512i place =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t m = 0;
    size_t i = 0;

    for (; i + STEP_512 <= n; i += STEP_512) {
        const __m512i some = _mm512_loadu_si512(draws + i);
        const __mmask16 kept =
            _mm512_mask_cmple_epu32_mask((__mmask16)below.any, some, last);
        const __mmask16 either =
            _mm512_mask_cmple_epu32_mask((__mmask16)above.any, some, end);
        const __mmask16 doubt = _kandn_mask16(kept, either);
        _mm_storeu_si128((__m128i *)(void *)(keep + i), _mm_maskz_set1_epi8(kept, 1));
        _mm512_storeu_si512(open + m, _mm512_maskz_compress_epi32(doubt, place));
        m += (size_t)__builtin_popcount(doubt);
        place = _mm512_add_epi32(place, step);
    }
    return rest(draws, i, n, below, above, keep, open, m);
}

#else

bool ww_row_settle_fast(void)
{
    return false;
}

size_t ww_row_settle_x86(const uint32_t *draws, size_t n, struct ww_row_limit below,
                         struct ww_row_limit above, uint8_t *keep, uint32_t *open)
{
    (void)draws, (void)n, (void)below, (void)above, (void)keep, (void)open;
    return 0;
}

bool ww_row_settle_wide(void)
{
    return false;
}

size_t ww_row_settle_512(const uint32_t *draws, size_t n, struct ww_row_limit below,
                         struct ww_row_limit above, uint8_t *keep, uint32_t *open)
{
    return ww_row_settle_x86(draws, n, below, above, keep, open);
}

#endif
