/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight lanes in a vector of AVX2: the table's entries are gathered, all states step at
 * once, and those that fell below 2^16 take the next words in lane order. Which word goes
 * to which lane depends on the mask of those alone and is looked up.
 *
 * A group takes about as many cycles as a block of SHA-256 waits for its own rounds, and
 * is about all that a processor looks ahead: so quarters of a block stand between the
 * steps of a group, and the two together take a sixth less than one after the other.
 */
#include "codec/rans_lanes_x86.h"

#include <string.h>

#include "util/clones.h"

#define NO_BYTE 0x80 /* of a shuffle of bytes: zero */

/* Taking: for each byte of eight lanes, which of the next eight words' it is; zero in the
 * lanes that take none. Giving: lanes of the mask in the last places, in order, since
 * words are written downwards. */
void ww_lanes_spread_make(struct ww_lanes_spread *spread)
{
    spread->wide = ww_has_512();
    for (unsigned mask = 0; mask < 256; mask++) {
        unsigned word = 0;
        unsigned slot = 8 - (unsigned)__builtin_popcount(mask);
        spread->give[mask] = 0;
        for (unsigned l = 0; l < 8; l++) {
            uint8_t *take = &spread->take[mask][(size_t)4 * l];
            memset(take, NO_BYTE, 4);
            if (mask >> l & 1) {
                take[0] = (uint8_t)(2 * word);
                take[1] = (uint8_t)(2 * word + 1);
                word++;
                spread->give[mask] |= (uint64_t)l << 8 * slot;
                slot++;
            }
        }
    }
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,popcnt")))
#define ALWAYS __attribute__((target("avx2,popcnt"), always_inline)) static inline
#define VECTORS 4
/* Bytes that a group may take, and those that a load reads beyond. */
#define WITHIN (2 * 2 * 32 + 16)

_Static_assert(VECTORS * 8 == WW_LANES_MOST, "a group is four vectors");

/* Eight entries by scalar loads: the instruction that gathers is slower on many machines.
 */
ALWAYS __m256i gather(const uint32_t *from, __m256i place)
{
    const uint64_t a = (uint64_t)_mm256_extract_epi64(place, 0);
    const uint64_t b = (uint64_t)_mm256_extract_epi64(place, 1);
    const uint64_t c = (uint64_t)_mm256_extract_epi64(place, 2);
    const uint64_t d = (uint64_t)_mm256_extract_epi64(place, 3);

    return _mm256_setr_epi32((int)from[(uint32_t)a], (int)from[a >> 32],
                             (int)from[(uint32_t)b], (int)from[b >> 32],
                             (int)from[(uint32_t)c], (int)from[c >> 32],
                             (int)from[(uint32_t)d], (int)from[d >> 32]);
}

ALWAYS __m256i refill(__m256i state, const struct ww_lanes_spread *spread,
                      const uint8_t **at)
{
    const __m256i below =
        _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(below));
    const __m256i words =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)*at));
    const __m256i which =
        _mm256_loadu_si256((const __m256i *)(const void *)spread->take[mask]);
    const __m256i shift = _mm256_and_si256(below, _mm256_set1_epi32(16));

    *at += (size_t)2 * (unsigned)__builtin_popcount(mask);
    return _mm256_or_si256(_mm256_sllv_epi32(state, shift),
                           _mm256_shuffle_epi8(words, which));
}

/* The symbols' entries; the states behind them. */
ALWAYS __m256i step(__m256i *state, const uint32_t *slots, __m256i context)
{
    const __m256i low = _mm256_set1_epi32(WW_RANS_TOTAL - 1);
    const __m256i place = _mm256_add_epi32(_mm256_slli_epi32(context, WW_RANS_BITS),
                                           _mm256_and_si256(*state, low));
    const __m256i entry = gather(slots, place);
    const __m256i freq =
        _mm256_add_epi32(_mm256_srli_epi32(entry, 20), _mm256_set1_epi32(1));

    *state = _mm256_add_epi32(
        _mm256_mullo_epi32(freq, _mm256_srli_epi32(*state, WW_RANS_BITS)),
        _mm256_and_si256(_mm256_srli_epi32(entry, 8), low));
    return _mm256_and_si256(entry, _mm256_set1_epi32(255));
}

/* Symbols from 16 on are 4 to 7, by their low bits, with symbol / 4 - 2 raw bits. */
ALWAYS __m256i raw(__m256i *state, __m256i symbol, __m256i large)
{
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i n_raw = _mm256_and_si256(
        large, _mm256_sub_epi32(_mm256_srli_epi32(symbol, 2), _mm256_set1_epi32(2)));
    const __m256i top = _mm256_or_si256(_mm256_and_si256(symbol, _mm256_set1_epi32(3)),
                                        _mm256_set1_epi32(4));
    const __m256i bits =
        _mm256_and_si256(*state, _mm256_sub_epi32(_mm256_sllv_epi32(one, n_raw), one));

    *state = _mm256_srlv_epi32(*state, n_raw);
    return _mm256_or_si256(
        _mm256_sllv_epi32(_mm256_blendv_epi8(symbol, top, large), n_raw), bits);
}

ALWAYS __m256i contexts_at(const uint8_t *contexts, size_t i)
{
    return contexts ? _mm256_cvtepu8_epi32(
                          _mm_loadl_epi64((const __m128i *)(const void *)(contexts + i)))
                    : _mm256_setzero_si256();
}

/* hash: NULL, or a message of which there is a block for each group. */
ALWAYS size_t decode(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                     const uint8_t *contexts, uint32_t *out, size_t n, bool folded,
                     struct ww_sha_quarters *hash)
{
    const __m256i small = _mm256_set1_epi32(15);
    const uint8_t *at = in->at;
    __m256i state[VECTORS];
    __m256i symbol[VECTORS];
    __m256i large[VECTORS];
    __m256i none = _mm256_setzero_si256();
    size_t i = 0;

    for (unsigned v = 0; v < VECTORS; v++) {
        state[v] = _mm256_loadu_si256((const __m256i *)(const void *)(in->state + 8 * v));
    }
    for (; i + WW_LANES_MOST <= n && in->end - at >= WITHIN; i += WW_LANES_MOST) {
        __m256i any = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (unsigned v = 0; v < VECTORS; v++) {
            symbol[v] =
                step(&state[v], code->slots->slot, contexts_at(contexts, i + 8 * v));
            large[v] = _mm256_cmpgt_epi32(symbol[v], small);
            any = _mm256_or_si256(any, large[v]);
            none = _mm256_or_si256(none, symbol[v]);
        }
        if (hash) {
            ww_sha_quarter_1(hash);
        }
#pragma GCC unroll 4
        for (unsigned v = 0; v < VECTORS; v++) {
            state[v] = refill(state[v], code->spread, &at);
        }
        if (hash) {
            ww_sha_quarter_2(hash);
        }
        if (folded && !_mm256_testz_si256(any, any)) {
#pragma GCC unroll 4
            for (unsigned v = 0; v < VECTORS; v++) {
                symbol[v] = raw(&state[v], symbol[v], large[v]);
            }
            if (hash) {
                ww_sha_quarter_3(hash);
            }
#pragma GCC unroll 4
            for (unsigned v = 0; v < VECTORS; v++) {
                state[v] = refill(state[v], code->spread, &at);
            }
        } else if (hash) {
            ww_sha_quarter_3(hash);
        }
        if (hash) {
            ww_sha_quarter_4(hash);
        }
#pragma GCC unroll 4
        for (unsigned v = 0; v < VECTORS; v++) {
            _mm256_storeu_si256((__m256i *)(void *)(out + i + 8 * v), symbol[v]);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) {
        _mm256_storeu_si256((__m256i *)(void *)(in->state + 8 * v), state[v]);
    }
    in->at = at;
    none = _mm256_and_si256(none, _mm256_set1_epi32(WW_LANES_NONE));
    in->over = in->over || (code->holes && !_mm256_testz_si256(none, none));
    return i;
}

TARGET static size_t decode_256(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                                const uint8_t *contexts, uint32_t *out, size_t n,
                                struct ww_sha_quarters *hash)
{
    const bool folded = code->kind == WW_LANES_SHORT;

    if (hash) {
        return folded ? decode(in, code, contexts, out, n, true, hash)
                      : decode(in, code, contexts, out, n, false, hash);
    }
    return folded ? decode(in, code, contexts, out, n, true, NULL)
                  : decode(in, code, contexts, out, n, false, NULL);
}

static size_t decode_by(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                        const uint8_t *contexts, uint32_t *out, size_t n,
                        struct ww_sha_quarters *hash)
{
    return code->spread->wide ? ww_lanes_decode_512(in, code, contexts, out, n, hash)
                              : decode_256(in, code, contexts, out, n, hash);
}

/* As many groups as there are blocks. */
static size_t decode_beside(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                            const uint8_t *contexts, uint32_t *out, size_t n)
{
    struct ww_sha_quarters hash;
    const uint64_t blocks = ww_sha_rest_begin(code->beside, &hash);

    if (blocks == 0) {
        return 0;
    }
    n = blocks < n / WW_LANES_MOST ? (size_t)blocks * WW_LANES_MOST : n;
    n = decode_by(in, code, contexts, out, n, &hash);
    ww_sha_rest_end(code->beside, &hash);
    return n;
}

size_t ww_lanes_decode_x86(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                           const uint8_t *contexts, uint32_t *out, size_t n)
{
    size_t i = 0;

    if (!__builtin_cpu_supports("avx2")) {
        return 0;
    }
    i = decode_beside(in, code, contexts, out, n);
    return i + decode_by(in, code, contexts ? contexts + i : NULL, out + i, n - i, NULL);
}

/* For one symbol of a context: freq - 1, start and shift, and the reciprocal rounded down
 * to 32 bits, so that a quotient is right or one too small. */
struct pushes {
    uint32_t info[WW_LANES_CONTEXTS][WW_LANES_SYMBOLS];
    uint32_t reciprocal[WW_LANES_CONTEXTS][WW_LANES_SYMBOLS];
};

static void make_pushes(const struct ww_lanes_text *t, struct pushes *p)
{
    for (unsigned c = 0; c < (t->contexts ? WW_LANES_CONTEXTS : 1); c++) {
        for (unsigned s = 0; s < WW_LANES_SYMBOLS; s++) {
            const struct ww_rans_push *push = &t->push[c][s];
            const uint32_t freq = push->freq ? push->freq : 1;
            const uint32_t start = push->bias - (freq == 1 ? WW_RANS_TOTAL - 1 : 0);
            const unsigned shift = 31u - (unsigned)__builtin_clz(freq);
            const uint64_t wide = (UINT64_C(1) << (32 + shift)) / freq;
            p->info[c][s] = (freq - 1) << 20 | (start & (WW_RANS_TOTAL - 1)) << 8 | shift;
            p->reciprocal[c][s] = wide > UINT32_MAX ? UINT32_MAX : (uint32_t)wide;
        }
    }
}

/* Low words of the lanes of the mask, and their states without them. */
ALWAYS __m256i emit(__m256i state, __m256i due, const struct ww_lanes_spread *spread,
                    uint8_t **at)
{
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(due));
    const __m256i which = _mm256_cvtepu8_epi32(
        _mm_loadl_epi64((const __m128i *)(const void *)&spread->give[mask]));
    const __m256i low = _mm256_permutevar8x32_epi32(
        _mm256_and_si256(state, _mm256_set1_epi32(0xffff)), which);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low),
                                                    0x88 /* quarters 0 and 2 */);

    _mm_storeu_si128((__m128i *)(void *)(*at - 16), _mm256_castsi256_si128(packed));
    *at -= (size_t)2 * (unsigned)__builtin_popcount(mask);
    return _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), due);
}

ALWAYS __m256i bytes_at(const uint8_t *bytes)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
}

ALWAYS __m256i push_raw(__m256i state, __m256i number, __m256i n_raw,
                        const struct ww_lanes_spread *spread, uint8_t **at)
{
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i above =
        _mm256_srlv_epi32(state, _mm256_sub_epi32(_mm256_set1_epi32(32), n_raw));
    const __m256i due = _mm256_xor_si256(
        _mm256_cmpeq_epi32(above, _mm256_setzero_si256()), _mm256_set1_epi32(-1));
    const __m256i low =
        _mm256_and_si256(number, _mm256_sub_epi32(_mm256_sllv_epi32(one, n_raw), one));

    state = emit(state, due, spread, at);
    return _mm256_or_si256(_mm256_sllv_epi32(state, n_raw), low);
}

ALWAYS __m256i high_product(__m256i a, __m256i b)
{
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
    const __m256i odd =
        _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));

    return _mm256_blend_epi32(even, odd, 0xaa);
}

ALWAYS __m256i push_symbol(__m256i state, const struct pushes *p, __m256i place,
                           const struct ww_lanes_spread *spread, uint8_t **at)
{
    const __m256i info = gather(p->info[0], place);
    const __m256i reciprocal = gather(p->reciprocal[0], place);
    const __m256i less = _mm256_srli_epi32(info, 20); /* freq - 1 */
    const __m256i freq = _mm256_add_epi32(less, _mm256_set1_epi32(1));
    const __m256i start = _mm256_and_si256(_mm256_srli_epi32(info, 8),
                                           _mm256_set1_epi32(WW_RANS_TOTAL - 1));
    const __m256i shift = _mm256_and_si256(info, _mm256_set1_epi32(255));
    __m256i quotient;
    __m256i rest;
    __m256i more;

    state =
        emit(state, _mm256_cmpgt_epi32(_mm256_srli_epi32(state, 20), less), spread, at);
    quotient = _mm256_srlv_epi32(high_product(state, reciprocal), shift);
    rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(quotient, freq));
    more = _mm256_cmpgt_epi32(rest, less); /* all ones where it is one too small */
    quotient = _mm256_sub_epi32(quotient, more);
    rest = _mm256_sub_epi32(rest, _mm256_and_si256(more, freq));
    return _mm256_add_epi32(_mm256_slli_epi32(quotient, WW_RANS_BITS),
                            _mm256_add_epi32(rest, start));
}

/* Groups from the last to the first, in each the last vector first. */
TARGET static void encode(const struct ww_lanes_text *t, size_t n, const struct pushes *p,
                          uint32_t *states, uint8_t **to)
{
    const bool folded = t->kind == WW_LANES_SHORT;
    uint8_t *at = *to;
    __m256i state[VECTORS];

    for (unsigned v = 0; v < VECTORS; v++) {
        state[v] = _mm256_loadu_si256((const __m256i *)(const void *)(states + 8 * v));
    }
    for (size_t i = n; i > 0; i -= WW_LANES_MOST) {
        const size_t first = i - WW_LANES_MOST;
        __m256i symbol[VECTORS];
        __m256i n_raw[VECTORS];
        __m256i any = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (unsigned v = 0; v < VECTORS; v++) {
            symbol[v] = bytes_at(t->symbols + first + 8 * v);
            n_raw[v] = _mm256_max_epi32(
                _mm256_setzero_si256(),
                _mm256_sub_epi32(_mm256_srli_epi32(symbol[v], 2), _mm256_set1_epi32(2)));
            n_raw[v] = _mm256_and_si256(
                n_raw[v], _mm256_cmpgt_epi32(symbol[v], _mm256_set1_epi32(15)));
            any = _mm256_or_si256(any, n_raw[v]);
        }
        if (folded && !_mm256_testz_si256(any, any)) {
#pragma GCC unroll 4
            for (unsigned v = VECTORS; v-- > 0;) {
                const __m256i number = _mm256_loadu_si256(
                    (const __m256i *)(const void *)(t->numbers + first + 8 * v));
                state[v] = push_raw(state[v], number, n_raw[v], t->spread, &at);
            }
        }
#pragma GCC unroll 4
        for (unsigned v = VECTORS; v-- > 0;) {
            const __m256i place = _mm256_add_epi32(
                symbol[v], _mm256_slli_epi32(contexts_at(t->contexts, first + 8 * v), 8));
            state[v] = push_symbol(state[v], p, place, t->spread, &at);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) {
        _mm256_storeu_si256((__m256i *)(void *)(states + 8 * v), state[v]);
    }
    *to = at;
}

bool ww_lanes_encode_x86(const struct ww_lanes_text *t, size_t n,
                         uint32_t state[WW_LANES_MOST], uint8_t **at)
{
    struct pushes pushes;

    if (!__builtin_cpu_supports("avx2")) {
        return false;
    }
    make_pushes(t, &pushes);
    if (t->spread->wide) {
        ww_lanes_encode_512(t, n, pushes.info[0], state, at);
    } else {
        encode(t, n, &pushes, state, at);
    }
    return true;
}

#else

size_t ww_lanes_decode_x86(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                           const uint8_t *contexts, uint32_t *out, size_t n)
{
    (void)in;
    (void)code;
    (void)contexts;
    (void)out;
    (void)n;
    return 0;
}

bool ww_lanes_encode_x86(const struct ww_lanes_text *t, size_t n,
                         uint32_t state[WW_LANES_MOST], uint8_t **at)
{
    (void)t;
    (void)n;
    (void)state;
    (void)at;
    return false;
}

#endif
