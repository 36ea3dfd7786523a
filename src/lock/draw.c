/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every draw is named by what it is for and by the owner's name in the layout, not by
 * file, shard or model: two models of one architecture that are locked with one key get
 * the same transform, so coordinate-wise merging works on the locked files.
 */
#include "lock/draw.h"

#include <string.h>

#include "crypto/hash.h"
#include "util/buf.h"
#include "util/fail.h"

#define SECRET_BYTES 32
#define SALT_LABEL "weightward/lock/v1"
#define DRAW_LABEL "weightward/lock/draw/v1"
#define MAX_EXPONENT 5

enum ww_err ww_draw_root(struct ww_secret *secret, struct ww_secret **prk,
                         struct ww_error *err)
{
    uint8_t salt[WW_SHA256_BYTES];

    *prk = NULL;
    if (ww_secret_len(secret) != SECRET_BYTES) {
        return WW_FAIL(err, WW_E_KEY, "the lock key holds %zu bytes, expected %d",
                       ww_secret_len(secret), SECRET_BYTES);
    }
    ww_sha256_of(SALT_LABEL, strlen(SALT_LABEL), salt);
    return ww_hkdf_extract(secret, salt, sizeof(salt), prk, err);
}

static enum ww_err add_str(struct ww_buf *info, const char *s, struct ww_error *err)
{
    const size_t len = strlen(s);
    enum ww_err rc = ww_buf_add_u32le(info, (uint32_t)len, err);
    if (!rc) {
        rc = ww_buf_add(info, s, len, err);
    }
    return rc;
}

static enum ww_err make_info(struct ww_buf *info, const char *kind, const char *owner,
                             uint64_t a, uint64_t b, struct ww_error *err)
{
    const char *const parts[] = {DRAW_LABEL, kind, owner};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(parts) && !rc; i++) {
        rc = add_str(info, parts[i], err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(info, a, err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(info, b, err);
    }
    return rc;
}

enum ww_err ww_draw_key(struct ww_secret *prk, const char *label, const void *extra,
                        size_t extra_len, uint8_t *out, size_t out_len,
                        struct ww_error *err)
{
    struct ww_buf info;
    enum ww_err rc = WW_OK;

    ww_buf_init(&info, 4096);
    rc = add_str(&info, label, err);
    if (!rc && extra_len > 0) {
        rc = ww_buf_add(&info, extra, extra_len, err);
    }
    if (!rc) {
        rc = ww_hkdf_expand(prk, info.data, info.len, out, out_len, err);
    }
    ww_buf_release(&info);
    return rc;
}

enum ww_err ww_draw_open(struct ww_draw *draw, struct ww_secret *prk, const char *kind,
                         const char *owner, uint64_t a, uint64_t b, struct ww_error *err)
{
    struct ww_buf info;
    enum ww_err rc = WW_OK;

    draw->ks = NULL;
    ww_buf_init(&info, 4096);
    rc = make_info(&info, kind, owner, a, b, err);
    if (rc) {
        goto out;
    }
    rc = ww_keystream_new(prk, info.data, info.len, &draw->ks, err);
out:
    ww_buf_release(&info);
    return rc;
}

void ww_draw_close(struct ww_draw *draw)
{
    ww_keystream_free(draw->ks);
    draw->ks = NULL;
}

void ww_draw_perm(struct ww_draw *draw, uint32_t *perm, uint32_t n)
{
    ww_keystream_perm(draw->ks, perm, n);
}

void ww_draw_bits(struct ww_draw *draw, unsigned width, uint8_t *out, uint32_t n)
{
    uint32_t word = 0;
    unsigned left = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (left < width) {
            word = ww_keystream_u32(draw->ks);
            left = 32;
        }
        out[i] = (uint8_t)(word & ((1u << width) - 1));
        word >>= width;
        left -= width;
    }
}

void ww_draw_exponents(struct ww_draw *draw, int8_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t value = ww_keystream_below(draw->ks, 2 * MAX_EXPONENT + 1);
        out[i] = (int8_t)((int)value - MAX_EXPONENT);
    }
}
