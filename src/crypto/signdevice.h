/* SPDX-License-Identifier: Apache-2.0 */
/* Signing keys that stay where they are: in a token, or behind a program. */
#ifndef WW_CRYPTO_SIGNDEVICE_H
#define WW_CRYPTO_SIGNDEVICE_H

#include "crypto/verify.h"
#include "weightward/key.h"

#define WW_SIGNDEVICE_DIGEST_MAX 64

/** What holds the key. sign turns a digest, whose hash goes with the curve, into a DER
 *  ECDSA value; what it gives is verified before anybody uses it. */
struct ww_signdevice {
    void *self;
    const char *what; /* "token", "signer program" */
    enum ww_err (*sign)(void *self, const char *hash, const uint8_t *digest, size_t len,
                        struct ww_buf *sig, struct ww_error *err);
    void (*close)(void *self);
};

/** A signing key around a device, which it takes, also on failure. public is the key that
 *  the device signs with: SPKI DER. */
enum ww_err ww_signkey_from_device(const struct ww_signdevice *device,
                                   const uint8_t *public_der, size_t len,
                                   struct ww_signkey **out,
                                   struct ww_error *err) WW_MUST_USE;

#define WW_SIGNPROGRAM_BYTES 4096

/** A reference to a program, taken apart. */
struct ww_signprogram {
    char program[WW_SIGNPROGRAM_BYTES];
    const char *public_key; /* a borrow of the reference */
};
/** "program:PATH?public-key=PUB": the path has a '/', since nothing is searched for, and
 *  ends at the first mark. WW_E_USAGE. */
enum ww_err ww_signprogram_parse(const char *reference, struct ww_signprogram *out,
                                 struct ww_error *err) WW_MUST_USE;

#endif
