/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds of SHA-256 by the SHA instructions of x86, for who has vectors of its own
 * between them: see sha_x86.c. The including function's target has them and SSE4.1. */
#ifndef WW_CRYPTO_SHA_ROUNDS_H
#define WW_CRYPTO_SHA_ROUNDS_H

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <stdint.h>

#define WW_SHA_ALWAYS                                                                    \
    __attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline

/** Those of FIPS 180-4, aligned to vectors. */
extern const uint32_t ww_sha_constants[64];

/** State words a, b, e, f and c, d, g, h. */
struct ww_sha_halves {
    __m128i abef;
    __m128i cdgh;
};

/** Four words of a block. */
WW_SHA_ALWAYS __m128i ww_sha_words(const uint8_t *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), swap);
}

/** Rounds 4 k to 4 k + 3; w are the schedule's words for them. */
WW_SHA_ALWAYS void ww_sha_rounds(struct ww_sha_halves *h, __m128i w, unsigned k)
{
    const __m128i *constants = (const __m128i *)(const void *)ww_sha_constants;
    __m128i wk = _mm_add_epi32(w, _mm_load_si128(constants + k));
    h->cdgh = _mm_sha256rnds2_epu32(h->cdgh, h->abef, wk);
    h->abef = _mm_sha256rnds2_epu32(h->abef, h->cdgh, _mm_shuffle_epi32(wk, 0x0E));
}

/** The next four words of the schedule from the last sixteen. */
WW_SHA_ALWAYS __m128i ww_sha_schedule(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    __m128i t = _mm_sha256msg1_epu32(w0, w1);
    t = _mm_add_epi32(t, _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(t, w3);
}

/** Rounds 16 part to 16 part + 15 of the block at p; w passes from part to part. */
WW_SHA_ALWAYS void ww_sha_quarter(struct ww_sha_halves *h, __m128i w[4], const uint8_t *p,
                                  unsigned part)
{
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        w[i] = part == 0 ? ww_sha_words(p + (size_t)16 * i)
                         : ww_sha_schedule(w[i], w[(i + 1) % 4], w[(i + 2) % 4],
                                           w[(i + 3) % 4]);
        ww_sha_rounds(h, w[i], 4 * part + i);
    }
}

#endif
#endif
