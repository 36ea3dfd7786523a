/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a section at any place: of a sealed one, the pieces that the bytes lie in. */
#include <string.h>

#include "crypto/aead.h"
#include "rmm/section.h"
#include "rmm/section_nonce.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define SEALED_PIECE ((uint64_t)WW_SECTION_PIECE + WW_AEAD_TAG_BYTES)

static uint64_t n_pieces(const struct ww_section_in *in)
{
    return ww_div_up(in->bytes, SEALED_PIECE);
}

enum ww_err ww_section_open(struct ww_section_in *in, struct ww_error *err)
{
    in->open_key = NULL;
    in->plain_bytes = in->bytes;
    if (!in->key) {
        return WW_OK;
    }
    if (in->bytes <= WW_AEAD_TAG_BYTES ||
        (in->bytes % SEALED_PIECE > 0 && in->bytes % SEALED_PIECE <= WW_AEAD_TAG_BYTES)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "member '%s': a sealed section of %llu bytes cannot be", in->name,
                       (unsigned long long)in->bytes);
    }
    in->plain_bytes = in->bytes - n_pieces(in) * WW_AEAD_TAG_BYTES;
    in->open_key = ww_secret_open(in->key);
    return WW_OK;
}

void ww_section_close(struct ww_section_in *in)
{
    if (in->open_key) {
        ww_secret_close(in->key);
        in->open_key = NULL;
    }
}

/* One piece into room, which has SEALED_PIECE bytes; *n of plaintext. */
static enum ww_err open_piece(const struct ww_section_in *in, uint64_t index,
                              uint8_t *room, size_t *n, struct ww_error *err)
{
    const uint64_t begin = index * SEALED_PIECE;
    const size_t len = (size_t)ww_min_u64(SEALED_PIECE, in->bytes - begin);
    uint8_t nonce[WW_AEAD_NONCE_BYTES];
    bool good = false;
    enum ww_err rc = ww_pread_full(in->fd, room, len, in->offset + begin, in->name, err);

    *n = len - WW_AEAD_TAG_BYTES;
    ww_section_nonce(index, index + 1 == n_pieces(in), nonce);
    if (!rc) {
        rc = ww_aead_open((enum ww_aead_cipher)in->cipher, in->open_key, nonce, room, *n,
                          room, &good, err);
    }
    if (!rc && !good) {
        rc = WW_FAIL(
            err, WW_E_SEALED,
            "member '%s': piece %llu of %llu was altered or moved, or belongs to "
            "another key",
            in->name, (unsigned long long)index + 1, (unsigned long long)n_pieces(in));
    }
    return rc;
}

enum ww_err ww_section_read(const struct ww_section_in *in, uint64_t at, void *out,
                            size_t n, struct ww_error *err)
{
    uint8_t *to = out;
    uint8_t *room = NULL;
    enum ww_err rc = WW_OK;

    if (at > in->plain_bytes || n > in->plain_bytes - at) {
        return WW_FAIL(err, WW_E_MALFORMED, "member '%s': its section is too short",
                       in->name);
    }
    if (!in->key) {
        return ww_pread_full(in->fd, out, n, in->offset + at, in->name, err);
    }
    room = ww_calloc(1, (size_t)SEALED_PIECE);
    if (!room) {
        return WW_FAIL_MEMORY(err, "a section");
    }
    while (n > 0 && !rc) {
        const size_t skip = (size_t)(at % WW_SECTION_PIECE);
        size_t len = 0;
        rc = open_piece(in, at / WW_SECTION_PIECE, room, &len, err);
        if (!rc) {
            const size_t take = len - skip < n ? len - skip : n;
            memcpy(to, room + skip, take);
            to += take;
            at += take;
            n -= take;
        }
    }
    ww_wipe(room, (size_t)SEALED_PIECE);
    ww_free(room);
    return rc;
}
