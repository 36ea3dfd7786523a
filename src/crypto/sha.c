/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Around the compression of whole blocks: partial blocks and padding (FIPS 180-4, section
 * 5). Without SHA instructions OpenSSL does it all and two messages take twice the time.
 */
#include "crypto/sha.h"

#include <string.h>

#include "crypto/sha_blocks.h"
#include "util/num.h"

#define BLOCK 64u

enum ww_err ww_sha_init(struct ww_sha *s, bool fast, struct ww_error *err)
{
    *s = (struct ww_sha){0};
    if (!fast) {
        return ww_sha256_new(&s->plain, err);
    }
    ww_sha_reset(s);
    return WW_OK;
}

void ww_sha_release(struct ww_sha *s)
{
    ww_sha256_free(s->plain);
    *s = (struct ww_sha){0};
}

void ww_sha_reset(struct ww_sha *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    if (s->plain) {
        ww_sha256_reset(s->plain);
        return;
    }
    memcpy(s->state, start, sizeof(start));
    s->n_bytes = 0;
}

/* Bytes up to the end of a block already begun; how many were taken. */
static uint64_t fill_tail(struct ww_sha *s, const uint8_t *p, uint64_t n)
{
    uint64_t have = s->n_bytes % BLOCK;
    uint64_t take = have ? ww_min_u64(n, BLOCK - have) : 0;

    if (take == 0) {
        return 0;
    }
    memcpy(s->tail + have, p, take);
    s->n_bytes += take;
    if (s->n_bytes % BLOCK == 0) {
        ww_sha_blocks(s->state, s->tail, 1);
    }
    return take;
}

void ww_sha_update(struct ww_sha *s, const uint8_t *p, uint64_t n)
{
    if (n == 0) {
        return;
    }
    if (s->plain) {
        ww_sha256_update(s->plain, p, n);
        return;
    }
    uint64_t taken = fill_tail(s, p, n);
    uint64_t blocks = (n - taken) / BLOCK;
    ww_sha_blocks(s->state, p + taken, blocks);
    taken += blocks * BLOCK;
    memcpy(s->tail + (s->n_bytes + blocks * BLOCK) % BLOCK, p + taken, n - taken);
    s->n_bytes += blocks * BLOCK + (n - taken);
}

typedef void blocks_fn(uint32_t *const state[], const uint8_t *const p[], size_t n);

/* Whole blocks of all; how many. */
static uint64_t update_blocks(struct ww_sha *const s[], const uint8_t *const p[],
                              unsigned k, uint64_t n)
{
    static blocks_fn *const of[] = {ww_sha_blocks_2, ww_sha_blocks_3, ww_sha_blocks_4};
    uint32_t *state[WW_SHA_AT_ONCE];

    for (unsigned i = 0; i < k; i++) {
        state[i] = s[i]->state;
        s[i]->n_bytes += n * BLOCK;
    }
    of[k - 2](state, p, n);
    return n * BLOCK;
}

void ww_sha_update_all(struct ww_sha *const s[], const uint8_t *const p[], unsigned k,
                       uint64_t n)
{
    const uint8_t *at[WW_SHA_AT_ONCE];
    uint64_t most = 0;
    uint64_t done = 0;
    bool together = k > 1 && k <= WW_SHA_AT_ONCE;

    for (unsigned i = 0; i < k; i++) {
        together = together && !s[i]->plain;
    }
    for (unsigned i = 0; i < k && together; i++) {
        const uint64_t taken = fill_tail(s[i], p[i], n);
        at[i] = p[i] + taken;
        most = ww_max_u64(most, taken);
    }
    if (together && n - most >= BLOCK) {
        done = update_blocks(s, at, k, (n - most) / BLOCK);
    }
    for (unsigned i = 0; i < k; i++) {
        const uint8_t *rest = together ? at[i] + done : p[i];
        ww_sha_update(s[i], rest, n - (uint64_t)(rest - p[i]));
    }
}

void ww_sha_update_2(struct ww_sha *a, const uint8_t *p, struct ww_sha *b,
                     const uint8_t *q, uint64_t n)
{
    ww_sha_update_all((struct ww_sha *[]){a, b}, (const uint8_t *[]){p, q}, 2, n);
}

uint64_t ww_sha_rest_begin(struct ww_sha_rest *rest, struct ww_sha_quarters *q)
{
    uint64_t taken = 0;

    if (!rest || rest->sha->plain || rest->n < BLOCK) {
        return 0;
    }
    taken = fill_tail(rest->sha, rest->p, rest->n);
    rest->p += taken;
    rest->n -= taken;
    ww_sha_quarters_begin(q, rest->sha->state, rest->p);
    return rest->n / BLOCK;
}

void ww_sha_rest_end(struct ww_sha_rest *rest, const struct ww_sha_quarters *q)
{
    const uint64_t n = (uint64_t)(q->p - rest->p);

    ww_sha_quarters_end(q, rest->sha->state);
    rest->sha->n_bytes += n;
    rest->p += n;
    rest->n -= n;
}

void ww_sha_final(struct ww_sha *s, uint8_t out[WW_SHA256_BYTES])
{
    if (s->plain) {
        ww_sha256_final(s->plain, out);
        return;
    }
    uint8_t pad[2 * BLOCK] = {0x80};
    uint64_t bits = 8 * s->n_bytes;
    uint64_t n = BLOCK - (s->n_bytes + 8) % BLOCK; /* 1 to 64: what comes before the
                                                      length ends at 56 in a block */
    for (unsigned i = 0; i < 8; i++) {
        pad[n + i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    ww_sha_update(s, pad, n + 8);
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned b = 0; b < 4; b++) {
            out[4 * i + b] = (uint8_t)(s->state[i] >> (24 - 8 * b));
        }
    }
}
