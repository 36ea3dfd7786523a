/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChaCha20 (RFC 8439, nonce and first block counter zero) as a source of integers. Key
 * and unread stream lie in one guarded block that stays open as long as the stream lives;
 * the stream is made 4 KiB at a time, so a draw is a load in the usual case.
 *
 * Integers below n come by rejection. With r = 2^32 mod n, draws of 2^32 - r and above
 * are thrown away; what is left has the same number of draws for every remainder.
 */
#include "crypto/derive.h"

#include <string.h>

#include <sodium.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define BUFFER_BYTES 4096
#define BLOCK_BYTES 64
#define KEY_BYTES crypto_stream_chacha20_ietf_KEYBYTES

struct state {
    uint8_t key[KEY_BYTES];
    uint8_t buffer[BUFFER_BYTES];
};

struct ww_keystream {
    struct ww_secret *memory;
    struct state *state; /* inside memory, open */
    size_t used;         /* bytes of the buffer that were given out */
    uint32_t next_block;
};

enum ww_err ww_keystream_new(struct ww_secret *prk, const void *info, size_t info_len,
                             struct ww_keystream **out, struct ww_error *err)
{
    struct ww_keystream *ks = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ks = ww_calloc(1, sizeof(*ks));
    if (!ks) {
        return WW_FAIL_MEMORY(err, "a keystream");
    }
    rc = ww_secret_new(sizeof(struct state), &ks->memory, err);
    if (rc) {
        goto out;
    }
    ks->state = (struct state *)ww_secret_open(ks->memory);
    rc = ww_hkdf_expand(prk, info, info_len, ks->state->key, KEY_BYTES, err);
    if (rc) {
        goto out;
    }
    ks->used = BUFFER_BYTES;
    *out = ks;
    ks = NULL;
out:
    ww_keystream_free(ks);
    return rc;
}

void ww_keystream_free(struct ww_keystream *ks)
{
    if (ks) {
        ww_secret_free(ks->memory);
        ww_free(ks);
    }
}

static void refill(struct ww_keystream *ks)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {0};
    struct state *state = ks->state;

    /* The 32-bit block counter ends after 256 GiB, which no key asks for. */
    WW_INVARIANT(ks->next_block <= UINT32_MAX - BUFFER_BYTES / BLOCK_BYTES);
    memset(state->buffer, 0, BUFFER_BYTES);
    crypto_stream_chacha20_ietf_xor_ic(state->buffer, state->buffer, BUFFER_BYTES, nonce,
                                       ks->next_block, state->key);
    ks->next_block += BUFFER_BYTES / BLOCK_BYTES;
    ks->used = 0;
}

uint32_t ww_keystream_u32(struct ww_keystream *ks)
{
    if (ks->used == BUFFER_BYTES) {
        refill(ks);
    }
    const uint32_t value = ww_get_u32le(ks->state->buffer + ks->used);
    ks->used += 4;
    return value;
}

uint32_t ww_keystream_below(struct ww_keystream *ks, uint32_t n)
{
    uint32_t draw = 0;

    WW_INVARIANT(n >= 1);
    const uint32_t rest = (0u - n) % n; /* 2^32 mod n */
    do {
        draw = ww_keystream_u32(ks);
    } while (draw > UINT32_MAX - rest);
    return draw % n;
}

void ww_keystream_perm(struct ww_keystream *ks, uint32_t *perm, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        perm[i] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = ww_keystream_below(ks, i);
        const uint32_t kept = perm[i - 1];
        perm[i - 1] = perm[j];
        perm[j] = kept;
    }
}
