/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer document of a signature: Sigstore bundle v0.3 (protobuf-specs) with the OMS
 * profile of it (specification 1.0, sections 4 and 11). Nothing in it is trusted: it only
 * says which bytes were signed and how. Member lists are closed where the schemas close
 * them, because a field that one reader skips and another obeys is a way around both.
 */
#include "sign/bundle.h"

#include <string.h>

#include "crypto/base64.h"
#include "crypto/tstamp.h"
#include "sign/dsse.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define SIG_MAX_BYTES 4096
#define KEY_MAX_BYTES ((size_t)64 << 10)
#define CERT_MAX_BYTES ((size_t)1 << 20)

static const char *const bundle_keys[] = {"mediaType", "verificationMaterial",
                                          "dsseEnvelope"};
static const char *const material_keys[] = {"publicKey", "x509CertificateChain",
                                            "certificate", "tlogEntries",
                                            "timestampVerificationData"};
static const char *const envelope_keys[] = {"payload", "payloadType", "signatures"};
static const char *const signature_keys[] = {"sig", "keyid"};

static enum ww_err decode(const struct ww_jnode *node, const char *what, size_t max,
                          struct ww_buf *out, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(node, &text) || *text == '\0') {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle has no '%s'", what);
    }
    ww_buf_release(out);
    ww_buf_init(out, max);
    rc = ww_base64_decode(out, text, strlen(text), err);
    if (rc) {
        ww_error_context(err, "'%s' of the bundle", what);
    }
    return rc;
}

static enum ww_err check_media_type(const struct ww_jnode *root, struct ww_error *err)
{
    const char *type = NULL;

    if (!ww_jstr(ww_jget(root, "mediaType"), &type)) {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle has no 'mediaType'");
    }
    if (ww_str_eq(type, WW_BUNDLE_MEDIA_TYPE)) {
        return WW_OK;
    }
    if (ww_str_starts(type, "application/vnd.dev.sigstore.bundle")) {
        return WW_FAIL(err, WW_E_VERSION, "bundle is of type '%s', only '%s' is read",
                       type, WW_BUNDLE_MEDIA_TYPE);
    }
    return WW_FAIL(err, WW_E_BUNDLE, "bundle is of type '%s', expected '%s'", type,
                   WW_BUNDLE_MEDIA_TYPE);
}

/* Bundles from before OMS 1.1 carry the key itself; its hint stands in for it. */
static enum ww_err hint_of_raw_key(const struct ww_jnode *node, struct ww_bundle *out,
                                   struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    struct ww_buf raw = {0};
    enum ww_err rc = WW_OK;

    rc = decode(node, "publicKey.rawBytes", KEY_MAX_BYTES, &raw, err);
    if (rc) {
        goto out;
    }
    if (ww_str_starts(ww_buf_cstr(&raw), "-----BEGIN")) {
        rc = ww_pubkey_from_pem(raw.data, raw.len, &key, err);
    } else {
        rc = ww_pubkey_from_der(raw.data, raw.len, &key, err);
    }
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_hint(key, out->own_hint, err);
    if (rc) {
        goto out;
    }
    out->hint = out->own_hint;
out:
    ww_pubkey_free(key);
    ww_buf_release(&raw);
    return rc;
}

static enum ww_err read_public_key(const struct ww_jnode *node, struct ww_bundle *out,
                                   struct ww_error *err)
{
    const struct ww_jnode *hint = ww_jget(node, "hint");
    const struct ww_jnode *raw = ww_jget(node, "rawBytes");

    if (hint && !ww_jstr(hint, &out->hint)) {
        return WW_FAIL(err, WW_E_BUNDLE, "'publicKey.hint' of the bundle is no string");
    }
    if (!hint && raw) {
        return hint_of_raw_key(raw, out, err);
    }
    if (!hint) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "bundle does not say which key signed: no "
                       "'publicKey.hint'");
    }
    return WW_OK;
}

static enum ww_err read_certificates(const struct ww_jnode *node, struct ww_bundle *out,
                                     struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(node, "certificates");
    struct ww_buf der = {0};
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle has an empty certificate chain");
    }
    if (ww_jsize(list) > WW_BUNDLE_MAX_CERTS) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "bundle has %zu certificates, at most %d are read", ww_jsize(list),
                       WW_BUNDLE_MAX_CERTS);
    }
    rc = ww_certs_new(&out->certs, err);
    if (rc) {
        goto out;
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        rc = decode(ww_jget(at, "rawBytes"), "certificates[].rawBytes", CERT_MAX_BYTES,
                    &der, err);
        if (rc) {
            goto out;
        }
        rc = ww_certs_add_der(out->certs, der.data, der.len, err);
        if (rc) {
            goto out;
        }
    }
out:
    ww_buf_release(&der);
    return rc;
}

static enum ww_err read_leaf(const struct ww_jnode *node, struct ww_bundle *out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_jsize(node) != 1) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "'certificate' of the bundle has %zu members, "
                       "expected 'rawBytes' alone",
                       ww_jsize(node));
    }
    out->is_keyless = true;
    rc = ww_certs_new(&out->certs, err);
    if (!rc) {
        rc = decode(ww_jget(node, "rawBytes"), "certificate.rawBytes", CERT_MAX_BYTES,
                    &out->leaf, err);
    }
    return rc ? rc : ww_certs_add_der(out->certs, out->leaf.data, out->leaf.len, err);
}

static enum ww_err read_entries(const struct ww_jnode *list, struct ww_bundle *out,
                                struct ww_error *err)
{
    size_t n = list ? ww_jsize(list) : 0;
    enum ww_err rc = WW_OK;

    if (n > WW_TLOG_MAX_ENTRIES) {
        return WW_FAIL(err, WW_E_LIMIT, "bundle has %zu log entries, at most %d are read",
                       n, WW_TLOG_MAX_ENTRIES);
    }
    out->entries = ww_calloc(n ? n : 1, sizeof(*out->entries));
    if (!out->entries) {
        return WW_FAIL_MEMORY(err, "%zu log entries", n);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = ww_tlog_parse(at, &out->entries[out->n_entries++], err);
    }
    return rc;
}

/* Proto writers put an empty object where there is no timestamp. */
static enum ww_err read_stamps(const struct ww_jnode *node, struct ww_bundle *out,
                               struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(node, "rfc3161Timestamps");
    size_t n = list ? ww_jsize(list) : 0;
    enum ww_err rc = WW_OK;

    if (!node || ww_jtype(node) == WW_J_NULL) {
        return WW_OK;
    }
    if (ww_jtype(node) != WW_J_OBJECT || ww_jsize(node) != (list ? 1 : 0) ||
        (list && ww_jtype(list) != WW_J_ARRAY)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "'timestampVerificationData' of the bundle holds something else "
                       "than a list 'rfc3161Timestamps'");
    }
    if (n > WW_BUNDLE_MAX_STAMPS) {
        return WW_FAIL(err, WW_E_LIMIT, "bundle has %zu timestamps, at most %d are read",
                       n, WW_BUNDLE_MAX_STAMPS);
    }
    out->stamps = ww_calloc(n ? n : 1, sizeof(*out->stamps));
    if (!out->stamps) {
        return WW_FAIL_MEMORY(err, "%zu timestamps", n);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        if (ww_jsize(at) != 1) {
            return WW_FAIL(err, WW_E_BUNDLE,
                           "timestamp has %zu members, expected "
                           "'signedTimestamp' alone",
                           ww_jsize(at));
        }
        rc = decode(ww_jget(at, "signedTimestamp"), "signedTimestamp",
                    WW_TSTAMP_MAX_BYTES, &out->stamps[out->n_stamps++], err);
    }
    return rc;
}

static enum ww_err read_material(const struct ww_jnode *node, struct ww_bundle *out,
                                 struct ww_error *err)
{
    const struct ww_jnode *key = ww_jget(node, "publicKey");
    const struct ww_jnode *chain = ww_jget(node, "x509CertificateChain");
    const struct ww_jnode *leaf = ww_jget(node, "certificate");
    const struct ww_jnode *log = ww_jget(node, "tlogEntries");
    enum ww_err rc = ww_jonly(node, material_keys, WW_LEN(material_keys), WW_E_BUNDLE,
                              "verificationMaterial", err);
    if (rc) {
        return rc;
    }
    if (!!key + !!chain + !!leaf != 1) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "bundle must have exactly one of 'publicKey', "
                       "'x509CertificateChain' and 'certificate'");
    }
    if (log && ww_jtype(log) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_BUNDLE, "'tlogEntries' of the bundle is no array");
    }
    out->has_log = log && ww_jsize(log) > 0;
    rc = read_stamps(ww_jget(node, "timestampVerificationData"), out, err);
    if (rc) {
        return rc;
    }
    if (leaf) {
        rc = read_leaf(leaf, out, err);
        return rc ? rc : read_entries(log, out, err);
    }
    return key ? read_public_key(key, out, err) : read_certificates(chain, out, err);
}

static enum ww_err read_signature(const struct ww_jnode *list, struct ww_bundle *out,
                                  struct ww_error *err)
{
    if (!list || ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return WW_FAIL(err, WW_E_BUNDLE, "envelope holds no signature");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        const struct ww_jnode *keyid = ww_jget(at, "keyid");
        enum ww_err rc = ww_jonly(at, signature_keys, WW_LEN(signature_keys), WW_E_BUNDLE,
                                  "signature of the envelope", err);
        if (rc) {
            return rc;
        }
        /* OMS finds the key by the bundle; keyid is unsigned and may be anything. */
        if (keyid && ww_jtype(keyid) != WW_J_STRING && ww_jtype(keyid) != WW_J_NULL) {
            return WW_FAIL(err, WW_E_BUNDLE, "'keyid' of the signature is no string");
        }
    }
    out->n_signatures = ww_jsize(list);
    return decode(ww_jget(ww_jfirst(list), "sig"), "signatures[].sig", SIG_MAX_BYTES,
                  &out->sig, err);
}

static enum ww_err read_envelope(const struct ww_jnode *node, struct ww_bundle *out,
                                 struct ww_error *err)
{
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (!node || ww_jtype(node) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle has no 'dsseEnvelope'");
    }
    rc = ww_jonly(node, envelope_keys, WW_LEN(envelope_keys), WW_E_BUNDLE, "dsseEnvelope",
                  err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "payloadType"), &type) ||
        !ww_str_eq(type, WW_PAYLOAD_TYPE)) {
        return WW_FAIL(err, WW_E_BUNDLE, "payload is of type '%s', expected '%s'",
                       type ? type : "", WW_PAYLOAD_TYPE);
    }
    rc = read_signature(ww_jget(node, "signatures"), out, err);
    if (rc) {
        return rc;
    }
    return decode(ww_jget(node, "payload"), "payload", WW_PAYLOAD_MAX_BYTES,
                  &out->payload, err);
}

static enum ww_err read_bundle(const struct ww_jnode *root, struct ww_bundle *out,
                               struct ww_error *err)
{
    const struct ww_jnode *material = NULL;
    enum ww_err rc = WW_OK;

    if (ww_jtype(root) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle is no JSON object");
    }
    rc = ww_jonly(root, bundle_keys, WW_LEN(bundle_keys), WW_E_BUNDLE, "bundle", err);
    if (rc) {
        return rc;
    }
    rc = check_media_type(root, err);
    if (rc) {
        return rc;
    }
    material = ww_jget(root, "verificationMaterial");
    if (!material || ww_jtype(material) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "bundle has no 'verificationMaterial'");
    }
    rc = read_material(material, out, err);
    if (rc) {
        return rc;
    }
    return read_envelope(ww_jget(root, "dsseEnvelope"), out, err);
}

enum ww_err ww_bundle_parse(const uint8_t *text, size_t len, struct ww_bundle *out,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(text, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        goto out;
    }
    rc = read_bundle(ww_json_root(out->json), out, err);
out:
    if (rc) {
        ww_bundle_release(out);
    }
    return rc;
}

void ww_bundle_release(struct ww_bundle *bundle)
{
    if (!bundle) {
        return;
    }
    ww_buf_release(&bundle->payload);
    ww_buf_release(&bundle->sig);
    ww_certs_free(bundle->certs);
    ww_buf_release(&bundle->leaf);
    for (size_t i = 0; i < bundle->n_entries; i++) {
        ww_tlog_release(&bundle->entries[i]);
    }
    ww_free(bundle->entries);
    for (size_t i = 0; i < bundle->n_stamps; i++) {
        ww_buf_release(&bundle->stamps[i]);
    }
    ww_free(bundle->stamps);
    ww_json_free(bundle->json);
    memset(bundle, 0, sizeof(*bundle));
}
