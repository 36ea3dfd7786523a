/* SPDX-License-Identifier: Apache-2.0 */
/* With AVX2: see stored_lanes.h. */
#include "merge/stored.h"

#include "arch/core_dot.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <string.h>

#include "merge/stored_lanes.h"
#include "util/float_bits.h"

#define FEW 4

bool ww_stored_fast(void)
{
    return __builtin_cpu_supports("avx2");
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
