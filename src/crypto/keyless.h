/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of Sigstore's keyless signing: chain, certificate log, holder. */
#ifndef WW_CRYPTO_KEYLESS_H
#define WW_CRYPTO_KEYLESS_H

#include "crypto/logkey.h"
#include "crypto/verify.h"

#define WW_IDENTITY_BYTES 1024

/** Whom the certificate was issued to, and who vouched for that. */
struct ww_keyless_holder {
    char identity[WW_IDENTITY_BYTES]; /* e-mail address, URI or user name */
    char provider[WW_IDENTITY_BYTES]; /* URL of the OpenID Connect provider */
};

/** Read from chain[0]; nothing is checked. WW_E_BUNDLE when it names not exactly one
 *  holder or two providers. */
enum ww_err ww_keyless_read(const struct ww_certs *chain, struct ww_keyless_holder *out,
                            struct ww_error *err) WW_MUST_USE;

/**
 * chain[0] up to one of the anchors at at_unix, with at least one embedded signed
 * certificate timestamp (RFC 6962) of a log in the list. Gives the leaf's key.
 * WW_E_EXPIRED, WW_E_UNTRUSTED, WW_E_SIGNATURE, WW_E_KEY.
 */
enum ww_err ww_keyless_check(const struct ww_certs *chain, const struct ww_certs *anchors,
                             int64_t at_unix, const struct ww_log *logs, size_t n_logs,
                             struct ww_pubkey **leaf_key,
                             struct ww_error *err) WW_MUST_USE;

#endif
