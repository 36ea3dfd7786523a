/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A plain DSSE envelope with several signatures: what a trust root, policies, requests,
 * approvals and fusion recipes are signed in. Each kind of document has a payload type of
 * its own, which is under the signature, so that no signature serves as one of another
 * kind.
 *
 *   {"payload": BASE64, "payloadType": TYPE, "signatures": [{"keyid": ID, "sig":
 * BASE64}]}
 *
 * ID is the hint of the key (hex SHA-256 of its PEM text) and only says where to look;
 * one key signs once. Closed: other members are refused.
 */
#ifndef WW_SIGN_ENVELOPE_H
#define WW_SIGN_ENVELOPE_H

#include "crypto/verify.h"
#include "json/json.h"

#define WW_ENVELOPE_MAX_PAYLOAD ((size_t)1 << 20)
#define WW_ENVELOPE_MAX_BYTES ((size_t)4 << 20)
#define WW_ENVELOPE_MAX_SIGNATURES 64

/* X(name, payload type, what it is for people) */
#define WW_SIGNED_LIST(X)                                                                \
    X(ROOT, "application/vnd.weightward.root+json", "trust root")                        \
    X(POLICY, "application/vnd.weightward.policy+json", "policy")                        \
    X(REQUEST, "application/vnd.weightward.request+json", "request")                     \
    X(APPROVAL, "application/vnd.weightward.approval+json", "approval")                  \
    X(FUSION, "application/vnd.weightward.fusion+json", "fusion recipe")                 \
    X(STATEMENT, "application/vnd.in-toto+json", "model")

enum ww_signed_kind {
#define WW_SIGNED_ENUM(name, type, what) WW_SIGNED_##name,
    WW_SIGNED_LIST(WW_SIGNED_ENUM)
#undef WW_SIGNED_ENUM
        WW_SIGNED_COUNT
};
/** A word for people. */
const char *ww_signed_word(enum ww_signed_kind kind);
/** False for a type that is none of these. */
bool ww_signed_parse(const char *type, enum ww_signed_kind *out);

struct ww_envelope_signature {
    char keyid[2 * WW_SHA256_BYTES + 1];
    struct ww_buf sig;
};

struct ww_envelope {
    enum ww_signed_kind kind;
    struct ww_buf payload;
    struct ww_envelope_signature *signatures;
    size_t n_signatures;
};

/** True when the text looks like an envelope and not like a bare document. */
bool ww_envelope_is(const uint8_t *text, size_t len);
/** No signature is checked. WW_E_BUNDLE, WW_E_JSON, WW_E_LIMIT; a STATEMENT is refused:
 *  models are signed in bundles. */
enum ww_err ww_envelope_parse(const uint8_t *text, size_t len, struct ww_envelope *out,
                              struct ww_error *err) WW_MUST_USE;
void ww_envelope_release(struct ww_envelope *envelope);

/** Does signature i verify under the key? The key's hint must be its keyid.
 * WW_E_UNTRUSTED, WW_E_SIGNATURE. */
enum ww_err ww_envelope_check(const struct ww_envelope *envelope, size_t i,
                              const struct ww_pubkey *key,
                              struct ww_error *err) WW_MUST_USE;

/** An envelope around a payload, without a signature yet. */
enum ww_err ww_envelope_make(enum ww_signed_kind kind, const uint8_t *payload, size_t len,
                             struct ww_envelope *out, struct ww_error *err) WW_MUST_USE;
/** The bytes that a signature covers. */
enum ww_err ww_envelope_signed_bytes(const struct ww_envelope *envelope,
                                     struct ww_buf *out,
                                     struct ww_error *err) WW_MUST_USE;
/** As text without white space; no final newline, so that nothing can be cut off. */
enum ww_err ww_envelope_write(const struct ww_envelope *envelope, struct ww_buf *out,
                              struct ww_error *err) WW_MUST_USE;

/** Add the key's signature. WW_E_EXISTS when it has signed already. Lives in its own
 * file: the rest holds no secret-key code. */
struct ww_signkey;
enum ww_err ww_envelope_sign(struct ww_envelope *envelope, struct ww_signkey *key,
                             struct ww_error *err) WW_MUST_USE;

#endif
