/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sixteen changes at a time with AVX2, in the order in which interleaving leaves them. A
 * compare gives a bit for each of eight keys, and those that count are moved together by
 * a table. No branch depends on a key.
 */
#include "merge/stored_pick.h"

#include "merge/stored.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "merge/key_lanes.h"
#include "merge/stored_key.h"

#define TARGET __attribute__((target("avx2,popcnt")))
#define ALWAYS __attribute__((target("avx2,popcnt"), always_inline)) static inline

#define STEP 16
#define INFINITE 0x7f800000

/* Byte by byte the members of each set of eight, from the lowest, then zeros. */
#define BIT(set, i) ((unsigned)((set) >> (i)&1))
#define BELOW(set, i) ((unsigned)__builtin_popcount((set) & ((1U << (i)) - 1)))
#define DIGIT(set, i) (BIT(set, i) ? (uint64_t)(i) << (8 * BELOW(set, i)) : 0)
#define PLACES(set)                                                                      \
    (DIGIT(set, 0) | DIGIT(set, 1) | DIGIT(set, 2) | DIGIT(set, 3) | DIGIT(set, 4) |     \
     DIGIT(set, 5) | DIGIT(set, 6) | DIGIT(set, 7))
#define FOUR(set) PLACES(set), PLACES((set) + 1), PLACES((set) + 2), PLACES((set) + 3)
#define SIXTEEN(set) FOUR(set), FOUR((set) + 4), FOUR((set) + 8), FOUR((set) + 12)
#define SIXTY_FOUR(set)                                                                  \
    SIXTEEN(set), SIXTEEN((set) + 16), SIXTEEN((set) + 32), SIXTEEN((set) + 48)
static const uint64_t places[256] = {SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128),
                                     SIXTY_FOUR(192)};

/* What is compared with, and counts by lanes; the most that is compared so is 256. */
struct side {
    __m256i low;
    __m256i span;
    __m256i high;
    __m256i common;
    __m256i n_larger;
    __m256i n_common;
    uint32_t *to;
};

ALWAYS struct side start(const struct ww_stored_bracket *bracket,
                         struct ww_stored_picked *picked)
{
    return (struct side){.low = _mm256_set1_epi32((int)bracket->low),
                         .span = _mm256_set1_epi32((int)bracket->span),
                         .high = _mm256_set1_epi32((int)(bracket->low + bracket->span)),
                         .common = _mm256_set1_epi32((int)bracket->common),
                         .n_larger = _mm256_setzero_si256(),
                         .n_common = _mm256_setzero_si256(),
                         .to = picked->keys};
}

ALWAYS void pick(struct side *s, __m256i keys)
{
    const __m256i from = _mm256_sub_epi32(keys, s->low);
    const __m256i in = _mm256_cmpeq_epi32(_mm256_min_epu32(from, s->span), from);
    const __m256i common = _mm256_cmpeq_epi32(keys, s->common);
    const __m256i taken = _mm256_andnot_si256(common, in);
    const unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(taken));
    const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)places[set]));

    s->n_common = _mm256_sub_epi32(s->n_common, common);
    s->n_larger = _mm256_sub_epi32(s->n_larger, _mm256_cmpgt_epi32(keys, s->high));
    _mm256_storeu_si256((__m256i *)(void *)s->to,
                        _mm256_permutevar8x32_epi32(keys, order));
    s->to += __builtin_popcount(set);
}

ALWAYS __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* n is a multiple of STEP. */
ALWAYS uint32_t walk(const uint8_t *x, const uint8_t *base, size_t n, struct side *sides,
                     uint32_t n_sides)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i most = zero;
    uint32_t lanes[8];
    uint32_t largest = 0;

    for (size_t i = 0; i < n; i += STEP) {
        const __m256i of_x = load(x + 2 * i);
        const __m256i of_base = load(base + 2 * i);
        const __m256i low = ww_keys_of(_mm256_unpacklo_epi16(zero, of_x),
                                       _mm256_unpacklo_epi16(zero, of_base));
        const __m256i high = ww_keys_of(_mm256_unpackhi_epi16(zero, of_x),
                                        _mm256_unpackhi_epi16(zero, of_base));
        most = _mm256_max_epi32(most, _mm256_max_epi32(low, high));
        for (uint32_t s = 0; s < n_sides; s++) {
            pick(&sides[s], low);
            pick(&sides[s], high);
        }
    }
    _mm256_storeu_si256((__m256i *)(void *)lanes, most);
    for (unsigned i = 0; i < 8; i++) {
        largest = lanes[i] > largest ? lanes[i] : largest;
    }
    return largest;
}

ALWAYS void end(const struct side *s, struct ww_stored_picked *picked)
{
    picked->larger = ww_lanes_sum(s->n_larger);
    picked->common = ww_lanes_sum(s->n_common);
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

static void pick_one(const struct ww_stored_bracket *bracket, uint32_t key,
                     struct ww_stored_picked *picked)
{
    picked->larger += key > bracket->low + bracket->span;
    if (key == bracket->common) {
        picked->common++;
    } else if (key - bracket->low <= bracket->span) {
        picked->keys[picked->n++] = key;
    }
}

bool ww_stored_pick_with(bool wide, const uint8_t *x, const uint8_t *base, size_t n,
                         const struct ww_stored_bracket *brackets, uint32_t n_brackets,
                         struct ww_stored_picked *picked)
{
    const size_t whole = n - n % STEP;
    uint32_t largest = 0;

    if (wide) {
        largest = ww_stored_pick_wide(x, base, whole, brackets, n_brackets, picked);
    } else if (n_brackets == 0) {
        largest = walk_none(x, base, whole);
    } else {
        largest =
            (n_brackets == 1 ? walk_one : walk_two)(x, base, whole, brackets, picked);
    }
    for (size_t i = whole; i < n; i++) {
        const uint32_t key = ww_stored_key(x, base, i);
        largest = key > largest ? key : largest;
        for (uint32_t b = 0; b < n_brackets; b++) {
            pick_one(&brackets[b], key, &picked[b]);
        }
    }
    return largest < INFINITE;
}

#else

bool ww_stored_pick_with(bool wide, const uint8_t *x, const uint8_t *base, size_t n,
                         const struct ww_stored_bracket *brackets, uint32_t n_brackets,
                         struct ww_stored_picked *picked)
{
    (void)wide, (void)x, (void)base, (void)n, (void)brackets, (void)n_brackets,
        (void)picked;
    return false;
}

#endif

bool ww_stored_pick(const uint8_t *x, const uint8_t *base, size_t n,
                    const struct ww_stored_bracket *brackets, uint32_t n_brackets,
                    struct ww_stored_picked *picked)
{
    return ww_stored_pick_with(ww_stored_wide(), x, base, n, brackets, n_brackets,
                               picked);
}
