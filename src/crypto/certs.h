/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a set of certificates, for the other files of this module. */
#ifndef WW_CRYPTO_CERTS_H
#define WW_CRYPTO_CERTS_H

#include <openssl/x509.h>

#include "crypto/verify.h"

struct ww_certs {
    STACK_OF(X509) * stack;
};

/** Depth, security level and the one time that holds for every certificate. */
void ww_certs_set_rules(X509_VERIFY_PARAM *param, int64_t at_unix);
/** A store that trusts the anchors; the caller's. */
enum ww_err ww_certs_store(const struct ww_certs *anchors, X509_STORE **out,
                           struct ww_error *err) WW_MUST_USE;
/** The chain of chain[0] up to an anchor, usage of the leaf included. issuer (may be
 *  NULL) gets a reference to the certificate above the leaf. */
enum ww_err ww_certs_check(const struct ww_certs *chain, const struct ww_certs *anchors,
                           int64_t at_unix, X509 **issuer,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_certs_leaf_key(const struct ww_certs *chain, struct ww_pubkey **out,
                              struct ww_error *err) WW_MUST_USE;

#endif
