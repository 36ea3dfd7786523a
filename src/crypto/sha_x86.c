/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) with the SHA instructions of x86, for up to four messages at once.
 * sha256rnds2 takes four cycles and each waits for the one before, but another can begin
 * after two, on some processors (Zen 4) after one: a message alone leaves the unit idle.
 * With the rounds of two interleaved two digests take little more time than one; three
 * and four gain 5 to 12 % more, less what registers that are too few for them cost. The
 * order of the instructions follows Intel's "New Instructions Supporting the Secure Hash
 * Algorithm" (2013); state words are kept as ABEF and CDGH.
 *
 * What else keeps the unit busy is work of another kind, a few dozen instructions of each
 * in turn, as far as a processor looks ahead. The instructions have no form that leaves
 * the upper halves of vectors alone, and cost hundreds of cycles where those are in use:
 * so quarters are functions of their own, before whose calls compilers clear them.
 */
#include "crypto/sha_blocks.h"

#include "crypto/sha_rounds.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define ALWAYS __attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline
#define AHEAD 1024u /* bytes: hardware does not look past the end of a page */

const uint32_t ww_sha_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

bool ww_sha_fast(void)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 29))) {
        return false;
    }
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 19)) && (c & (1u << 9));
}

ALWAYS struct ww_sha_halves load_state(const uint32_t state[8])
{
    __m128i lo = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hi = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    lo = _mm_shuffle_epi32(lo, 0xB1); /* CDAB */
    hi = _mm_shuffle_epi32(hi, 0x1B); /* EFGH */
    return (struct ww_sha_halves){_mm_alignr_epi8(lo, hi, 8),
                                  _mm_blend_epi16(hi, lo, 0xF0)};
}

ALWAYS void store_state(uint32_t state[8], struct ww_sha_halves h)
{
    __m128i lo = _mm_shuffle_epi32(h.abef, 0x1B); /* FEBA */
    __m128i hi = _mm_shuffle_epi32(h.cdgh, 0xB1); /* DCHG */
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(lo, hi, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(hi, lo, 8));
}

/* K messages side by side: unrolled, since K is known where it is called. */
ALWAYS void blocks(uint32_t *const state[], const uint8_t *const p[], size_t n,
                   const unsigned k)
{
    struct ww_sha_halves h[WW_SHA_AT_ONCE];

    for (unsigned m = 0; m < k; m++) {
        h[m] = load_state(state[m]);
    }
    for (size_t at = 0; at < 64 * n; at += 64) {
        struct ww_sha_halves before[WW_SHA_AT_ONCE];
        __m128i w[WW_SHA_AT_ONCE][4];
#pragma GCC unroll 4
        for (unsigned m = 0; m < k; m++) {
            before[m] = h[m];
            __builtin_prefetch(p[m] + at + AHEAD);
        }
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++) {
#pragma GCC unroll 4
            for (unsigned m = 0; m < k; m++) {
                __m128i *v = w[m];
                v[i % 4] = i < 4 ? ww_sha_words(p[m] + at + (size_t)16 * i)
                                 : ww_sha_schedule(v[i % 4], v[(i + 1) % 4],
                                                   v[(i + 2) % 4], v[(i + 3) % 4]);
                ww_sha_rounds(&h[m], v[i % 4], i);
            }
        }
#pragma GCC unroll 4
        for (unsigned m = 0; m < k; m++) {
            h[m].abef = _mm_add_epi32(h[m].abef, before[m].abef);
            h[m].cdgh = _mm_add_epi32(h[m].cdgh, before[m].cdgh);
        }
    }
    for (unsigned m = 0; m < k; m++) {
        store_state(state[m], h[m]);
    }
}

TARGET void ww_sha_blocks(uint32_t state[8], const uint8_t *p, size_t n)
{
    blocks(&state, &p, n, 1);
}

TARGET void ww_sha_blocks_2(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    blocks(state, p, n, 2);
}

TARGET void ww_sha_blocks_3(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    blocks(state, p, n, 3);
}

TARGET void ww_sha_blocks_4(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    blocks(state, p, n, 4);
}

/* Clearing happens at calls of what is not known to leave registers alone. */
#if defined(__has_attribute)
#if __has_attribute(noipa)
#define APART __attribute__((noipa))
#endif
#endif
#ifndef APART
#define APART __attribute__((noinline))
#endif
#define TARGET_QUARTER __attribute__((target("sha,avx")))
#define ALWAYS_QUARTER __attribute__((target("sha,avx"), always_inline)) static inline

ALWAYS_QUARTER __m128i get(const uint32_t *from)
{
    return _mm_load_si128((const __m128i *)(const void *)from);
}

ALWAYS_QUARTER void put(uint32_t *to, __m128i value)
{
    _mm_store_si128((__m128i *)(void *)to, value);
}

ALWAYS_QUARTER void quarter(struct ww_sha_quarters *q, unsigned part)
{
    struct ww_sha_halves h = {get(q->abef), get(q->cdgh)};
    __m128i w[4];

#pragma GCC unroll 4
    for (unsigned i = 0; i < 4 && part > 0; i++) {
        w[i] = get(q->words[i]);
    }
    if (part == 0) {
        put(q->before[0], h.abef);
        put(q->before[1], h.cdgh);
    }
    ww_sha_quarter(&h, w, q->p, part);
    if (part == 3) {
        h.abef = _mm_add_epi32(h.abef, get(q->before[0]));
        h.cdgh = _mm_add_epi32(h.cdgh, get(q->before[1]));
        q->p += 64;
    }
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4 && part < 3; i++) {
        put(q->words[i], w[i]);
    }
    put(q->abef, h.abef);
    put(q->cdgh, h.cdgh);
}

APART TARGET_QUARTER void ww_sha_quarter_1(struct ww_sha_quarters *q)
{
    quarter(q, 0);
}

APART TARGET_QUARTER void ww_sha_quarter_2(struct ww_sha_quarters *q)
{
    quarter(q, 1);
}

APART TARGET_QUARTER void ww_sha_quarter_3(struct ww_sha_quarters *q)
{
    quarter(q, 2);
}

APART TARGET_QUARTER void ww_sha_quarter_4(struct ww_sha_quarters *q)
{
    quarter(q, 3);
}

APART TARGET void ww_sha_quarters_begin(struct ww_sha_quarters *q,
                                        const uint32_t state[8], const uint8_t *p)
{
    const struct ww_sha_halves h = load_state(state);

    _mm_store_si128((__m128i *)(void *)q->abef, h.abef);
    _mm_store_si128((__m128i *)(void *)q->cdgh, h.cdgh);
    q->p = p;
}

APART TARGET void ww_sha_quarters_end(const struct ww_sha_quarters *q, uint32_t state[8])
{
    store_state(state, (struct ww_sha_halves){
                           _mm_load_si128((const __m128i *)(const void *)q->abef),
                           _mm_load_si128((const __m128i *)(const void *)q->cdgh)});
}

#else

/* Never called: ww_sha_fast says no. */
bool ww_sha_fast(void)
{
    return false;
}

void ww_sha_blocks(uint32_t state[8], const uint8_t *p, size_t n)
{
    (void)state;
    (void)p;
    (void)n;
}

void ww_sha_blocks_2(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    (void)state;
    (void)p;
    (void)n;
}

void ww_sha_blocks_3(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    (void)state;
    (void)p;
    (void)n;
}

void ww_sha_blocks_4(uint32_t *const state[], const uint8_t *const p[], size_t n)
{
    (void)state;
    (void)p;
    (void)n;
}

void ww_sha_quarter_1(struct ww_sha_quarters *q)
{
    (void)q;
}

void ww_sha_quarter_2(struct ww_sha_quarters *q)
{
    (void)q;
}

void ww_sha_quarter_3(struct ww_sha_quarters *q)
{
    (void)q;
}

void ww_sha_quarter_4(struct ww_sha_quarters *q)
{
    (void)q;
}

void ww_sha_quarters_begin(struct ww_sha_quarters *q, const uint32_t state[8],
                           const uint8_t *p)
{
    (void)q;
    (void)state;
    (void)p;
}

void ww_sha_quarters_end(const struct ww_sha_quarters *q, uint32_t state[8])
{
    (void)q;
    (void)state;
}

#endif
