/* SPDX-License-Identifier: Apache-2.0 */
/* A public key from an OpenSSL key, for the other files of this module. */
#ifndef WW_CRYPTO_PUBKEY_H
#define WW_CRYPTO_PUBKEY_H

#include <openssl/evp.h>

#include "crypto/verify.h"

/** Takes a reference of pkey. subject names the key in the error text. */
enum ww_err ww_pubkey_from_evp(EVP_PKEY *pkey, const char *subject,
                               struct ww_pubkey **out, struct ww_error *err) WW_MUST_USE;

#endif
