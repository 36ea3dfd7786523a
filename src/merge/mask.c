/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter-based generator: element i of source s draws word i mod 4 of block i / 4, so
 * the mask is the same for any tiling, thread count or order of tensors. By content, the
 * counter is a hash of the element's values instead: a permutation of the elements, or a
 * sign on all models at once, moves the mask along with them.
 */
#include "merge/mask.h"

#include <string.h>

#include "crypto/hash.h"
#include "la/philox.h"
#include "util/clones.h"
#include "util/num.h"

#define LABEL "weightward merge mask v1"
#define ROUNDS 10
#define BY_PLACE 0u
#define BY_CONTENT 1u

uint64_t ww_mask_key(const struct ww_merge_job *job)
{
    uint8_t text[sizeof(LABEL) + 8 + WW_SHA256_BYTES] = LABEL;
    uint8_t digest[WW_SHA256_BYTES];
    const char *name = job->plan->order_free ? "" : job->tensor->name;

    ww_put_u64le(text + sizeof(LABEL), job->tensor->seed);
    ww_sha256_of(name, strlen(name), text + sizeof(LABEL) + 8);
    ww_sha256_of(text, sizeof(text), digest);
    return ww_get_u64le(digest);
}

/* Counters at, at + 1, ... of one source, LANES of them side by side for the vector units:
 * out is word after word of each. */
#define LANES 8u
WW_CLONES static void philox_run(const uint32_t key[2], uint64_t at, uint32_t source,
                                 uint32_t out[4 * LANES])
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];

    for (uint32_t l = 0; l < LANES; l++) {
        c0[l] = (uint32_t)(at + l);
        c1[l] = (uint32_t)((at + l) >> 32);
        c2[l] = source;
        c3[l] = BY_PLACE;
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (uint32_t l = 0; l < LANES; l++) {
            uint64_t a = (uint64_t)0xD2511F53U * c0[l];
            uint64_t b = (uint64_t)0xCD9E8D57U * c2[l];
            c0[l] = (uint32_t)(b >> 32) ^ c1[l] ^ k0;
            c1[l] = (uint32_t)b;
            c2[l] = (uint32_t)(a >> 32) ^ c3[l] ^ k1;
            c3[l] = (uint32_t)a;
        }
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    for (uint32_t l = 0; l < LANES; l++) {
        out[4 * l] = c0[l];
        out[4 * l + 1] = c1[l];
        out[4 * l + 2] = c2[l];
        out[4 * l + 3] = c3[l];
    }
}

static void draw_by_place(const uint32_t key[2], uint32_t source, uint64_t first, size_t n,
                          uint32_t *out)
{
    uint32_t words[4 * LANES];

    for (size_t i = 0; i < n;) {
        size_t skip = (first + i) % 4;
        size_t take = sizeof(words) / sizeof(words[0]) - skip;
        take = take < n - i ? take : n - i;
        philox_run(key, (first + i) / 4, source, words);
        memcpy(out + i, words + skip, take * sizeof(*out));
        i += take;
    }
}

void ww_mask_draw(uint64_t key, uint32_t source, uint64_t first, size_t n,
                  const uint64_t *hashes, uint32_t *out)
{
    const uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    uint32_t words[4];

    if (!hashes) {
        draw_by_place(k, source, first, n, out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = {(uint32_t)hashes[i], (uint32_t)(hashes[i] >> 32),
                                     source, BY_CONTENT};
        ww_philox(k, counter, words);
        out[i] = words[0];
    }
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Take a value in: its sign counts relative to that of the first one that is not 0. */
static uint64_t add_value(uint64_t hash, double v, uint64_t *sign)
{
    const uint64_t minus = (uint64_t)1 << 63;
    uint64_t bits = 0;

    if (v != 0) {
        memcpy(&bits, &v, sizeof(bits));
        if (*sign == 1) {
            *sign = bits & minus;
        }
        bits ^= *sign;
    }
    return mix(hash ^ bits) + UINT64_C(0x9e3779b97f4a7c15);
}

void ww_mask_hash(const struct ww_merge_job *job, const struct ww_merge_block *block,
                  uint64_t *hashes)
{
    for (size_t i = 0; i < block->n; i++) {
        uint64_t hash = 0;
        uint64_t sign = 1; /* none yet */
        if (block->base) {
            hash = add_value(hash, block->base[i], &sign);
        }
        for (uint32_t s = 0; s < job->n_x; s++) {
            hash = add_value(hash, block->x[s][i], &sign);
        }
        hashes[i] = hash;
    }
}
