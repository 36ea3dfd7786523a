/* SPDX-License-Identifier: Apache-2.0 */
/* Start of OpenSSL without its configuration file, and its failures as ours. */
#ifndef WW_CRYPTO_OSSL_H
#define WW_CRYPTO_OSSL_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "weightward/error.h"

/** Call before any other OpenSSL function; cheap, from any thread, as often as wanted. */
void ww_ossl_init(void);

/** WW_FAIL with "what: reason", the reason being OpenSSL's; empties its error queue. */
enum ww_err ww_ossl_fail(struct ww_error *err, enum ww_err code, const char *what);

/** A public key of any kind from its DER (SubjectPublicKeyInfo), all of it. subject names
 *  it in error texts. WW_E_KEYFILE. */
enum ww_err ww_ossl_read_spki(const uint8_t *der, size_t len, const char *subject,
                              EVP_PKEY **out, struct ww_error *err) WW_MUST_USE;

/** Does the signature fit? digest NULL: the key's algorithm has its own. WW_E_SIGNATURE.
 */
enum ww_err ww_ossl_verify(EVP_PKEY *pkey, const char *digest, const void *message,
                           size_t len, const uint8_t *sig, size_t sig_len,
                           struct ww_error *err) WW_MUST_USE;

#endif
