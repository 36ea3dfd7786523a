/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight values at a time with AVX2. What a selection leaves out is a 0, which a mask
 * makes; nothing branches on a value. A loop for each way of selecting and of adding up,
 * since all that is constant in it costs as much as the sum itself.
 */
#include "merge/stored_kept_forms.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <math.h>
#include <string.h>

#include "merge/kept.h"
#include "merge/key_lanes.h"
#include "merge/stored_key.h"
#include "merge/stored_lanes.h"

#define MOST WW_STORED_KEPT_MOST
#define NOT_FINITE 0x7f80 /* from here on, without the sign */

ALWAYS __m256d mask_of(unsigned set)
{
    return _mm256_load_pd((const double *)(const void *)ww_keep_masks[set]);
}

ALWAYS __m256d in_range(__m256d change, const double *range, enum ww_stored_by by)
{
    const __m256d magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), change);
    const __m256d in = _mm256_cmp_pd(magnitude, _mm256_set1_pd(range[0]), _CMP_GE_OQ);
    return by == WW_BY_LEAST
               ? in
               : _mm256_and_pd(
                     in, _mm256_cmp_pd(magnitude, _mm256_set1_pd(range[1]), _CMP_LT_OQ));
}

/* What is kept of eight changes, weighted; a range has no factor. */
ALWAYS struct eight kept_of(const struct ww_stored_kept_source *s, struct eight change,
                            size_t at, enum ww_stored_by by)
{
    const unsigned set = by == WW_BY_BITS ? s->bits[at / 8] : 0;
    const __m256d low =
        by == WW_BY_BITS ? mask_of(set & 15) : in_range(change.low, s->range, by);
    const __m256d high =
        by == WW_BY_BITS ? mask_of(set >> 4) : in_range(change.high, s->range, by);
    const struct eight scaled = by == WW_BY_BITS ? times(s->factor, change) : change;
    const struct eight all = times(s->weight, scaled);

    return (struct eight){_mm256_and_pd(low, all.low), _mm256_and_pd(high, all.high)};
}

/* Sums begin with +0, so one that cancels is never -0: the sign bit is what is elected.
 * Terms that are added here are not -0 either. */
ALWAYS __m256d elected(const struct ww_stored_kept *f, const __m256d *p, uint32_t n_x,
                       __m256d sum, bool mean)
{
    const __m256d zero = _mm256_setzero_pd();
    const __m256d sign = _mm256_and_pd(sum, _mm256_set1_pd(-0.0));
    __m256d numerator = zero;
    __m256d divisor = zero;

    for (uint32_t s = 0; s < n_x; s++) {
        const __m256d agrees = _mm256_cmp_pd(_mm256_xor_pd(p[s], sign), zero, _CMP_GT_OQ);
        const __m256d term = _mm256_and_pd(agrees, p[s]);
        const __m256d by = _mm256_and_pd(agrees, _mm256_set1_pd(f->sources[s].weight));
        numerator = s ? _mm256_add_pd(numerator, term) : term;
        divisor = s ? _mm256_add_pd(divisor, by) : by;
    }
    if (!mean) {
        return numerator;
    }
    const __m256d none = _mm256_cmp_pd(divisor, zero, _CMP_EQ_OQ);
    return _mm256_div_pd(numerator, _mm256_blendv_pd(divisor, _mm256_set1_pd(1), none));
}

ALWAYS __m256d total_of(const __m256d *p, uint32_t n_x)
{
    __m256d sum = _mm256_setzero_pd();

    for (uint32_t s = 0; s < n_x; s++) {
        sum = _mm256_add_pd(sum, p[s]);
    }
    return sum;
}

ALWAYS __m256d combined(const struct ww_stored_kept *f, const __m256d *p, uint32_t n_x,
                        enum ww_stored_add how)
{
    const __m256d sum = total_of(p, n_x);

    if (how == WW_ADD_ELECTED || how == WW_ADD_ELECTED_MEAN) {
        return elected(f, p, n_x, sum, how == WW_ADD_ELECTED_MEAN);
    }
    return how == WW_ADD_MEAN ? _mm256_div_pd(sum, _mm256_set1_pd(f->divisor)) : sum;
}

ALWAYS struct eight eight_at(const struct ww_stored_kept *f, const uint8_t *const *x,
                             const uint8_t *base, size_t at, uint32_t n_x,
                             enum ww_stored_by by, enum ww_stored_add how, __m128i *most)
{
    const struct eight from = widen(base + 2 * at);
    const __m128i body = _mm_set1_epi16(0x7fff);
    __m256d low[MOST];
    __m256d high[MOST];

    for (uint32_t s = 0; s < n_x; s++) {
        const uint8_t *stored = x[s] + 2 * at;
        const __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)stored);
        const struct eight kept =
            kept_of(&f->sources[s], minus(widen(stored), from), at, by);
        *most = _mm_max_epu16(*most, _mm_and_si128(bits, body));
        low[s] = kept.low;
        high[s] = kept.high;
    }
    const struct eight sum = {combined(f, low, n_x, how), combined(f, high, n_x, how)};
    return plus(from, times(f->lambda, sum));
}

ALWAYS bool is_finite(__m128i most)
{
    uint16_t lanes[8];
    bool finite = true;

    _mm_storeu_si128((__m128i *)(void *)lanes, most);
    for (unsigned i = 0; i < 8; i++) {
        finite = finite && lanes[i] < NOT_FINITE;
    }
    return finite;
}

/* n is a multiple of STEP. */
ALWAYS bool walk(const struct ww_stored_kept *kept, const uint8_t *const *x,
                 const uint8_t *base, size_t n, uint32_t n_x, enum ww_stored_by by,
                 enum ww_stored_add how, uint8_t *out)
{
    const struct ww_stored_kept f = *kept; /* bytes written to out may not change it */
    const uint8_t *from[MOST];
    struct range seen = {_mm256_set1_epi32(-1), _mm256_setzero_si256()};
    __m128i most = _mm_setzero_si128();

    for (uint32_t s = 0; s < n_x; s++) {
        from[s] = x[s];
    }
    for (size_t i = 0; i < n; i += STEP) {
        const struct eight low = eight_at(&f, from, base, i, n_x, by, how, &most);
        const struct eight high =
            eight_at(&f, from, base, i + STEP / 2, n_x, by, how, &most);
        store(low, high, &seen, out + 2 * i);
    }
    return all_in(seen) && is_finite(most);
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

static const ww_stored_form forms[WW_STORED_BYS][WW_STORED_ADDS][MOST - 1] = {
    WW_STORED_ROW(bits), WW_STORED_ROW(least), WW_STORED_ROW(range)};

/* The last values of a block, with zeros behind them. */
static bool rest_of(ww_stored_form of, const struct ww_stored_kept *kept,
                    const uint8_t *const *x, const uint8_t *base, size_t at, size_t n,
                    uint8_t *out)
{
    struct ww_stored_kept f = *kept;
    uint8_t filled[MOST + 1][2 * STEP] = {{0}};
    uint8_t bits[MOST][STEP / 8] = {{0}};
    const uint8_t *from[MOST];
    uint8_t made[2 * STEP];

    for (uint32_t s = 0; s < f.n_x; s++) {
        memcpy(filled[s], x[s] + 2 * at, 2 * n);
        from[s] = filled[s];
        if (f.sources[s].bits) {
            memcpy(bits[s], f.sources[s].bits + at / 8, (n + 7) / 8);
            f.sources[s].bits = bits[s];
        }
    }
    memcpy(filled[MOST], base + 2 * at, 2 * n);
    const bool in = of(&f, from, filled[MOST], STEP, made);
    memcpy(out + 2 * at, made, 2 * n);
    return in;
}

static enum ww_stored_by by_of(const struct ww_stored_kept *f)
{
    bool bounded = false;

    for (uint32_t s = 0; s < f->n_x; s++) {
        bounded = bounded || f->sources[s].range[1] < (double)INFINITY;
    }
    return f->sources[0].bits ? WW_BY_BITS : bounded ? WW_BY_RANGE : WW_BY_LEAST;
}

bool ww_stored_kept_with(bool wide, const struct ww_stored_kept *f,
                         const uint8_t *const *x, const uint8_t *base, size_t n,
                         uint8_t *out)
{
    const enum ww_stored_add plain = f->normalize ? WW_ADD_MEAN : WW_ADD_TOTAL;
    const enum ww_stored_add voted = f->normalize ? WW_ADD_ELECTED_MEAN : WW_ADD_ELECTED;
    const enum ww_stored_add how = f->elect ? voted : plain;
    const ww_stored_form of = wide ? ww_stored_kept_wide(by_of(f), how, f->n_x)
                                   : forms[by_of(f)][how][f->n_x - 2];
    const size_t whole = n - n % STEP;
    const bool in = of(f, x, base, whole, out);

    return whole == n ? in : rest_of(of, f, x, base, whole, n - whole, out) && in;
}

bool ww_stored_kept(const struct ww_stored_kept *f, const uint8_t *const *x,
                    const uint8_t *base, size_t n, uint8_t *out)
{
    return ww_stored_kept_with(ww_stored_wide(), f, x, base, n, out);
}

TARGET uint64_t ww_stored_count(const uint8_t *x, const uint8_t *base, size_t n,
                                uint32_t key)
{
    const __m256i wanted = _mm256_set1_epi32((int)key);
    __m256i found = _mm256_setzero_si256();
    uint64_t count = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256i keys = ww_keys_at(x + 2 * i, base + 2 * i);
        found = _mm256_sub_epi32(found, _mm256_cmpeq_epi32(keys, wanted));
    }
    count = ww_lanes_sum(found);
    for (; i < n; i++) {
        count += ww_stored_key(x, base, i) == key;
    }
    return count;
}

#else

bool ww_stored_kept_with(bool wide, const struct ww_stored_kept *f,
                         const uint8_t *const *x, const uint8_t *base, size_t n,
                         uint8_t *out)
{
    (void)wide, (void)f, (void)x, (void)base, (void)n, (void)out;
    return false;
}

bool ww_stored_kept(const struct ww_stored_kept *f, const uint8_t *const *x,
                    const uint8_t *base, size_t n, uint8_t *out)
{
    return ww_stored_kept_with(false, f, x, base, n, out);
}

uint64_t ww_stored_count(const uint8_t *x, const uint8_t *base, size_t n, uint32_t key)
{
    (void)x, (void)base, (void)n, (void)key;
    return 0;
}

#endif
