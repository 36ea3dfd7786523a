/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With AVX2 the place among the bins and the units of eight changes are found at once;
 * adding them goes one by one, in a loop of its own that waits for nothing. Where all
 * that changed and what it was are whole numbers of 2^-32, and not large, so are the
 * changes, and sums of some of them as doubles are exact.
 */
#include "merge/stored_sums.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <string.h>

#include "merge/kept.h"
#include "merge/key_lanes.h"
#include "merge/stored_key.h"
#include "util/num.h"

#define TARGET __attribute__((target("avx2")))
#define ALWAYS __attribute__((target("avx2"), always_inline)) static inline

#define STEP 256
#define LEAST_WHOLE ((127 - 25) << 7)
#define END_WHOLE ((127 + 8) << 7)
#define NOT_FINITE 0x7f80 /* from here on, without the sign */
#define SUM_BINS                                                                         \
    ((int)(sizeof(struct ww_magsum) / sizeof(uint64_t))) /* from one to the next */

TARGET bool ww_stored_finite(const uint8_t *x, size_t n)
{
    const __m256i body = _mm256_set1_epi16(0x7fff);
    __m256i most = _mm256_setzero_si256();
    uint16_t lanes[16];
    uint16_t largest = 0;
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(x + 2 * i));
        most = _mm256_max_epu16(most, _mm256_and_si256(v, body));
    }
    _mm256_storeu_si256((__m256i *)(void *)lanes, most);
    for (size_t lane = 0; lane < 16; lane++) {
        largest = lanes[lane] > largest ? lanes[lane] : largest;
    }
    for (; i < n; i++) {
        uint16_t v;
        memcpy(&v, x + 2 * i, sizeof(v));
        v &= 0x7fff;
        largest = v > largest ? v : largest;
    }
    return largest < NOT_FINITE;
}

TARGET void ww_stored_keys(const uint8_t *x, const uint8_t *base, size_t n,
                           uint32_t *keys)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_si256((__m256i *)(void *)(keys + i),
                            ww_keys_at(x + 2 * i, base + 2 * i));
    }
    for (; i < n; i++) {
        keys[i] = ww_stored_key(x, base, i);
    }
}

TARGET void ww_stored_drawn(const uint32_t *draws, uint32_t last, size_t n, uint8_t *bits)
{
    const __m256i limit = _mm256_set1_epi32((int)last);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(draws + i));
        const __m256i in = _mm256_cmpeq_epi32(_mm256_min_epu32(v, limit), v);
        bits[i / 8] = (uint8_t)_mm256_movemask_ps(_mm256_castsi256_ps(in));
    }
    for (size_t k = i; k < n; k++) {
        bits[i / 8] =
            (uint8_t)((k == i ? 0 : bits[i / 8]) | (draws[k] <= last) << (k - i));
    }
}

/* Where eight changes are added, and what: a lane of its own for four neighbours. */
ALWAYS void take_apart(__m256i keys, unsigned set, uint32_t *places, uint32_t *units)
{
    const __m256i of_lanes = _mm256_mullo_epi16(_mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3),
                                                _mm256_set1_epi32(WW_MAGSUM_BINS));
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i in = _mm256_and_si256(_mm256_set1_epi32((int)set), bit);
    const __m256i kept =
        _mm256_and_si256(_mm256_cmpeq_epi32(in, bit), _mm256_set1_epi32(SUM_BINS));
    const __m256i exponent = _mm256_srli_epi32(keys, 23);
    const __m256i least = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    const __m256i top = _mm256_andnot_si256(least, _mm256_set1_epi32(0x800000));
    const __m256i rest = _mm256_and_si256(keys, _mm256_set1_epi32(0x7fffff));

    _mm256_storeu_si256((__m256i *)(void *)places,
                        _mm256_add_epi32(_mm256_add_epi32(exponent, of_lanes), kept));
    _mm256_storeu_si256((__m256i *)(void *)units, _mm256_or_si256(rest, top));
}

static void add_one(struct ww_magsum sums[2], uint32_t key, bool kept)
{
    const uint32_t exponent = key >> 23;
    sums[kept].bins[0][exponent] += (key & 0x7fffff) + (exponent ? 0x800000U : 0);
}

TARGET static void add_binned(struct ww_magsum sums[2], const uint8_t *x,
                              const uint8_t *base, size_t n, const uint8_t *bits)
{
    uint64_t *bins = sums[0].bins[0];
    uint32_t places[STEP];
    uint32_t units[STEP];

    for (size_t i = 0; i < n; i += 8) {
        take_apart(ww_keys_at(x + 2 * i, base + 2 * i), bits[i / 8], places + i,
                   units + i);
    }
    for (size_t i = 0; i < n; i++) {
        bins[places[i]] += units[i];
    }
}

/* Are all of n values 0 or from 2^-25, of which 2^-32 is the last digit, to 2^8? */
ALWAYS bool are_whole(const uint8_t *x, const uint8_t *base, size_t n)
{
    const __m128i body = _mm_set1_epi16(0x7fff);
    const __m128i one = _mm_set1_epi16(1);
    __m128i least = _mm_set1_epi16(-1); /* less one, so that 0 comes last */
    __m128i most = _mm_setzero_si128();

    for (size_t i = 0; i < n; i += 8) {
        const __m128i a = _mm_and_si128(
            _mm_loadu_si128((const __m128i *)(const void *)(x + 2 * i)), body);
        const __m128i b = _mm_and_si128(
            _mm_loadu_si128((const __m128i *)(const void *)(base + 2 * i)), body);
        least = _mm_min_epu16(
            least, _mm_min_epu16(_mm_sub_epi16(a, one), _mm_sub_epi16(b, one)));
        most = _mm_max_epu16(most, _mm_max_epu16(a, b));
    }
    const __m128i negated = _mm_xor_si128(most, _mm_set1_epi16(-1));
    return _mm_extract_epi16(_mm_minpos_epu16(least), 0) >= LEAST_WHOLE - 1 &&
           0xffff - _mm_extract_epi16(_mm_minpos_epu16(negated), 0) < END_WHOLE;
}

ALWAYS __m256d kept_of(__m256d magnitudes, unsigned set)
{
    return _mm256_and_pd(
        magnitudes, _mm256_load_pd((const double *)(const void *)ww_keep_masks[set]));
}

ALWAYS uint64_t whole_of(__m256d low, __m256d high)
{
    double lanes[4];

    _mm256_storeu_pd(lanes, _mm256_add_pd(low, high));
    return (uint64_t)((lanes[0] + lanes[1] + lanes[2] + lanes[3]) * 0x1p32);
}

TARGET static void add_whole(struct ww_magsum sums[2], const uint8_t *x,
                             const uint8_t *base, size_t n, const uint8_t *bits)
{
    __m256d all[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    __m256d kept[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};

    for (size_t i = 0; i < n; i += 8) {
        const __m256 v = _mm256_castsi256_ps(ww_keys_at(x + 2 * i, base + 2 * i));
        const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        const unsigned set = bits[i / 8];
        all[0] = _mm256_add_pd(all[0], low);
        all[1] = _mm256_add_pd(all[1], high);
        kept[0] = _mm256_add_pd(kept[0], kept_of(low, set & 15));
        kept[1] = _mm256_add_pd(kept[1], kept_of(high, set >> 4));
    }
    const uint64_t of_kept = whole_of(kept[0], kept[1]);
    ww_magsum_add_whole(&sums[0], whole_of(all[0], all[1]) - of_kept);
    ww_magsum_add_whole(&sums[1], of_kept);
}

TARGET void ww_stored_magsum(struct ww_magsum sums[2], const uint8_t *x,
                             const uint8_t *base, size_t n, const uint8_t *bits)
{
    const size_t end = n - n % 8;

    for (size_t at = 0; at < end; at += STEP) {
        const size_t m = ww_min_u64(STEP, end - at);
        const uint8_t *a = x + 2 * at;
        const uint8_t *b = base + 2 * at;
        (are_whole(a, b, m) ? add_whole : add_binned)(sums, a, b, m, bits + at / 8);
    }
    for (size_t i = end; i < n; i++) {
        add_one(sums, ww_stored_key(x, base, i), bits[i / 8] >> (i % 8) & 1);
    }
}

#else

bool ww_stored_finite(const uint8_t *x, size_t n)
{
    (void)x, (void)n;
    return false;
}

void ww_stored_keys(const uint8_t *x, const uint8_t *base, size_t n, uint32_t *keys)
{
    (void)x, (void)base, (void)n, (void)keys;
}

void ww_stored_drawn(const uint32_t *draws, uint32_t last, size_t n, uint8_t *bits)
{
    (void)draws, (void)last, (void)n, (void)bits;
}

void ww_stored_magsum(struct ww_magsum sums[2], const uint8_t *x, const uint8_t *base,
                      size_t n, const uint8_t *bits)
{
    (void)sums, (void)x, (void)base, (void)n, (void)bits;
}

#endif
