/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sigstore bundle v0.3 around a DSSE envelope: read, then checked against a key or
 * against trust anchors. Only the outer document is parsed before the signature holds.
 *
 *   mediaType             exactly WW_BUNDLE_MEDIA_TYPE
 *   verificationMaterial  exactly one of
 *     publicKey             {hint} or, before OMS 1.1, {rawBytes: base64 of DER or PEM}
 *     x509CertificateChain  {certificates: [{rawBytes: base64 of DER}]}, leaf first
 *     certificate           {rawBytes: base64 of DER}: keyless signing
 *     tlogEntries           keyless: 1 to 32 entries; otherwise not looked at
 *     timestampVerificationData  {rfc3161Timestamps: [{signedTimestamp}]}, at most 32
 *   dsseEnvelope          {payload, payloadType, signatures: [{sig, keyid}]}
 */
#ifndef WW_SIGN_BUNDLE_H
#define WW_SIGN_BUNDLE_H

#include "crypto/verify.h"
#include "json/json.h"
#include "sign/tlog.h"
#include "sign/trusted_root.h"
#include "weightward/sign.h"

#define WW_BUNDLE_MEDIA_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"
#define WW_BUNDLE_MAX_BYTES ((size_t)64 << 20)
#define WW_PAYLOAD_MAX_BYTES ((size_t)47 << 20) /* what fits a bundle in base64 */
#define WW_BUNDLE_MAX_CERTS 32
#define WW_BUNDLE_MAX_STAMPS 32
#define WW_HINT_BYTES (2 * WW_SHA256_BYTES + 1)

struct ww_bundle {
    struct ww_json *json;
    const char *hint; /* key method: borrowed from json or own_hint */
    char own_hint[WW_HINT_BYTES];
    struct ww_certs *certs; /* certificate method and keyless, leaf first, else NULL */
    bool is_keyless;
    struct ww_buf leaf;            /* keyless: DER of the certificate */
    struct ww_tlog_entry *entries; /* keyless */
    size_t n_entries;
    struct ww_buf *stamps; /* DER of the signed timestamps */
    size_t n_stamps;
    struct ww_buf payload;
    struct ww_buf sig; /* the first signature; others are not looked at */
    size_t n_signatures;
    bool has_log; /* transparency log entries */
    /* set by ww_bundle_check */
    bool is_v02;
    bool stamps_checked;
    int64_t witnessed; /* earliest time that a log or authority under the verifier's root
                          signed; 0: none was looked at */
};

enum ww_err ww_bundle_parse(const uint8_t *text, size_t len, struct ww_bundle *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_bundle_release(struct ww_bundle *bundle);

/** Whom a verifier trusts. */
struct ww_verifier {
    enum ww_verify_method method;
    const struct ww_pubkey *key; /* key method */
    struct ww_pubkey *own_key;   /* the same when it was loaded here */
    char hint[WW_HINT_BYTES];
    struct ww_certs *anchors;     /* certificate method */
    int64_t at_unix;              /* 0: when a timestamp says, or else now */
    struct ww_trusted_root *root; /* keyless; certificate method: for timestamps */
    const char *identity;         /* keyless, borrowed */
    const char *provider;
};

enum ww_err ww_verifier_open(const struct ww_verify_options *options,
                             struct ww_verifier *out, struct ww_error *err) WW_MUST_USE;
/** Trust one key, which is borrowed. */
enum ww_err ww_verifier_of_key(const struct ww_pubkey *key, struct ww_verifier *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_verifier_release(struct ww_verifier *verifier);

#define WW_SIGNER_BYTES 256

/** Check the signature. signer (may be NULL) gets "key HINT (P-256)" or the subject. */
enum ww_err ww_bundle_check(struct ww_bundle *bundle, const struct ww_verifier *verifier,
                            char signer[WW_SIGNER_BYTES],
                            struct ww_error *err) WW_MUST_USE;

/** Was it signed with this key, whatever it says of its signer? For who has the private
 * key: nothing is said about trust. WW_E_SIGNATURE, of a hint of another key
 * WW_E_UNTRUSTED. */
enum ww_err ww_bundle_check_key(struct ww_bundle *bundle, const struct ww_pubkey *key,
                                struct ww_error *err) WW_MUST_USE;

#endif
