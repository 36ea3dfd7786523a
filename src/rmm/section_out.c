/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed section is written without its length being known: the STREAM construction
 * (Hoang, Reyhanitabar, Rogaway, Vizar 2015) marks the last piece in its nonce, so one
 * piece is held back until there is more.
 */
#include <string.h>

#include "crypto/aead.h"
#include "crypto/sha_blocks.h"
#include "rmm/section.h"
#include "rmm/section_nonce.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

enum ww_err ww_section_begin(struct ww_section_out *out, struct ww_error *err)
{
    enum ww_err rc = ww_sha_init(&out->sha, ww_sha_fast(), err);

    ww_buf_init(&out->piece, WW_SECTION_PIECE);
    if (!rc && out->key) {
        out->sealed = ww_calloc(1, WW_SECTION_PIECE + WW_AEAD_TAG_BYTES);
        rc = out->sealed ? ww_buf_reserve(&out->piece, WW_SECTION_PIECE, err)
                         : WW_FAIL_MEMORY(err, "a section");
    }
    return rc;
}

/* Of n bytes that are written, and as many of those beside them. */
static void digest(struct ww_section_out *out, const uint8_t *bytes, size_t n)
{
    struct ww_section_beside *b = &out->beside;
    const size_t both = b->n < n ? b->n : n;

    if (both > 0) {
        ww_sha_update_2(&out->sha, bytes, b->sha, b->bytes, both);
        b->bytes += both;
        b->n -= both;
    }
    ww_sha_update(&out->sha, bytes + both, n - both);
}

static enum ww_err put(struct ww_section_out *out, const uint8_t *bytes, size_t n,
                       struct ww_error *err)
{
    const enum ww_err rc = ww_pwrite_full(out->fd, bytes, n, out->at, out->name, err);

    digest(out, bytes, n);
    out->at += n;
    out->bytes += n;
    return rc;
}

static enum ww_err seal_piece(struct ww_section_out *out, bool last, struct ww_error *err)
{
    uint8_t nonce[WW_AEAD_NONCE_BYTES];
    enum ww_err rc = WW_OK;

    ww_section_nonce(out->index++, last, nonce);
    rc = ww_aead_seal((enum ww_aead_cipher)out->cipher, ww_secret_open(out->key), nonce,
                      out->piece.data, out->piece.len, out->sealed, err);
    ww_secret_close(out->key);
    if (!rc) {
        rc = put(out, out->sealed, out->piece.len + WW_AEAD_TAG_BYTES, err);
    }
    ww_buf_clear(&out->piece);
    return rc;
}

enum ww_err ww_section_add(struct ww_section_out *out, const void *bytes, size_t n,
                           struct ww_error *err)
{
    const uint8_t *at = bytes;
    enum ww_err rc = WW_OK;

    out->plain_bytes += n;
    if (!out->key) {
        return put(out, bytes, n, err);
    }
    while (n > 0 && !rc) {
        if (out->piece.len == WW_SECTION_PIECE) {
            rc = seal_piece(out, false, err);
        }
        if (!rc) {
            const size_t room = WW_SECTION_PIECE - out->piece.len;
            const size_t take = n < room ? n : room;
            rc = ww_buf_add(&out->piece, at, take, err);
            at += take;
            n -= take;
        }
    }
    return rc;
}

enum ww_err ww_section_add_beside(struct ww_section_out *out, const void *bytes, size_t n,
                                  struct ww_section_beside beside, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    out->beside = beside;
    rc = ww_section_add(out, bytes, n, err);
    ww_sha_update(beside.sha, out->beside.bytes, out->beside.n);
    out->beside = (struct ww_section_beside){0};
    return rc;
}

enum ww_err ww_section_end(struct ww_section_out *out, uint8_t sha256[WW_SHA256_BYTES],
                           struct ww_error *err)
{
    const enum ww_err rc = out->key ? seal_piece(out, true, err) : WW_OK;

    ww_sha_final(&out->sha, sha256);
    return rc;
}

void ww_section_out_release(struct ww_section_out *out)
{
    ww_sha_release(&out->sha);
    if (out->sealed &&
        out->piece.data) { /* whole from the beginning, so in no other place */
        ww_wipe(out->piece.data, WW_SECTION_PIECE);
    }
    ww_buf_release(&out->piece);
    ww_free(out->sealed);
    memset(out, 0, sizeof(*out));
}
