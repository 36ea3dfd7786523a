/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With AVX2. Interleaved with zeros from below, two BF16 are two floats, and four floats
 * become four doubles. Rounding works on the upper halves of doubles, eight in a vector:
 * what the lower half holds matters only when it is not 0, which one bit remembers; 13
 * bits go, rounded to even, and the exponent gets the other bias.
 */
#include "merge/stored.h"

#include "arch/core_dot.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#include "util/float_bits.h"

#define TARGET __attribute__((target("avx2")))
#define ALWAYS __attribute__((target("avx2"), always_inline)) static inline

#define STEP 16          /* values at a time */
#define BIAS 0x38000000  /* 2^-127 in the upper half of a double: BF16 counts from it */
#define LEAST 0x38100000 /* 2^-126 there, */
#define END 0x47e00000   /* and 2^127 */
#define FEW 4

bool ww_stored_fast(void)
{
    return __builtin_cpu_supports("avx2");
}

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

/* What is constant where it is used makes a loop without branches. */
ALWAYS struct eight sum_of(const struct ww_stored_sum *f, const uint8_t *const *x,
                           const uint8_t *base, size_t at, uint32_t n_x, bool divided)
{
    const struct eight from = base ? widen(base + 2 * at) : (struct eight){0};
    struct eight sum = {0};

    for (uint32_t s = 0; s < n_x; s++) {
        const struct eight v = widen(x[s] + 2 * at);
        const struct eight term = times(f->w[s], base ? minus(v, from) : v);
        sum = s ? plus(sum, term) : term;
    }
    sum = divided ? over(sum, f->divisor) : sum;
    return base ? plus(from, times(f->lambda, sum)) : sum;
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

/* n is a multiple of STEP. */
ALWAYS bool sums(const struct ww_stored_sum *f, const uint8_t *const *x,
                 const uint8_t *base, size_t n, uint32_t n_x, bool divided, uint8_t *out)
{
    struct range seen = {_mm256_set1_epi32(-1), _mm256_setzero_si256()};

    for (size_t i = 0; i < n; i += STEP) {
        const struct eight low = sum_of(f, x, base, i, n_x, divided);
        const struct eight high = sum_of(f, x, base, i + STEP / 2, n_x, divided);
        store(low, high, &seen, out + 2 * i);
    }
    return all_in(seen);
}

#define FORM(name, based, count, divided)                                                \
    TARGET static bool name(const struct ww_stored_sum *f, const uint8_t *const *x,      \
                            const uint8_t *base, size_t n, uint8_t *out)                 \
    {                                                                                    \
        return sums(f, x, (based) ? base : NULL, n, count, divided, out);                \
    }
#define FORMS(count, suffix)                                                             \
    FORM(plain_##suffix, false, count, false)                                            \
    FORM(plain_mean_##suffix, false, count, true)                                        \
    FORM(onto_##suffix, true, count, false)                                              \
    FORM(onto_mean_##suffix, true, count, true)
FORMS(1, 1)
FORMS(2, 2)
FORMS(3, 3)
FORMS(4, 4)
FORMS(f->n_x, any)

typedef bool (*form)(const struct ww_stored_sum *, const uint8_t *const *,
                     const uint8_t *, size_t, uint8_t *);
#define ROW(suffix)                                                                      \
    {                                                                                    \
        plain_##suffix, plain_mean_##suffix, onto_##suffix, onto_mean_##suffix           \
    }
static const form forms[FEW + 1][4] = {ROW(any), ROW(1), ROW(2), ROW(3), ROW(4)};

/* The last values of a block, with zeros behind them. */
static bool rest_of(form of, const struct ww_stored_sum *f, const uint8_t *const *x,
                    const uint8_t *base, size_t at, size_t n, uint8_t *out)
{
    uint8_t filled[WW_STORED_MOST + 1][2 * STEP] = {{0}};
    const uint8_t *from[WW_STORED_MOST];
    uint8_t made[2 * STEP];

    for (uint32_t s = 0; s < f->n_x; s++) {
        memcpy(filled[s], x[s] + 2 * at, 2 * n);
        from[s] = filled[s];
    }
    if (base) {
        memcpy(filled[f->n_x], base + 2 * at, 2 * n);
    }
    const bool in = of(f, from, base ? filled[f->n_x] : NULL, STEP, made);
    memcpy(out + 2 * at, made, 2 * n);
    return in;
}

bool ww_stored_sum(const struct ww_stored_sum *f, const uint8_t *const *x,
                   const uint8_t *base, size_t n, uint8_t *out)
{
    const form of =
        forms[f->n_x <= FEW ? f->n_x : 0][(base ? 2 : 0) + (f->divisor != 1 ? 1 : 0)];
    const size_t whole = n - n % STEP;
    const bool in = of(f, x, base, whole, out);

    return whole == n ? in : rest_of(of, f, x, base, whole, n - whole, out) && in;
}

/* Four of eight lanes of all products, at first or at + 4. */
#define LANES WW_DOT_LANES
#define MOST (WW_STORED_VECTORS * (WW_STORED_VECTORS + 1) / 2)
ALWAYS __m256d change_at(const uint8_t *x, const __m256d *from)
{
    const __m128i h = _mm_loadl_epi64((const __m128i *)(const void *)x);
    const __m256d v = four_of(_mm_unpacklo_epi16(_mm_setzero_si128(), h));
    return from ? _mm256_sub_pd(v, *from) : v;
}

ALWAYS void lanes_of(const uint8_t *const *x, const uint32_t n_x, const uint8_t *base,
                     size_t first, size_t n, double lanes[MOST][LANES])
{
    __m256d sum[MOST];
    __m256d v[WW_STORED_VECTORS];

    for (uint32_t k = 0; k < n_x * (n_x + 1) / 2; k++) {
        sum[k] = _mm256_setzero_pd();
    }
    for (size_t i = first; i + LANES / 2 <= n; i += LANES) {
        const __m256d from = base ? change_at(base + 2 * i, NULL) : _mm256_setzero_pd();
        for (uint32_t s = 0; s < n_x; s++) {
            v[s] = change_at(x[s] + 2 * i, base ? &from : NULL);
        }
        for (uint32_t a = 0, k = 0; a < n_x; a++) {
            for (uint32_t b = a; b < n_x; b++, k++) {
                sum[k] = _mm256_add_pd(sum[k], _mm256_mul_pd(v[a], v[b]));
            }
        }
    }
    for (uint32_t k = 0; k < n_x * (n_x + 1) / 2; k++) {
        _mm256_storeu_pd(lanes[k] + first, sum[k]);
    }
}

#define GRAM(name, count, based)                                                         \
    TARGET static void name(const uint8_t *const *x, const uint8_t *base, size_t n,      \
                            double lanes[MOST][LANES])                                   \
    {                                                                                    \
        lanes_of(x, count, (based) ? base : NULL, 0, n, lanes);                          \
        lanes_of(x, count, (based) ? base : NULL, LANES / 2, n, lanes);                  \
    }
GRAM(gram_2, 2, false)
GRAM(gram_3, 3, false)
GRAM(gram_of_changes_2, 2, true)
GRAM(gram_of_changes_3, 3, true)

static double value_at(const uint8_t *x, const uint8_t *base, size_t i)
{
    uint16_t of_x;
    uint16_t of_base = 0;

    memcpy(&of_x, x + 2 * i, sizeof(of_x));
    if (!base) {
        return (double)ww_float_of_bf16(of_x);
    }
    memcpy(&of_base, base + 2 * i, sizeof(of_base));
    return (double)ww_float_of_bf16(of_x) - (double)ww_float_of_bf16(of_base);
}

bool ww_stored_gram(const uint8_t *const *x, uint32_t n_x, const uint8_t *base, size_t n,
                    double *acc)
{
    static void (*const grams[2][2])(const uint8_t *const *, const uint8_t *, size_t,
                                     double[MOST][LANES]) = {{gram_2, gram_of_changes_2},
                                                             {gram_3, gram_of_changes_3}};
    const size_t whole = n - n % LANES;
    double lanes[MOST][LANES];
    double products[MOST];
    bool finite = true;

    grams[n_x - 2][base ? 1 : 0](x, base, whole, lanes);
    for (uint32_t a = 0, k = 0; a < n_x; a++) {
        for (uint32_t b = a; b < n_x; b++, k++) {
            for (size_t i = whole; i < n; i++) {
                lanes[k][i - whole] += value_at(x[a], base, i) * value_at(x[b], base, i);
            }
            products[k] = ww_dot_lanes(lanes[k]);
            finite = finite && products[k] - products[k] == 0;
        }
    }
    for (size_t k = 0; k < (size_t)n_x * (n_x + 1) / 2 && finite; k++) {
        acc[k] += products[k];
    }
    return finite;
}

#else

bool ww_stored_fast(void)
{
    return false;
}

bool ww_stored_sum(const struct ww_stored_sum *f, const uint8_t *const *x,
                   const uint8_t *base, size_t n, uint8_t *out)
{
    (void)f, (void)x, (void)base, (void)n, (void)out;
    return false;
}

bool ww_stored_gram(const uint8_t *const *x, uint32_t n_x, const uint8_t *base, size_t n,
                    double *acc)
{
    (void)x, (void)n_x, (void)base, (void)n, (void)acc;
    return false;
}

#endif
