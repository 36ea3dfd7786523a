/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar 2015): each chunk has its
 * own tag, its position is in the nonce, and the last one is marked there, so chunks
 * cannot be swapped, dropped, doubled or cut off, and each may be used as soon as its tag
 * was checked. A key serves one file only, so a counter as nonce never repeats.
 */
#include "seal/seal_chunk.h"

#include <string.h>

#include "crypto/aead.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct chunk_state {
    const struct ww_seal_piece *piece;
    const uint8_t *key; /* open until the kernel is closed */
};

static void make_nonce(const struct ww_seal_head *head, uint64_t index,
                       uint8_t nonce[WW_AEAD_NONCE_BYTES])
{
    memset(nonce, 0, WW_AEAD_NONCE_BYTES);
    ww_put_u64le(nonce, index);
    nonce[WW_AEAD_NONCE_BYTES - 1] = index + 1 == ww_seal_n_chunks(head);
}

static enum ww_err chunk_seal(const struct ww_seal_head *head, const uint8_t *key,
                              uint64_t index, const uint8_t *in, size_t n, uint8_t *out,
                              struct ww_error *err)
{
    uint8_t nonce[WW_AEAD_NONCE_BYTES];

    make_nonce(head, index, nonce);
    return ww_aead_seal((enum ww_aead_cipher)head->cipher, key, nonce, in, n, out, err);
}

enum ww_err ww_seal_chunk_open(const struct ww_seal_head *head, const uint8_t *key,
                               uint64_t index, const uint8_t *in, size_t n, uint8_t *out,
                               struct ww_error *err)
{
    uint8_t nonce[WW_AEAD_NONCE_BYTES];
    bool good = false;

    make_nonce(head, index, nonce);
    enum ww_err rc = ww_aead_open((enum ww_aead_cipher)head->cipher, key, nonce, in, n,
                                  out, &good, err);
    if (!rc && !good) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "sealed file '%s%s': chunk %llu of %llu was altered or moved",
                     head->name, WW_SEAL_SUFFIX, (unsigned long long)index + 1,
                     (unsigned long long)ww_seal_n_chunks(head));
    }
    return rc;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **out, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct chunk_state *state = ww_calloc(1, sizeof(*state));

    (void)n_rows;
    (void)row_bytes;
    (void)n_tiles;
    *row_map = NULL;
    *out = state;
    if (!state) {
        return WW_FAIL_MEMORY(err, "a cipher");
    }
    state->piece = params;
    state->key = ww_secret_open(state->piece->key);
    return WW_OK;
}

static enum ww_err kernel_close(void *opaque, bool complete, struct ww_error *err)
{
    struct chunk_state *state = opaque;

    (void)complete;
    (void)err;
    ww_secret_close(state->piece->key);
    ww_free(state);
    return WW_OK;
}

static enum ww_err seal_run(void *opaque, const struct ww_tile *tile,
                            struct ww_error *err)
{
    const struct chunk_state *state = opaque;
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < tile->n_rows && !rc; i++) {
        rc = chunk_seal(state->piece->head, state->key,
                        state->piece->first + tile->first_row + i, tile->rows[0][i],
                        (size_t)(tile->row_bytes - WW_AEAD_TAG_BYTES),
                        tile->out + i * tile->row_bytes, err);
    }
    return rc;
}

static enum ww_err unseal_run(void *opaque, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct chunk_state *state = opaque;
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < tile->n_rows && !rc; i++) {
        rc = ww_seal_chunk_open(state->piece->head, state->key,
                                state->piece->first + tile->first_row + i,
                                tile->rows[0][i], (size_t)tile->row_bytes,
                                tile->out + i * tile->row_bytes, err);
    }
    return rc;
}

const struct ww_kernel ww_seal_kernel = {
    .name = "seal",
    .open = kernel_open,
    .run = seal_run,
    .close = kernel_close,
};

const struct ww_kernel ww_unseal_kernel = {
    .name = "unseal",
    .open = kernel_open,
    .run = unseal_run,
    .close = kernel_close,
};
