/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of transparency logs, which sign with more algorithms than models are signed with.
 */
#ifndef WW_CRYPTO_LOGKEY_H
#define WW_CRYPTO_LOGKEY_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/hash.h"

struct ww_logkey;

/** From SPKI DER: ECDSA on a curve of ours, Ed25519, or RSA of at least 2048 bits.
 *  WW_E_KEYFILE when malformed, WW_E_KEY on another algorithm. */
enum ww_err ww_logkey_from_der(const uint8_t *der, size_t len, struct ww_logkey **out,
                               struct ww_error *err) WW_MUST_USE;
void ww_logkey_free(struct ww_logkey *key);
/** ECDSA with SHA-256 whatever the curve, Ed25519, RSA PKCS#1 v1.5 with SHA-256.
 *  WW_E_SIGNATURE when it does not verify. */
enum ww_err ww_logkey_verify(const struct ww_logkey *key, const void *message, size_t len,
                             const uint8_t *sig, size_t sig_len,
                             struct ww_error *err) WW_MUST_USE;

/** A log that is trusted for what it signed from start to end, seconds since 1970. */
struct ww_log {
    struct ww_logkey *key;
    uint8_t id[WW_SHA256_BYTES];
    int64_t start;
    int64_t end;
};

#endif
