/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, ECDSA verification, certificate chains. No secret-key code lives in the
 * files behind this header: weightward-verify links only these. */
#ifndef WW_CRYPTO_VERIFY_H
#define WW_CRYPTO_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/hash.h"
#include "util/buf.h"

struct ww_pubkey; /* ECDSA P-256, P-384 or P-521 */

/** From SPKI PEM text. WW_E_KEYFILE when malformed, WW_E_KEY on another algorithm. */
enum ww_err ww_pubkey_from_pem(const uint8_t *pem, size_t len, struct ww_pubkey **out,
                               struct ww_error *err) WW_MUST_USE;
enum ww_err ww_pubkey_from_der(const uint8_t *der, size_t len, struct ww_pubkey **out,
                               struct ww_error *err) WW_MUST_USE;
enum ww_err ww_pubkey_load(const char *path, struct ww_pubkey **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_pubkey_free(struct ww_pubkey *key);
/** "P-256", "P-384" or "P-521". */
const char *ww_pubkey_curve(const struct ww_pubkey *key);
/** SPKI DER, the one encoding that is accepted. */
enum ww_err ww_pubkey_der(const struct ww_pubkey *key, struct ww_buf *out,
                          struct ww_error *err) WW_MUST_USE;
/** SPKI PEM exactly as OpenSSL prints it (64 columns, final newline). */
enum ww_err ww_pubkey_pem(const struct ww_pubkey *key, struct ww_buf *out,
                          struct ww_error *err) WW_MUST_USE;
/** OMS key hint: lower-case hex SHA-256 of that PEM text. */
enum ww_err ww_pubkey_hint(const struct ww_pubkey *key, char out[2 * WW_SHA256_BYTES + 1],
                           struct ww_error *err) WW_MUST_USE;
/** DER ECDSA signature over message, hashed with SHA-256/384/512 by curve. WW_E_SIGNATURE
 *  when it does not verify (also for trailing bytes). */
enum ww_err ww_pubkey_verify(const struct ww_pubkey *key, const void *message, size_t len,
                             const uint8_t *sig, size_t sig_len,
                             struct ww_error *err) WW_MUST_USE;
/** As above, always SHA-256: what OMS releases before 1.0 signed. */
enum ww_err ww_pubkey_verify_sha256(const struct ww_pubkey *key, const void *message,
                                    size_t len, const uint8_t *sig, size_t sig_len,
                                    struct ww_error *err) WW_MUST_USE;

/** A set of certificates, leaf first (from a bundle) or trust anchors (from PEM files).
 */
struct ww_certs;
enum ww_err ww_certs_new(struct ww_certs **out, struct ww_error *err) WW_MUST_USE;
void ww_certs_free(struct ww_certs *certs);
/** WW_E_BUNDLE when malformed, WW_E_LIMIT beyond 32 certificates. */
enum ww_err ww_certs_add_der(struct ww_certs *certs, const uint8_t *der, size_t len,
                             struct ww_error *err) WW_MUST_USE;
/** Every certificate of a PEM text, at least one; WW_E_KEYFILE. Those before a malformed
 *  one stay added. */
enum ww_err ww_certs_add_pem(struct ww_certs *certs, const uint8_t *pem, size_t len,
                             struct ww_error *err) WW_MUST_USE;
size_t ww_certs_count(const struct ww_certs *certs);
/**
 * Check chain[0] against the anchors at one stated time (seconds since 1970), the whole
 * chain valid at that time and ending in a self-signed anchor; other anchors only help to
 * build it. The leaf must have the extended key usage codeSigning, and digitalSignature
 * when it states a key usage. Gives the leaf's key and adds its subject in RFC 2253 form.
 * WW_E_EXPIRED, WW_E_UNTRUSTED (also for an empty chain), WW_E_KEY.
 */
enum ww_err ww_certs_verify(const struct ww_certs *chain, const struct ww_certs *anchors,
                            int64_t at_unix, struct ww_pubkey **leaf_key,
                            struct ww_buf *subject, struct ww_error *err) WW_MUST_USE;
/**
 * The same for a signer's own chain, which may stop below the root: the root is what a
 * verifier brings. The leaf's issuer must be there.
 */
enum ww_err ww_certs_verify_own(const struct ww_certs *chain, int64_t at_unix,
                                struct ww_pubkey **leaf_key, struct ww_buf *subject,
                                struct ww_error *err) WW_MUST_USE;

#endif
