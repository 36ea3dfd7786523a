/* SPDX-License-Identifier: Apache-2.0 */
/*
 * philox_x86.c with AVX-512: eight counters in a vector, three words are put together in
 * one instruction, and two shuffles bring eight counters' words into their order.
 */
#include "la/philox.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,bmi2")))
#define ALWAYS __attribute__((target("avx512f,bmi2"), always_inline)) static inline

#define XOR_OF_THREE 0x96

bool ww_philox_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("bmi2");
}

/* Eight counters: word w of each in the lower halves of c[w]. */
ALWAYS void round_of(__m512i c[4], __m512i k0, __m512i k1)
{
    const __m512i a = _mm512_mul_epu32(c[0], _mm512_set1_epi64(WW_PHILOX_MUL_0));
    const __m512i b = _mm512_mul_epu32(c[2], _mm512_set1_epi64(WW_PHILOX_MUL_1));
    c[0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(b, 32), c[1], k0, XOR_OF_THREE);
    c[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(a, 32), c[3], k1, XOR_OF_THREE);
    c[1] = b;
    c[3] = a;
}

/* Words 0 and 1, or 2 and 3, of each counter in 64 bits. */
ALWAYS __m512i pairs(__m512i first, __m512i second)
{
    return _mm512_mask_shuffle_epi32(first, 0xAAAA, second, (_MM_PERM_ENUM)0xA0);
}

ALWAYS void store(const __m512i c[4], uint32_t *out)
{
    const __m512i order = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i p = pairs(c[0], c[1]);
    const __m512i q = pairs(c[2], c[3]);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(p, order, q));
    _mm512_storeu_si512(
        out + 16,
        _mm512_permutex2var_epi64(p, _mm512_add_epi64(order, _mm512_set1_epi64(4)), q));
}

ALWAYS void load(uint64_t at, uint32_t source, uint32_t which, __m512i c[4])
{
    c[0] = _mm512_add_epi64(_mm512_set1_epi64((long long)at),
                            _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    c[1] = _mm512_srli_epi64(c[0], 32);
    c[2] = _mm512_set1_epi64(source);
    c[3] = _mm512_set1_epi64(which);
}

struct keys {
    __m512i of_round[WW_PHILOX_ROUNDS][2]; /* in memory, where an operand costs nothing */
};

ALWAYS void spread(const uint32_t key[2], struct keys *keys)
{
    for (uint32_t r = 0; r < WW_PHILOX_ROUNDS; r++) {
        keys->of_round[r][0] = _mm512_set1_epi32((int)(key[0] + r * WW_PHILOX_KEY_0));
        keys->of_round[r][1] = _mm512_set1_epi32((int)(key[1] + r * WW_PHILOX_KEY_1));
    }
}

/* Two runs in turn, as each round waits for the one before. */
ALWAYS void draw_two(const struct keys *keys, uint64_t at, uint32_t source,
                     uint32_t which, __m512i c[4], __m512i d[4])
{
    load(at, source, which, c);
    load(at + WW_PHILOX_LANES, source, which, d);
#pragma GCC unroll 10
    for (int r = 0; r < WW_PHILOX_ROUNDS; r++) {
        round_of(c, keys->of_round[r][0], keys->of_round[r][1]);
        round_of(d, keys->of_round[r][0], keys->of_round[r][1]);
    }
}

TARGET void ww_philox_run_512(const uint32_t key[2], uint64_t at, uint32_t source,
                              uint32_t which, size_t n, uint32_t *out)
{
    struct keys keys;
    __m512i c[4];
    __m512i d[4];

    spread(key, &keys);
    for (size_t i = 0; i < n; i += 2) {
        draw_two(&keys, at + i * WW_PHILOX_LANES, source, which, c, d);
        store(c, out + i * 4 * WW_PHILOX_LANES);
        if (i + 1 < n) {
            store(d, out + (i + 1) * 4 * WW_PHILOX_LANES);
        }
    }
}

/* Bits of words 0 and 1 of each counter, and of 2 and 3, are put between each other. */
ALWAYS void store_bits(const __m512i c[4], __m512i last, uint8_t *bits)
{
    const uint32_t set =
        _pdep_u32(_mm512_cmple_epu32_mask(pairs(c[0], c[1]), last), 0x33333333) |
        _pdep_u32(_mm512_cmple_epu32_mask(pairs(c[2], c[3]), last), 0xcccccccc);
    memcpy(bits, &set, sizeof(set));
}

TARGET void ww_philox_below_512(const uint32_t key[2], uint64_t at, uint32_t source,
                                uint32_t which, size_t n, uint32_t last, uint8_t *bits)
{
    const __m512i limit = _mm512_set1_epi32((int)last);
    struct keys keys;
    __m512i c[4];
    __m512i d[4];

    spread(key, &keys);
    for (size_t i = 0; i < n; i += 2) {
        draw_two(&keys, at + i * WW_PHILOX_LANES, source, which, c, d);
        store_bits(c, limit, bits + 4 * i);
        if (i + 1 < n) {
            store_bits(d, limit, bits + 4 * (i + 1));
        }
    }
}

#else

bool ww_philox_wide(void)
{
    return false;
}

void ww_philox_run_512(const uint32_t key[2], uint64_t at, uint32_t source,
                       uint32_t which, size_t n, uint32_t *out)
{
    ww_philox_run_x86(key, at, source, which, n, out);
}

void ww_philox_below_512(const uint32_t key[2], uint64_t at, uint32_t source,
                         uint32_t which, size_t n, uint32_t last, uint8_t *bits)
{
    (void)key, (void)at, (void)source, (void)which, (void)n, (void)last, (void)bits;
}

#endif
