/* SPDX-License-Identifier: Apache-2.0 */
/* The three curves that OMS signs with, and what follows from the choice. */
#ifndef WW_CRYPTO_CURVE_H
#define WW_CRYPTO_CURVE_H

#include <stddef.h>

#include <openssl/evp.h>

#include "weightward/error.h"

struct ww_curve_spec {
    const char *name;   /* "P-256" */
    const char *group;  /* OpenSSL's name of the group */
    const char *digest; /* the hash that goes with the curve */
    size_t spki_bytes;  /* DER of a public key: named curve, uncompressed point */
};

#define WW_SPKI_MAX_BYTES 158

/** By position in enum ww_curve. */
const struct ww_curve_spec *ww_curve_at(size_t index);

/** The curve of an ECDSA key. WW_E_KEY, naming what was found, for any other key and for
 *  a curve given by its parameters. subject names the key in the error text. */
enum ww_err ww_curve_of(const EVP_PKEY *pkey, const char *subject,
                        const struct ww_curve_spec **out,
                        struct ww_error *err) WW_MUST_USE;

#endif
