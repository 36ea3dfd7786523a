/* SPDX-License-Identifier: Apache-2.0 */
/* stored_pick_x86.c with AVX-512: sixteen keys in a vector, in their order, of which one
 * instruction moves those that count together. */
#include "merge/stored_pick.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define FEATURES "avx512f,avx512bw,avx512dq,avx512vl,popcnt"
#define TARGET __attribute__((target(FEATURES)))
#define ALWAYS __attribute__((target(FEATURES), always_inline)) static inline

#define STEP 16

/* What is compared with, and counts by lanes; the most that is compared so is 256. */
struct side {
    __m512i low;
    __m512i span;
    __m512i high;
    __m512i common;
    __m512i n_larger;
    __m512i n_common;
    uint32_t *to;
};

ALWAYS struct side start(const struct ww_stored_bracket *bracket,
                         struct ww_stored_picked *picked)
{
    return (struct side){.low = _mm512_set1_epi32((int)bracket->low),
                         .span = _mm512_set1_epi32((int)bracket->span),
                         .high = _mm512_set1_epi32((int)(bracket->low + bracket->span)),
                         .common = _mm512_set1_epi32((int)bracket->common),
                         .n_larger = _mm512_setzero_si512(),
                         .n_common = _mm512_setzero_si512(),
                         .to = picked->keys};
}

ALWAYS void pick(struct side *s, __m512i keys)
{
    const __m512i one = _mm512_set1_epi32(1);
    const __mmask16 in = _mm512_cmple_epu32_mask(_mm512_sub_epi32(keys, s->low), s->span);
    const __mmask16 common = _mm512_cmpeq_epi32_mask(keys, s->common);
    const __mmask16 larger = _mm512_cmpgt_epi32_mask(keys, s->high);
    const __mmask16 taken = _kandn_mask16(common, in);

    s->n_common = _mm512_mask_add_epi32(s->n_common, common, s->n_common, one);
    s->n_larger = _mm512_mask_add_epi32(s->n_larger, larger, s->n_larger, one);
    _mm512_storeu_si512(s->to, _mm512_maskz_compress_epi32(taken, keys));
    s->to += __builtin_popcount(taken);
}

ALWAYS __m512 floats_at(const uint8_t *p)
{
    const __m256i stored = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16));
}

ALWAYS uint32_t walk(const uint8_t *x, const uint8_t *base, size_t n, struct side *sides,
                     uint32_t n_sides)
{
    __m512i most = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += STEP) {
        const __m512 change =
            _mm512_sub_ps(floats_at(x + 2 * i), floats_at(base + 2 * i));
        const __m512i keys =
            _mm512_and_si512(_mm512_castps_si512(change), _mm512_set1_epi32(0x7fffffff));
        most = _mm512_max_epi32(most, keys);
        for (uint32_t s = 0; s < n_sides; s++) {
            pick(&sides[s], keys);
        }
    }
    return _mm512_reduce_max_epu32(most);
}

ALWAYS void end(const struct side *s, struct ww_stored_picked *picked)
{
    picked->larger = (uint32_t)_mm512_reduce_add_epi32(s->n_larger);
    picked->common = (uint32_t)_mm512_reduce_add_epi32(s->n_common);
    picked->n = (size_t)(s->to - picked->keys);
}

TARGET static uint32_t walk_one(const uint8_t *x, const uint8_t *base, size_t n,
                                const struct ww_stored_bracket *brackets,
                                struct ww_stored_picked *picked)
{
    struct side side = start(&brackets[0], &picked[0]);
    const uint32_t largest = walk(x, base, n, &side, 1);

    end(&side, &picked[0]);
    return largest;
}

TARGET static uint32_t walk_two(const uint8_t *x, const uint8_t *base, size_t n,
                                const struct ww_stored_bracket *brackets,
                                struct ww_stored_picked *picked)
{
    struct side sides[2] = {start(&brackets[0], &picked[0]),
                            start(&brackets[1], &picked[1])};
    const uint32_t largest = walk(x, base, n, sides, 2);

    end(&sides[0], &picked[0]);
    end(&sides[1], &picked[1]);
    return largest;
}

TARGET static uint32_t walk_none(const uint8_t *x, const uint8_t *base, size_t n)
{
    return walk(x, base, n, NULL, 0);
}

uint32_t ww_stored_pick_wide(const uint8_t *x, const uint8_t *base, size_t n,
                             const struct ww_stored_bracket *brackets,
                             uint32_t n_brackets, struct ww_stored_picked *picked)
{
    if (n_brackets == 0) {
        return walk_none(x, base, n);
    }
    return (n_brackets == 1 ? walk_one : walk_two)(x, base, n, brackets, picked);
}

#else

uint32_t ww_stored_pick_wide(const uint8_t *x, const uint8_t *base, size_t n,
                             const struct ww_stored_bracket *brackets,
                             uint32_t n_brackets, struct ww_stored_picked *picked)
{
    (void)x, (void)base, (void)n, (void)brackets, (void)n_brackets, (void)picked;
    return UINT32_MAX;
}

#endif
