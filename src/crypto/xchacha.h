/* SPDX-License-Identifier: Apache-2.0 */
/* XChaCha20-Poly1305 with associated data, for whole messages whose key is used once. */
#ifndef WW_CRYPTO_XCHACHA_H
#define WW_CRYPTO_XCHACHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_XCHACHA_KEY_BYTES 32
#define WW_XCHACHA_TAG_BYTES 16

/** out = n bytes and the tag; in and out may be the same. The nonce is zero, so a key
 * must never seal two different messages. */
void ww_xchacha_seal(const uint8_t key[WW_XCHACHA_KEY_BYTES], const void *ad,
                     size_t ad_len, const uint8_t *in, size_t n, uint8_t *out);
/** in = n bytes and the tag. False when it was not sealed with this key and data. */
bool ww_xchacha_open(const uint8_t key[WW_XCHACHA_KEY_BYTES], const void *ad,
                     size_t ad_len, const uint8_t *in, size_t n,
                     uint8_t *out) WW_MUST_USE;

#endif
