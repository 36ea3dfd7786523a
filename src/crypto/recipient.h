/* SPDX-License-Identifier: Apache-2.0 */
/* X25519 recipients: their ids, their one-line public files, their key files. */
#ifndef WW_CRYPTO_RECIPIENT_H
#define WW_CRYPTO_RECIPIENT_H

#include "crypto/sealed.h"

#define WW_X25519_BYTES 32

void ww_recipient_public_of(const uint8_t secret[WW_X25519_BYTES],
                            uint8_t out[WW_X25519_BYTES]);
/** First half of SHA-256 over a label and the public key. */
void ww_recipient_id(const uint8_t public_key[WW_X25519_BYTES],
                     uint8_t out[WW_RECORD_ID_BYTES]);

/** True when the text begins like a recipient's public file. */
bool ww_recipient_text_is(const uint8_t *text, size_t len);
/** Read the text of a NAME.pub. WW_E_KEYFILE when malformed, WW_E_VERSION when newer. */
enum ww_err ww_recipient_parse(const uint8_t *text, size_t len,
                               uint8_t public_key[WW_X25519_BYTES],
                               struct ww_error *err) WW_MUST_USE;
enum ww_err ww_recipient_load_public(const char *path,
                                     uint8_t public_key[WW_X25519_BYTES],
                                     struct ww_error *err) WW_MUST_USE;
/** Several NAME.pub files, all different; *keys is the caller's (ww_free). */
enum ww_err ww_recipients_load(const char *const *paths, size_t n,
                               uint8_t (**keys)[WW_X25519_BYTES],
                               struct ww_error *err) WW_MUST_USE;
/** The secret half from a NAME.key, checked against the id that the file states. */
enum ww_err ww_recipient_load(const char *path, struct ww_secret *passphrase,
                              struct ww_secret **out, struct ww_error *err) WW_MUST_USE;
/** ww_recipient_create at a stated cost. */
enum ww_err ww_recipient_create_at(const char *base, struct ww_secret *passphrase,
                                   const struct ww_argon2_cost *cost,
                                   struct ww_error *err) WW_MUST_USE;

#endif
