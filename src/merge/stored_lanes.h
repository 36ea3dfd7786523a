/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BF16 in and out of doubles with AVX2, for the files that compute on what is stored;
 * they include it where they have AVX2. Interleaved with zeros from below, two BF16 are
 * two floats, and four floats become four doubles. Rounding works on the upper halves of
 * doubles, eight in a vector: what the lower half holds matters only when it is not 0,
 * which one bit remembers; 13 bits go, rounded to even, and the exponent gets the other
 * bias.
 */
#ifndef WW_MERGE_STORED_LANES_H
#define WW_MERGE_STORED_LANES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx2")))
#define ALWAYS __attribute__((target("avx2"), always_inline)) static inline

#define STEP 16          /* values at a time */
#define BIAS 0x38000000  /* 2^-127 in the upper half of a double: BF16 counts from it */
#define LEAST 0x38100000 /* 2^-126 there, */
#define END 0x47e00000   /* and 2^127 */

struct eight {
    __m256d low;
    __m256d high;
};

ALWAYS __m256d four_of(__m128i halves)
{
    return _mm256_cvtps_pd(_mm_castsi128_ps(halves));
}

ALWAYS struct eight widen(const uint8_t *p)
{
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i zero = _mm_setzero_si128();
    return (struct eight){four_of(_mm_unpacklo_epi16(zero, h)),
                          four_of(_mm_unpackhi_epi16(zero, h))};
}

ALWAYS struct eight minus(struct eight a, struct eight b)
{
    return (struct eight){_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
}

ALWAYS struct eight plus(struct eight a, struct eight b)
{
    return (struct eight){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

ALWAYS struct eight times(double w, struct eight a)
{
    const __m256d by = _mm256_set1_pd(w);
    return (struct eight){_mm256_mul_pd(by, a.low), _mm256_mul_pd(by, a.high)};
}

ALWAYS struct eight over(struct eight a, double divisor)
{
    const __m256d by = _mm256_set1_pd(divisor);
    return (struct eight){_mm256_div_pd(a.low, by), _mm256_div_pd(a.high, by)};
}

/* The least magnitude less one, so that 0 comes last, and the largest. */
struct range {
    __m256i least;
    __m256i most;
};

/* Eight in the order 0 1 4 5, 2 3 6 7, each in 32 bits that the sign is not in. */
ALWAYS __m256i narrow(struct eight v, struct range *seen, __m256i *signs)
{
    const __m256 a = _mm256_castpd_ps(v.low);
    const __m256 b = _mm256_castpd_ps(v.high);
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i upper = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
    const __m256i lower = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    const __m256i none = _mm256_cmpeq_epi32(lower, _mm256_setzero_si256());
    const __m256i body =
        _mm256_and_si256(_mm256_or_si256(upper, _mm256_andnot_si256(none, one)),
                         _mm256_set1_epi32(0x7fffffff));
    const __m256i even = _mm256_and_si256(_mm256_srli_epi32(body, 13), one);
    const __m256i biased = _mm256_add_epi32(body, _mm256_set1_epi32(0xfff - BIAS));

    *signs = _mm256_srai_epi32(upper, 31);
    seen->least = _mm256_min_epu32(seen->least, _mm256_sub_epi32(body, one));
    seen->most = _mm256_max_epu32(seen->most, body);
    return _mm256_srai_epi32(_mm256_add_epi32(biased, even), 13);
}

/* 0 is below its bias and saturates to 0. */
ALWAYS void store(struct eight low, struct eight high, struct range *seen, uint8_t *out)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i signs[2];
    const __m256i first = narrow(low, seen, &signs[0]);
    const __m256i second = narrow(high, seen, &signs[1]);
    const __m256i sign = _mm256_slli_epi16(_mm256_packs_epi32(signs[0], signs[1]), 15);
    const __m256i all = _mm256_or_si256(_mm256_packus_epi32(first, second), sign);

    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permutevar8x32_epi32(all, order));
}

ALWAYS bool all_in(struct range seen)
{
    uint32_t least[8];
    uint32_t most[8];
    bool in = true;

    _mm256_storeu_si256((__m256i *)(void *)least, seen.least);
    _mm256_storeu_si256((__m256i *)(void *)most, seen.most);
    for (unsigned i = 0; i < 8; i++) {
        in = in && least[i] >= LEAST - 1 && most[i] < END;
    }
    return in;
}

#endif
