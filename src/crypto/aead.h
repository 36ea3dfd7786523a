/* SPDX-License-Identifier: Apache-2.0 */
/* Authenticated encryption of bulk data: AES-256-GCM, or ChaCha20-Poly1305 (RFC 8439)
 * where the processor has no AES instructions. */
#ifndef WW_CRYPTO_AEAD_H
#define WW_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_AEAD_KEY_BYTES 32
#define WW_AEAD_NONCE_BYTES 12
#define WW_AEAD_TAG_BYTES 16

/* Numbers that read as four letters in a file. */
enum ww_aead_cipher { WW_AEAD_AES256_GCM = 0x316d6367, WW_AEAD_CHACHA20 = 0x31616863 };

/** "aes-256-gcm", "chacha20-poly1305", or NULL for a number that is no cipher of ours. */
const char *ww_aead_name(uint32_t cipher);
/** The reverse; false for a name that is none of these. */
bool ww_aead_find(const char *name, uint32_t *out);
/** The faster one on this machine. */
enum ww_aead_cipher ww_aead_best(void);

/** key: WW_AEAD_KEY_BYTES, nonce: WW_AEAD_NONCE_BYTES. out: n bytes and then the tag. in
 *  and out may be the same. n at most 64 MiB. */
enum ww_err ww_aead_seal(enum ww_aead_cipher cipher, const uint8_t *key,
                         const uint8_t *nonce, const uint8_t *in, size_t n, uint8_t *out,
                         struct ww_error *err) WW_MUST_USE;
/** in: n bytes and then the tag. *good: the tag is right and out holds n bytes; else out
 *  holds zeros. An error is a failure of the library, not of the data. */
enum ww_err ww_aead_open(enum ww_aead_cipher cipher, const uint8_t *key,
                         const uint8_t *nonce, const uint8_t *in, size_t n, uint8_t *out,
                         bool *good, struct ww_error *err) WW_MUST_USE;

#endif
