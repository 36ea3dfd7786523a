/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HKDF (RFC 5869) over libsodium's HMAC-SHA256. The inputs are short, so speed does not
 * matter, and libsodium's HMAC needs no memory and cannot fail half-way.
 */
#include "crypto/derive.h"

#include <string.h>

#include <sodium.h>

#include "util/fail.h"

#define HASH_BYTES crypto_auth_hmacsha256_BYTES

enum ww_err ww_hkdf_extract(struct ww_secret *secret, const void *salt, size_t salt_len,
                            struct ww_secret **prk, struct ww_error *err)
{
    crypto_auth_hmacsha256_state state;
    struct ww_secret *fresh = NULL;
    enum ww_err rc = WW_OK;

    *prk = NULL;
    rc = ww_secret_new(WW_PRK_BYTES, &fresh, err);
    if (rc) {
        return rc;
    }
    crypto_auth_hmacsha256_init(&state, salt_len ? salt : (const void *)"", salt_len);
    crypto_auth_hmacsha256_update(&state, ww_secret_open(secret), ww_secret_len(secret));
    crypto_auth_hmacsha256_final(&state, ww_secret_open(fresh));
    ww_secret_close(secret);
    ww_secret_close(fresh);
    ww_wipe(&state, sizeof(state));
    *prk = fresh;
    return WW_OK;
}

enum ww_err ww_hkdf_expand(struct ww_secret *prk, const void *info, size_t info_len,
                           uint8_t *out, size_t out_len, struct ww_error *err)
{
    crypto_auth_hmacsha256_state state;
    uint8_t block[HASH_BYTES];
    size_t done = 0;

    if (out_len > 255 * HASH_BYTES) {
        return WW_FAIL(err, WW_E_USAGE,
                       "%zu bytes asked of a key derivation, at most %d exist", out_len,
                       255 * HASH_BYTES);
    }
    const uint8_t *key = ww_secret_open(prk);
    for (uint8_t counter = 1; done < out_len; counter++) {
        const size_t n = out_len - done < HASH_BYTES ? out_len - done : HASH_BYTES;
        crypto_auth_hmacsha256_init(&state, key, ww_secret_len(prk));
        crypto_auth_hmacsha256_update(&state, block, counter == 1 ? 0 : HASH_BYTES);
        crypto_auth_hmacsha256_update(&state, info_len ? info : (const void *)"",
                                      info_len);
        crypto_auth_hmacsha256_update(&state, &counter, 1);
        crypto_auth_hmacsha256_final(&state, block);
        memcpy(out + done, block, n);
        done += n;
    }
    ww_secret_close(prk);
    ww_wipe(&state, sizeof(state));
    ww_wipe(block, sizeof(block));
    return WW_OK;
}
