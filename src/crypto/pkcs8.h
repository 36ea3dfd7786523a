/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys as PEM text: PKCS#8 (plain or encrypted) and, for reading, SEC 1. */
#ifndef WW_CRYPTO_PKCS8_H
#define WW_CRYPTO_PKCS8_H

#include <openssl/evp.h>

#include "crypto/secret.h"

/** True in *encrypted when the text's private key needs a passphrase. WW_E_KEYFILE when
 *  there is none, WW_E_KEY for a public key. */
enum ww_err ww_pkcs8_is_encrypted(struct ww_secret *pem, bool *encrypted,
                                  struct ww_error *err) WW_MUST_USE;
/** passphrase may be NULL; WW_E_PASSPHRASE when it is missing or wrong. */
enum ww_err ww_pkcs8_read(struct ww_secret *pem, struct ww_secret *passphrase,
                          EVP_PKEY **out, struct ww_error *err) WW_MUST_USE;
/** passphrase NULL writes the key in clear. */
enum ww_err ww_pkcs8_write(EVP_PKEY *pkey, struct ww_secret *passphrase,
                           struct ww_secret **pem, struct ww_error *err) WW_MUST_USE;

#endif
