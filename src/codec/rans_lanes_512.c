/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sixteen lanes in a vector of AVX-512. What vectors of AVX2 look up in tables for masks
 * is an instruction here: the next words are expanded into the places of those that fell
 * below 2^16, and those that give one are compressed. Rounds of SHA-256 stand between the
 * steps of a group, as there, but in registers.
 */
#include "codec/rans_lanes_x86.h"

#include "crypto/sha_rounds.h"
#include "util/clones.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define FEATURES WW_FEATURES_512 ",popcnt,sha"
#define TARGET __attribute__((target(FEATURES)))
#define ALWAYS __attribute__((target(FEATURES), always_inline)) static inline
#define VECTORS 2
#define IN_VECTOR 16
/* Bytes that a group may take, and those that a load reads beyond. */
#define WITHIN (2 * 2 * 32 + 32)

_Static_assert(VECTORS *IN_VECTOR == WW_LANES_MOST, "a group is two vectors");

ALWAYS __m512i numbers_at(const uint32_t *from)
{
    return _mm512_loadu_si512((const void *)from);
}

ALWAYS __m512i bytes_at(const uint8_t *from)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
}

ALWAYS __m512i contexts_at(const uint8_t *contexts, size_t i)
{
    return contexts ? bytes_at(contexts + i) : _mm512_setzero_si512();
}

ALWAYS __m128i four_of(const uint32_t *from, const uint32_t *places)
{
    return _mm_setr_epi32((int)from[places[0]], (int)from[places[1]],
                          (int)from[places[2]], (int)from[places[3]]);
}

/* By scalar loads, as with AVX2; places go by way of memory, which takes fewer steps than
 * to take them out of the vector. */
ALWAYS __m512i gather(const uint32_t *from, __m512i place)
{
    _Alignas(64) uint32_t places[IN_VECTOR];
    __m256i low;
    __m256i high;

    _mm512_store_si512((void *)places, place);
    __asm__("" : "+m"(places)); /* compilers would take them out of the vector */
    low = _mm256_set_m128i(four_of(from, places + 4), four_of(from, places));
    high = _mm256_set_m128i(four_of(from, places + 12), four_of(from, places + 8));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

ALWAYS __m512i refill(__m512i state, const uint8_t **at)
{
    const __mmask16 below =
        _mm512_cmplt_epu32_mask(state, _mm512_set1_epi32((int)WW_RANS_LOW));
    const __m512i words =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)*at));

    *at += (size_t)2 * (unsigned)__builtin_popcount(below);
    return _mm512_or_si512(_mm512_mask_slli_epi32(state, below, state, 16),
                           _mm512_maskz_expand_epi32(below, words));
}

/* The symbols' entries; the states behind them. */
ALWAYS __m512i step(__m512i *state, const uint32_t *slots, __m512i context)
{
    const __m512i low = _mm512_set1_epi32(WW_RANS_TOTAL - 1);
    const __m512i place = _mm512_or_si512(_mm512_slli_epi32(context, WW_RANS_BITS),
                                          _mm512_and_si512(*state, low));
    const __m512i entry = gather(slots, place);
    const __m512i freq =
        _mm512_add_epi32(_mm512_srli_epi32(entry, 20), _mm512_set1_epi32(1));

    *state = _mm512_add_epi32(
        _mm512_mullo_epi32(freq, _mm512_srli_epi32(*state, WW_RANS_BITS)),
        _mm512_and_si512(_mm512_srli_epi32(entry, 8), low));
    return _mm512_and_si512(entry, _mm512_set1_epi32(255));
}

/* Symbols from 16 on are 4 to 7, by their low bits, with symbol / 4 - 2 raw bits. */
ALWAYS __m512i raw(__m512i *state, __m512i symbol, __mmask16 large)
{
    const __m512i n_raw =
        _mm512_maskz_sub_epi32(large, _mm512_srli_epi32(symbol, 2), _mm512_set1_epi32(2));
    const __m512i top = _mm512_or_si512(_mm512_and_si512(symbol, _mm512_set1_epi32(3)),
                                        _mm512_set1_epi32(4));
    const __m512i bits =
        _mm512_andnot_si512(_mm512_sllv_epi32(_mm512_set1_epi32(-1), n_raw), *state);

    *state = _mm512_srlv_epi32(*state, n_raw);
    return _mm512_or_si512(
        _mm512_sllv_epi32(_mm512_mask_mov_epi32(symbol, large, top), n_raw), bits);
}

/* A block of a message, by quarters; NULL: none. */
struct block {
    struct ww_sha_halves now;
    struct ww_sha_halves before;
    __m128i words[4];
    const uint8_t *p;
};

ALWAYS __m128i four(const uint32_t *from)
{
    return _mm_load_si128((const __m128i *)(const void *)from);
}

ALWAYS void quarter(struct block *b, bool hash, unsigned part)
{
    if (!hash) {
        return;
    }
    if (part == 0) {
        b->before = b->now;
    }
    ww_sha_quarter(&b->now, b->words, b->p, part);
    if (part == 3) {
        b->now.abef = _mm_add_epi32(b->now.abef, b->before.abef);
        b->now.cdgh = _mm_add_epi32(b->now.cdgh, b->before.cdgh);
        b->p += 64;
    }
}

/* hash: there is a block of a message for each group. */
ALWAYS size_t decode(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                     const uint8_t *contexts, uint32_t *out, size_t n, bool folded,
                     bool hash, struct block *b)
{
    const __m512i small = _mm512_set1_epi32(15);
    const uint8_t *at = in->at;
    __m512i state[VECTORS] = {numbers_at(in->state), numbers_at(in->state + IN_VECTOR)};
    __m512i none = _mm512_setzero_si512();
    size_t i = 0;

    for (; i + WW_LANES_MOST <= n && in->end - at >= WITHIN; i += WW_LANES_MOST) {
        __m512i symbol[VECTORS];
        __mmask16 large[VECTORS];
#pragma GCC unroll 2
        for (unsigned v = 0; v < VECTORS; v++) {
            symbol[v] = step(&state[v], code->slots->slot,
                             contexts_at(contexts, i + (size_t)IN_VECTOR * v));
            large[v] = _mm512_cmpgt_epi32_mask(symbol[v], small);
            none = _mm512_or_si512(none, symbol[v]);
            quarter(b, hash, v);
        }
#pragma GCC unroll 2
        for (unsigned v = 0; v < VECTORS; v++) {
            state[v] = refill(state[v], &at);
        }
        quarter(b, hash, 2);
        if (folded && (large[0] | large[1]) != 0) {
#pragma GCC unroll 2
            for (unsigned v = 0; v < VECTORS; v++) {
                symbol[v] = raw(&state[v], symbol[v], large[v]);
                state[v] = refill(state[v], &at);
            }
        }
        quarter(b, hash, 3);
#pragma GCC unroll 2
        for (unsigned v = 0; v < VECTORS; v++) {
            _mm512_storeu_si512((void *)(out + i + (size_t)IN_VECTOR * v), symbol[v]);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) {
        _mm512_storeu_si512((void *)(in->state + (size_t)IN_VECTOR * v), state[v]);
    }
    in->at = at;
    in->over =
        in->over ||
        (code->holes && _mm512_test_epi32_mask(none, _mm512_set1_epi32(WW_LANES_NONE)));
    return i;
}

TARGET static size_t decode_beside(struct ww_lanes_in *in,
                                   const struct ww_lanes_code *code,
                                   const uint8_t *contexts, uint32_t *out, size_t n,
                                   struct ww_sha_quarters *hash)
{
    const bool folded = code->kind == WW_LANES_SHORT;
    struct block b = {.now = {four(hash->abef), four(hash->cdgh)}, .p = hash->p};

    n = folded ? decode(in, code, contexts, out, n, true, true, &b)
               : decode(in, code, contexts, out, n, false, true, &b);
    _mm_store_si128((__m128i *)(void *)hash->abef, b.now.abef);
    _mm_store_si128((__m128i *)(void *)hash->cdgh, b.now.cdgh);
    hash->p = b.p;
    return n;
}

TARGET size_t ww_lanes_decode_512(struct ww_lanes_in *in,
                                  const struct ww_lanes_code *code,
                                  const uint8_t *contexts, uint32_t *out, size_t n,
                                  struct ww_sha_quarters *hash)
{
    if (hash) {
        return decode_beside(in, code, contexts, out, n, hash);
    }
    return code->kind == WW_LANES_SHORT
               ? decode(in, code, contexts, out, n, true, false, NULL)
               : decode(in, code, contexts, out, n, false, false, NULL);
}

/* Low words of the lanes that are due, and their states without them. */
ALWAYS __m512i emit(__m512i state, __mmask16 due, uint8_t **at)
{
    const unsigned n = (unsigned)__builtin_popcount(due);
    const __m256i words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(due, state));

    *at -= (size_t)2 * n;
    _mm256_mask_storeu_epi16((void *)*at, (__mmask16)((1U << n) - 1), words);
    return _mm512_mask_srli_epi32(state, due, state, 16);
}

ALWAYS __m512i push_raw(__m512i state, __m512i number, __m512i n_raw, uint8_t **at)
{
    const __m512i above =
        _mm512_srlv_epi32(state, _mm512_sub_epi32(_mm512_set1_epi32(32), n_raw));
    const __m512i low =
        _mm512_andnot_si512(_mm512_sllv_epi32(_mm512_set1_epi32(-1), n_raw), number);

    state = emit(state, _mm512_test_epi32_mask(above, above), at);
    return _mm512_or_si512(_mm512_sllv_epi32(state, n_raw), low);
}

/* state / freq, or one less. Both are below 2^32 and the quotient below 2^20: by a factor
 * that is short of one by 2^-21 it is below the true one, however conversions, quotient
 * and product (2^-23 each at most) are rounded, and by less than one. */
ALWAYS __m512i divide(__m512i state, __m512i freq)
{
    const __m512 share =
        _mm512_div_ps(_mm512_set1_ps(1 - 0x1p-21F), _mm512_cvtepi32_ps(freq));

    return _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_cvtepu32_ps(state), share));
}

ALWAYS __m512i push_symbol(__m512i state, const uint32_t *pushes, __m512i place,
                           uint8_t **at)
{
    const __m512i push = gather(pushes, place);
    const __m512i less = _mm512_srli_epi32(push, 20); /* freq - 1 */
    const __m512i freq = _mm512_add_epi32(less, _mm512_set1_epi32(1));
    const __m512i start = _mm512_and_si512(_mm512_srli_epi32(push, 8),
                                           _mm512_set1_epi32(WW_RANS_TOTAL - 1));
    __m512i quotient;
    __m512i rest;
    __mmask16 more; /* where it is one too small */

    state = emit(state, _mm512_cmpgt_epi32_mask(_mm512_srli_epi32(state, 20), less), at);
    quotient = divide(state, freq);
    rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, freq));
    more = _mm512_cmpgt_epi32_mask(rest, less);
    quotient = _mm512_mask_add_epi32(quotient, more, quotient, _mm512_set1_epi32(1));
    rest = _mm512_mask_sub_epi32(rest, more, rest, freq);
    return _mm512_add_epi32(_mm512_slli_epi32(quotient, WW_RANS_BITS),
                            _mm512_add_epi32(rest, start));
}

/* Groups from the last to the first, in each the last vector first. */
TARGET void ww_lanes_encode_512(const struct ww_lanes_text *t, size_t n,
                                const uint32_t *pushes, uint32_t states[WW_LANES_MOST],
                                uint8_t **to)
{
    const bool folded = t->kind == WW_LANES_SHORT;
    uint8_t *at = *to;
    __m512i state[VECTORS] = {numbers_at(states), numbers_at(states + IN_VECTOR)};

    for (size_t i = n; i > 0; i -= WW_LANES_MOST) {
        const size_t first = i - WW_LANES_MOST;
        __m512i symbol[VECTORS];
        __mmask16 large[VECTORS];
#pragma GCC unroll 2
        for (unsigned v = 0; v < VECTORS; v++) {
            symbol[v] = bytes_at(t->symbols + first + (size_t)IN_VECTOR * v);
            large[v] = _mm512_cmpgt_epi32_mask(symbol[v], _mm512_set1_epi32(15));
        }
        if (folded && (large[0] | large[1]) != 0) {
#pragma GCC unroll 2
            for (unsigned v = VECTORS; v-- > 0;) {
                const __m512i number =
                    numbers_at(t->numbers + first + (size_t)IN_VECTOR * v);
                const __m512i n_raw = _mm512_maskz_sub_epi32(
                    large[v], _mm512_srli_epi32(symbol[v], 2), _mm512_set1_epi32(2));
                state[v] = push_raw(state[v], number, n_raw, &at);
            }
        }
#pragma GCC unroll 2
        for (unsigned v = VECTORS; v-- > 0;) {
            const __m512i context =
                contexts_at(t->contexts, first + (size_t)IN_VECTOR * v);
            const __m512i place =
                _mm512_or_si512(symbol[v], _mm512_slli_epi32(context, 8));
            state[v] = push_symbol(state[v], pushes, place, &at);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) {
        _mm512_storeu_si512((void *)(states + (size_t)IN_VECTOR * v), state[v]);
    }
    *to = at;
}

#else

/* Never called: ww_has_512 says no. */
size_t ww_lanes_decode_512(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                           const uint8_t *contexts, uint32_t *out, size_t n,
                           struct ww_sha_quarters *hash)
{
    (void)in;
    (void)code;
    (void)contexts;
    (void)out;
    (void)n;
    (void)hash;
    return 0;
}

void ww_lanes_encode_512(const struct ww_lanes_text *t, size_t n, const uint32_t *pushes,
                         uint32_t states[WW_LANES_MOST], uint8_t **to)
{
    (void)t;
    (void)n;
    (void)pushes;
    (void)states;
    (void)to;
}

#endif
