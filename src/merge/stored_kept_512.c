/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored_kept_x86.c with AVX-512: eight doubles in a vector, and what is kept or agrees
 * is a bit for each, which additions and multiplications take as they are.
 */
#include "merge/stored_kept_forms.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define FEATURES "avx512f,avx512bw,avx512dq,avx512vl"
#define TARGET __attribute__((target(FEATURES)))
#define ALWAYS __attribute__((target(FEATURES), always_inline)) static inline

#define MOST WW_STORED_KEPT_MOST
#define STEP WW_STORED_KEPT_STEP
#define NOT_FINITE 0x7f80 /* from here on, without the sign */
/* As in stored_lanes.h. */
#define BIAS 0x38000000
#define LEAST 0x38100000
#define END 0x47e00000

bool ww_stored_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

struct sixteen {
    __m512d low;
    __m512d high;
};

struct range {
    __m512i least;
    __m512i most;
};

ALWAYS __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

ALWAYS struct sixteen widen(__m256i stored)
{
    const __m512 f =
        _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16));
    return (struct sixteen){_mm512_cvtps_pd(_mm512_castps512_ps256(f)),
                            _mm512_cvtps_pd(_mm512_extractf32x8_ps(f, 1))};
}

ALWAYS __mmask8 in_range(__m512d change, const double *range, enum ww_stored_by by)
{
    const __m512d magnitude = _mm512_abs_pd(change);
    const __mmask8 in =
        _mm512_cmp_pd_mask(magnitude, _mm512_set1_pd(range[0]), _CMP_GE_OQ);
    return by == WW_BY_LEAST ? in
                             : _mm512_mask_cmp_pd_mask(
                                   in, magnitude, _mm512_set1_pd(range[1]), _CMP_LT_OQ);
}

/* What is kept of eight changes, weighted; a range has no factor. set: their bits. */
ALWAYS __m512d kept_of(const struct ww_stored_kept_source *s, __m512d change,
                       unsigned set, enum ww_stored_by by)
{
    const __mmask8 kept =
        by == WW_BY_BITS ? (__mmask8)set : in_range(change, s->range, by);
    const __m512d scaled =
        by == WW_BY_BITS ? _mm512_mul_pd(_mm512_set1_pd(s->factor), change) : change;
    return _mm512_maskz_mul_pd(kept, _mm512_set1_pd(s->weight), scaled);
}

/* Sums begin with +0, so one that cancels is never -0: the sign bit is what is elected.
 * No term is -0, so one that is not added would have changed nothing. */
ALWAYS __m512d elected(const struct ww_stored_kept *f, const __m512d *p, uint32_t n_x,
                       __m512d sum, bool mean)
{
    const __m512d zero = _mm512_setzero_pd();
    const __m512d sign = _mm512_and_pd(sum, _mm512_set1_pd(-0.0));
    __m512d numerator = zero;
    __m512d divisor = zero;

    for (uint32_t s = 0; s < n_x; s++) {
        const __m512d weight = _mm512_set1_pd(f->sources[s].weight);
        const __mmask8 agrees =
            _mm512_cmp_pd_mask(_mm512_xor_pd(p[s], sign), zero, _CMP_GT_OQ);
        numerator = s ? _mm512_mask_add_pd(numerator, agrees, numerator, p[s])
                      : _mm512_maskz_mov_pd(agrees, p[s]);
        divisor = s ? _mm512_mask_add_pd(divisor, agrees, divisor, weight)
                    : _mm512_maskz_mov_pd(agrees, weight);
    }
    if (!mean) {
        return numerator;
    }
    const __mmask8 none = _mm512_cmp_pd_mask(divisor, zero, _CMP_EQ_OQ);
    return _mm512_div_pd(numerator, _mm512_mask_mov_pd(divisor, none, _mm512_set1_pd(1)));
}

ALWAYS __m512d combined(const struct ww_stored_kept *f, const __m512d *p, uint32_t n_x,
                        enum ww_stored_add how)
{
    __m512d sum = _mm512_setzero_pd();

    for (uint32_t s = 0; s < n_x; s++) {
        sum = _mm512_add_pd(sum, p[s]);
    }
    if (how == WW_ADD_ELECTED || how == WW_ADD_ELECTED_MEAN) {
        return elected(f, p, n_x, sum, how == WW_ADD_ELECTED_MEAN);
    }
    return how == WW_ADD_MEAN ? _mm512_div_pd(sum, _mm512_set1_pd(f->divisor)) : sum;
}

ALWAYS __m512d onto(const struct ww_stored_kept *f, __m512d base, __m512d sum)
{
    return _mm512_add_pd(base, _mm512_mul_pd(_mm512_set1_pd(f->lambda), sum));
}

/* The upper halves of sixteen doubles are rounded, as stored_lanes.h does it. */
ALWAYS void store(struct sixteen v, struct range *seen, uint8_t *out)
{
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const __m512i a = _mm512_castpd_si512(v.low);
    const __m512i b = _mm512_castpd_si512(v.high);
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i upper = _mm512_permutex2var_epi32(a, odd, b);
    const __m512i lower = _mm512_permutex2var_epi32(a, _mm512_sub_epi32(odd, one), b);
    const __mmask16 rest = _mm512_test_epi32_mask(lower, lower);
    const __m512i body = _mm512_and_si512(_mm512_mask_or_epi32(upper, rest, upper, one),
                                          _mm512_set1_epi32(0x7fffffff));
    const __m512i even = _mm512_and_si512(_mm512_srli_epi32(body, 13), one);
    const __m512i biased = _mm512_add_epi32(body, _mm512_set1_epi32(0xfff - BIAS));
    const __m512i rounded = _mm512_maskz_srli_epi32(_mm512_test_epi32_mask(body, body),
                                                    _mm512_add_epi32(biased, even), 13);
    const __m512i sign =
        _mm512_and_si512(_mm512_srli_epi32(upper, 16), _mm512_set1_epi32(0x8000));

    seen->least = _mm512_min_epu32(seen->least, _mm512_sub_epi32(body, one));
    seen->most = _mm512_max_epu32(seen->most, body);
    _mm256_storeu_si256((__m256i *)(void *)out,
                        _mm512_cvtepi32_epi16(_mm512_or_si512(rounded, sign)));
}

/* n is a multiple of STEP. */
ALWAYS bool walk(const struct ww_stored_kept *kept, const uint8_t *const *x,
                 const uint8_t *base, size_t n, uint32_t n_x, enum ww_stored_by by,
                 enum ww_stored_add how, uint8_t *out)
{
    const struct ww_stored_kept f = *kept; /* bytes written to out may not change it */
    struct range seen = {_mm512_set1_epi32(-1), _mm512_setzero_si512()};
    const __m256i magnitude = _mm256_set1_epi16(0x7fff);
    __m256i most = _mm256_setzero_si256();
    const uint8_t *from[MOST];

    for (uint32_t s = 0; s < n_x; s++) {
        from[s] = x[s];
    }
    for (size_t i = 0; i < n; i += STEP) {
        const struct sixteen b = widen(load(base + 2 * i));
        __m512d low[MOST];
        __m512d high[MOST];
        for (uint32_t s = 0; s < n_x; s++) {
            const struct ww_stored_kept_source *source = &f.sources[s];
            const __m256i stored = load(from[s] + 2 * i);
            const struct sixteen v = widen(stored);
            const unsigned set =
                by == WW_BY_BITS
                    ? source->bits[i / 8] | (unsigned)source->bits[i / 8 + 1] << 8
                    : 0;
            low[s] = kept_of(source, _mm512_sub_pd(v.low, b.low), set & 0xff, by);
            high[s] = kept_of(source, _mm512_sub_pd(v.high, b.high), set >> 8, by);
            most = _mm256_max_epu16(most, _mm256_and_si256(stored, magnitude));
        }
        const struct sixteen sum = {onto(&f, b.low, combined(&f, low, n_x, how)),
                                    onto(&f, b.high, combined(&f, high, n_x, how))};
        store(sum, &seen, out + 2 * i);
    }
    return _mm512_reduce_min_epu32(seen.least) >= LEAST - 1 &&
           _mm512_reduce_max_epu32(seen.most) < END &&
           _mm256_cmpge_epu16_mask(most, _mm256_set1_epi16(NOT_FINITE)) == 0;
}

#define FORM(name, by, how, count)                                                       \
    TARGET static bool name(const struct ww_stored_kept *f, const uint8_t *const *x,     \
                            const uint8_t *base, size_t n, uint8_t *out)                 \
    {                                                                                    \
        return walk(f, x, base, n, count, by, how, out);                                 \
    }
WW_STORED_WAYS(bits, WW_BY_BITS)
WW_STORED_WAYS(least, WW_BY_LEAST)
WW_STORED_WAYS(range, WW_BY_RANGE)

ww_stored_form ww_stored_kept_wide(enum ww_stored_by by, enum ww_stored_add how,
                                   uint32_t n_x)
{
    static const ww_stored_form forms[WW_STORED_BYS][WW_STORED_ADDS][MOST - 1] = {
        WW_STORED_ROW(bits), WW_STORED_ROW(least), WW_STORED_ROW(range)};
    return forms[by][how][n_x - 2];
}

#else

bool ww_stored_wide(void)
{
    return false;
}

ww_stored_form ww_stored_kept_wide(enum ww_stored_by by, enum ww_stored_add how,
                                   uint32_t n_x)
{
    (void)by, (void)how, (void)n_x;
    return NULL;
}

#endif
