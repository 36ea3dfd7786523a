/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draft-irtf-cfrg-xchacha through libsodium. Callers derive a key per message from what
 * the message is (a synthetic IV), which leaves nothing for a nonce to do.
 */
#include "crypto/xchacha.h"

#include <sodium.h>

_Static_assert(WW_XCHACHA_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
               "libsodium sizes");
_Static_assert(WW_XCHACHA_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "libsodium sizes");

static const uint8_t zero[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

void ww_xchacha_seal(const uint8_t key[WW_XCHACHA_KEY_BYTES], const void *ad,
                     size_t ad_len, const uint8_t *in, size_t n, uint8_t *out)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, n, ad, ad_len, NULL, zero,
                                               key);
}

bool ww_xchacha_open(const uint8_t key[WW_XCHACHA_KEY_BYTES], const void *ad,
                     size_t ad_len, const uint8_t *in, size_t n, uint8_t *out)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               out, NULL, NULL, in, n + WW_XCHACHA_TAG_BYTES, ad, ad_len, zero, key) == 0;
}
