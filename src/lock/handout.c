/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One more step of HKDF (RFC 5869) in front of the draws. The nonce makes the elements of
 * a copy unpredictable even to somebody who chose the name, which is what the chance
 * probability of a trace rests on.
 */
#include "lock/handout.h"

#include <string.h>

#include "lock/draw.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define HANDOUT_LABEL "weightward/lock/handout/v1"
#define ELEMENT_LABEL "weightward/lock/handout-element/v1"
#define SECRET_BYTES 32
#define MAX_NAME_BYTES 200

enum ww_err ww_handout_check_name(const char *name, struct ww_error *err)
{
    const size_t len = strlen(name);

    if (len == 0 || len > MAX_NAME_BYTES || !ww_text_ok((const uint8_t *)name, len)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "the recipient's name has %zu bytes or holds control characters, "
                       "expected 1 to %d bytes of UTF-8",
                       len, MAX_NAME_BYTES);
    }
    return WW_OK;
}

static size_t put_name(const struct ww_handout *handout,
                       uint8_t out[4 + MAX_NAME_BYTES + WW_HANDOUT_NONCE_BYTES])
{
    const size_t len = strlen(handout->name);

    ww_put_u32le(out, (uint32_t)len);
    memcpy(out + 4, handout->name, len);
    memcpy(out + 4 + len, handout->nonce, WW_HANDOUT_NONCE_BYTES);
    return 4 + len + WW_HANDOUT_NONCE_BYTES;
}

enum ww_err ww_handout_secret(struct ww_secret *secret, const struct ww_handout *handout,
                              struct ww_secret **out, struct ww_error *err)
{
    uint8_t extra[4 + MAX_NAME_BYTES + WW_HANDOUT_NONCE_BYTES];
    struct ww_secret *prk = NULL;
    struct ww_secret *own = NULL;
    size_t len = 0;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!handout) {
        return WW_OK;
    }
    rc = ww_handout_check_name(handout->name, err);
    if (rc) {
        goto out;
    }
    rc = ww_draw_root(secret, &prk, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(SECRET_BYTES, &own, err);
    if (rc) {
        goto out;
    }
    len = put_name(handout, extra);
    rc = ww_draw_key(prk, HANDOUT_LABEL, extra, len, ww_secret_open(own), SECRET_BYTES,
                     err);
    ww_secret_close(own);
    if (rc) {
        goto out;
    }
    *out = own;
    own = NULL;
out:
    ww_secret_free(own);
    ww_secret_free(prk);
    return rc;
}

enum ww_err ww_handout_element(struct ww_secret *secret, const struct ww_handout *handout,
                               const uint8_t lock_id[WW_SHA256_BYTES],
                               uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_secret *own = NULL;
    struct ww_secret *prk = NULL;
    enum ww_err rc = ww_handout_secret(secret, handout, &own, err);

    if (rc) {
        goto out;
    }
    rc = ww_draw_root(own, &prk, err);
    if (rc) {
        goto out;
    }
    rc = ww_draw_key(prk, ELEMENT_LABEL, lock_id, WW_SHA256_BYTES, out, WW_SHA256_BYTES,
                     err);
out:
    ww_secret_free(prk);
    ww_secret_free(own);
    return rc;
}
