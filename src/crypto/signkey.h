/* SPDX-License-Identifier: Apache-2.0 */
/* What the sign module needs from a loaded signing key. */
#ifndef WW_CRYPTO_SIGNKEY_H
#define WW_CRYPTO_SIGNKEY_H

#include "crypto/verify.h"
#include "weightward/key.h"

/** From PEM text in guarded memory; see ww_signkey_load. */
enum ww_err ww_signkey_from_pem(struct ww_secret *pem, struct ww_secret *passphrase,
                                struct ww_signkey **out,
                                struct ww_error *err) WW_MUST_USE;
/** DER ECDSA over message, hash by curve (SHA-256, -384, -512). */
enum ww_err ww_signkey_sign(struct ww_signkey *key, const void *message, size_t len,
                            struct ww_buf *sig, struct ww_error *err) WW_MUST_USE;
/** The public half; the caller's. */
enum ww_err ww_signkey_public(struct ww_signkey *key, struct ww_pubkey **out,
                              struct ww_error *err) WW_MUST_USE;

#endif
