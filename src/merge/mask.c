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
#define BY_PLACE 0u
#define BY_CONTENT 1u

uint64_t ww_mask_key_of(uint64_t seed, const char *name)
{
    uint8_t text[sizeof(LABEL) + 8 + WW_SHA256_BYTES] = LABEL;
    uint8_t digest[WW_SHA256_BYTES];

    ww_put_u64le(text + sizeof(LABEL), seed);
    ww_sha256_of(name, strlen(name), text + sizeof(LABEL) + 8);
    ww_sha256_of(text, sizeof(text), digest);
    return ww_get_u64le(digest);
}

uint64_t ww_mask_key(const struct ww_merge_job *job)
{
    return ww_mask_key_of(job->tensor->seed,
                          job->plan->order_free ? "" : job->tensor->name);
}

#define RUN (4 * (size_t)WW_PHILOX_LANES) /* words */

/* Runs of counters from `block` on. */
static void draw_runs(const uint32_t key[2], uint32_t source, uint64_t block, size_t n,
                      uint32_t *out)
{
    if (ww_philox_wide()) {
        ww_philox_run_512(key, block, source, BY_PLACE, n, out);
        return;
    }
    if (ww_philox_fast()) {
        ww_philox_run_x86(key, block, source, BY_PLACE, n, out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ww_philox_run(key, block + i * WW_PHILOX_LANES, source, BY_PLACE, out + i * RUN);
    }
}

static void draw_by_place(const uint32_t key[2], uint32_t source, uint64_t first,
                          size_t n, uint32_t *out)
{
    uint32_t words[RUN];

    for (size_t i = 0; i < n;) {
        const size_t skip = (first + i) % 4;
        const size_t whole = skip ? 0 : (n - i) / RUN;
        size_t take = whole * RUN;
        if (whole > 0) { /* they go where they belong at once */
            draw_runs(key, source, (first + i) / 4, whole, out + i);
        } else {
            take = ww_min_u64(RUN - skip, n - i);
            draw_runs(key, source, (first + i) / 4, 1, words);
            memcpy(out + i, words + skip, take * sizeof(*out));
        }
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

bool ww_mask_draw_bits(uint64_t key, uint32_t source, uint64_t first, size_t n,
                       uint32_t last, uint8_t *bits)
{
    const uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const bool whole = first % 4 == 0 && n % RUN == 0;

    if (!whole || !ww_philox_wide()) {
        return false;
    }
    ww_philox_below_512(k, first / 4, source, BY_PLACE, n / RUN, last, bits);
    return true;
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

/* Byte i of a word, 0 or 1, to bit 56 + i of the product: no two terms meet. */
#define GATHER UINT64_C(0x0102040810204080)
#define EACH_BYTE UINT64_C(0x0101010101010101)
#define BIT_OF_BYTE UINT64_C(0x8040201008040201)

WW_CLONES void ww_mask_pack(const uint8_t *mask, size_t n, uint8_t *bits)
{
    for (size_t i = 0; i < n / 8; i++) {
        uint64_t word;
        memcpy(&word, mask + 8 * i, sizeof(word));
        bits[i] = (uint8_t)(word * GATHER >> 56);
    }
    if (n % 8) {
        uint64_t word = 0;
        memcpy(&word, mask + n - n % 8, n % 8);
        bits[n / 8] = (uint8_t)(word * GATHER >> 56);
    }
}

WW_CLONES void ww_mask_unpack(const uint8_t *bits, size_t n, uint8_t *mask)
{
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = bits[at / 8] * EACH_BYTE & BIT_OF_BYTE;
        word = (word + 0x7f * EACH_BYTE) >> 7 & EACH_BYTE;
        memcpy(mask + at, &word, n - at < 8 ? n - at : 8);
    }
}

/* Bits are packed well before they are read as words: a word that was stored byte by byte
 * just now would be waited for. */
#define PLACES_STEP ((size_t)4096)
size_t ww_mask_places(const uint8_t *mask, size_t n, uint32_t *to)
{
    uint8_t bits[PLACES_STEP / 8 + 8];
    size_t m = 0;

    for (size_t at = 0; at < n; at += PLACES_STEP) {
        const size_t step = n - at < PLACES_STEP ? n - at : PLACES_STEP;
        ww_mask_pack(mask + at, step, bits);
        memset(bits + ww_div_up(step, 8), 0, 8);
        for (size_t word = 0; word < step; word += 64) {
            uint64_t set;
            memcpy(&set, bits + word / 8, sizeof(set));
            for (; set; set &= set - 1) {
                to[m++] = (uint32_t)(at + word + (size_t)__builtin_ctzll(set));
            }
        }
    }
    return m;
}
