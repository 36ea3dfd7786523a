/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of Fulcio, the authority of Sigstore. The holder is the one subject
 * alternative name, the provider an extension (1.3.6.1.4.1.57264.1.8; older ones have
 * .1.1 beside or in place of it). The certificate carries the promise of a log to
 * publish it (RFC 6962 section 3.3): what that log signed is the certificate without the
 * promise, together with the hash of the issuer's key, so the chain has to be known
 * before the promise can be checked.
 */
#include "crypto/keyless.h"

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/ct.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "crypto/certs.h"
#include "crypto/ossl.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/str.h"

#define OID_PROVIDER_OLD "1.3.6.1.4.1.57264.1.1" /* the bare text */
#define OID_PROVIDER "1.3.6.1.4.1.57264.1.8"     /* as UTF8String */
#define OID_USER_NAME "1.3.6.1.4.1.57264.1.7"    /* other name of the subject */
#define SIGNED_MAX_BYTES ((size_t)2 << 20)
#define MAX_SCTS 32
#define SCT_HEAD 12 /* version, type, timestamp, entry type */

static enum ww_err keep_text(const uint8_t *bytes, int len, const char *what,
                             char out[WW_IDENTITY_BYTES], struct ww_error *err)
{
    if (len <= 0 || len >= WW_IDENTITY_BYTES || !ww_text_ok(bytes, (size_t)len)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "%s in the certificate is no plain text of 1 to %d bytes", what,
                       WW_IDENTITY_BYTES - 1);
    }
    memcpy(out, bytes, (size_t)len);
    out[len] = '\0';
    return WW_OK;
}

/* The text of a general name that Fulcio writes; NULL for other kinds. */
static const ASN1_STRING *name_text(const GENERAL_NAME *name)
{
    char oid[64] = "";

    if (name->type == GEN_EMAIL || name->type == GEN_URI) {
        return name->d.ia5;
    }
    if (name->type != GEN_OTHERNAME) {
        return NULL;
    }
    OBJ_obj2txt(oid, sizeof(oid), name->d.otherName->type_id, 1);
    if (!ww_str_eq(oid, OID_USER_NAME) ||
        name->d.otherName->value->type != V_ASN1_UTF8STRING) {
        return NULL;
    }
    return name->d.otherName->value->value.utf8string;
}

static enum ww_err read_identity(X509 *leaf, struct ww_keyless_holder *out,
                                 struct ww_error *err)
{
    int critical = -1;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
    const ASN1_STRING *text = NULL;
    enum ww_err rc = WW_OK;

    ERR_clear_error();
    if (names && sk_GENERAL_NAME_num(names) == 1) {
        text = name_text(sk_GENERAL_NAME_value(names, 0));
    }
    if (!text) {
        rc = WW_FAIL(err, WW_E_BUNDLE,
                     "certificate does not name exactly one holder (e-mail, URI or user "
                     "name)");
        goto out;
    }
    rc = keep_text(ASN1_STRING_get0_data(text), ASN1_STRING_length(text), "holder",
                   out->identity, err);
out:
    GENERAL_NAMES_free(names);
    return rc;
}

/* The value of an extension; NULL when absent. Two of one kind are refused. */
static enum ww_err find_extension(X509 *leaf, const char *oid,
                                  const ASN1_OCTET_STRING **out, struct ww_error *err)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int at = object ? X509_get_ext_by_OBJ(leaf, object, -1) : -1;
    int second = at >= 0 ? X509_get_ext_by_OBJ(leaf, object, at) : -1;

    *out = at >= 0 ? X509_EXTENSION_get_data(X509_get_ext(leaf, at)) : NULL;
    ASN1_OBJECT_free(object);
    if (second >= 0) {
        return WW_FAIL(err, WW_E_BUNDLE, "certificate has the extension '%s' twice", oid);
    }
    return WW_OK;
}

static enum ww_err read_new_provider(const ASN1_OCTET_STRING *value,
                                     char out[WW_IDENTITY_BYTES], struct ww_error *err)
{
    const uint8_t *start = ASN1_STRING_get0_data(value);
    const uint8_t *cursor = start;
    const int len = ASN1_STRING_length(value);
    ASN1_UTF8STRING *text = d2i_ASN1_UTF8STRING(NULL, &cursor, len);
    enum ww_err rc = WW_OK;

    if (!text || cursor != start + len) {
        rc = ww_ossl_fail(err, WW_E_BUNDLE,
                          "provider in the certificate is no UTF8String");
        goto out;
    }
    rc = keep_text(ASN1_STRING_get0_data(text), ASN1_STRING_length(text), "provider", out,
                   err);
out:
    ASN1_UTF8STRING_free(text);
    return rc;
}

static enum ww_err read_provider(X509 *leaf, struct ww_keyless_holder *out,
                                 struct ww_error *err)
{
    const ASN1_OCTET_STRING *fresh = NULL;
    const ASN1_OCTET_STRING *old = NULL;
    char other[WW_IDENTITY_BYTES] = "";
    enum ww_err rc = find_extension(leaf, OID_PROVIDER, &fresh, err);

    if (!rc) {
        rc = find_extension(leaf, OID_PROVIDER_OLD, &old, err);
    }
    if (!rc && fresh) {
        rc = read_new_provider(fresh, out->provider, err);
    }
    if (!rc && old) {
        rc = keep_text(ASN1_STRING_get0_data(old), ASN1_STRING_length(old), "provider",
                       other, err);
    }
    if (rc) {
        return rc;
    }
    if (!fresh && !old) {
        return WW_FAIL(err, WW_E_BUNDLE, "certificate names no identity provider");
    }
    if (!fresh) {
        memcpy(out->provider, other, sizeof(other));
    } else if (old && !ww_str_eq(other, out->provider)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "certificate names two identity providers, '%.200s' and '%.200s'",
                       out->provider, other);
    }
    return WW_OK;
}

enum ww_err ww_keyless_read(const struct ww_certs *chain, struct ww_keyless_holder *out,
                            struct ww_error *err)
{
    X509 *leaf = sk_X509_value(chain->stack, 0);
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!leaf) {
        return WW_FAIL(err, WW_E_BUNDLE, "no certificate given with the signature");
    }
    rc = read_identity(leaf, out, err);
    return rc ? rc : read_provider(leaf, out, err);
}

static void put_be(uint8_t *out, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    }
}

/* The certificate that the log saw: this one without the extension of its promises. */
static enum ww_err add_precertificate(const X509 *leaf, struct ww_buf *out,
                                      struct ww_error *err)
{
    X509 *copy = X509_dup(leaf);
    uint8_t *tbs = NULL;
    uint8_t size[3];
    int len = 0;
    int at = copy ? X509_get_ext_by_NID(copy, NID_ct_precert_scts, -1) : -1;
    enum ww_err rc = WW_OK;

    if (at < 0) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "certificate cannot be taken apart");
        goto out;
    }
    X509_EXTENSION_free(X509_delete_ext(copy, at));
    len = i2d_re_X509_tbs(copy, &tbs);
    if (len <= 0 || len >= 1 << 24) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "certificate cannot be encoded");
        goto out;
    }
    put_be(size, (uint64_t)len, 3);
    rc = ww_buf_add(out, size, sizeof(size), err);
    if (!rc) {
        rc = ww_buf_add(out, tbs, (size_t)len, err);
    }
out:
    OPENSSL_free(tbs);
    X509_free(copy);
    return rc;
}

static enum ww_err add_issuer_hash(const X509 *issuer, struct ww_buf *out,
                                   struct ww_error *err)
{
    uint8_t hash[WW_SHA256_BYTES];
    uint8_t *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(issuer), &der);

    if (len <= 0) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "key of the issuer cannot be encoded");
    }
    ww_sha256_of(der, (size_t)len, hash);
    OPENSSL_free(der);
    return ww_buf_add(out, hash, sizeof(hash), err);
}

/* digitally-signed of RFC 6962 section 3.2, for entry type precert_entry. */
static enum ww_err signed_part(const SCT *sct, const X509 *leaf, const X509 *issuer,
                               struct ww_buf *out, struct ww_error *err)
{
    uint8_t head[SCT_HEAD] = {0};
    uint8_t size[2];
    uint8_t *extensions = NULL;
    size_t len = SCT_get0_extensions(sct, &extensions);
    enum ww_err rc = WW_OK;

    put_be(head + 2, SCT_get_timestamp(sct), 8);
    head[SCT_HEAD - 1] = 1;
    rc = ww_buf_add(out, head, sizeof(head), err);
    if (rc) {
        return rc;
    }
    rc = add_issuer_hash(issuer, out, err);
    if (rc) {
        return rc;
    }
    rc = add_precertificate(leaf, out, err);
    if (rc) {
        return rc;
    }
    put_be(size, len, 2);
    rc = ww_buf_add(out, size, sizeof(size), err);
    return rc || len == 0 ? rc : ww_buf_add(out, extensions, len, err);
}

/* The log that made a promise and was trusted when it did; NULL for a stranger. */
static const struct ww_log *find_log(const SCT *sct, const struct ww_log *logs, size_t n)
{
    const int64_t at = (int64_t)(SCT_get_timestamp(sct) / 1000);
    uint8_t *id = NULL;
    size_t len = SCT_get0_log_id(sct, &id);

    for (size_t i = 0; i < n && len == WW_SHA256_BYTES; i++) {
        if (memcmp(logs[i].id, id, len) == 0 && at >= logs[i].start &&
            at <= logs[i].end) {
            return &logs[i];
        }
    }
    return NULL;
}

static enum ww_err check_sct(const SCT *sct, const struct ww_log *log, const X509 *leaf,
                             const X509 *issuer, struct ww_error *err)
{
    struct ww_buf bytes;
    uint8_t *sig = NULL;
    size_t len = SCT_get0_signature(sct, &sig);
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, SIGNED_MAX_BYTES);
    rc = signed_part(sct, leaf, issuer, &bytes, err);
    if (!rc) {
        rc = ww_logkey_verify(log->key, bytes.data, bytes.len, sig, len, err);
        if (rc) {
            ww_error_context(err, "promise of the certificate log");
        }
    }
    ww_buf_release(&bytes);
    return rc;
}

static enum ww_err check_scts(X509 *leaf, const X509 *issuer, const struct ww_log *logs,
                              size_t n_logs, struct ww_error *err)
{
    STACK_OF(SCT) *scts = X509_get_ext_d2i(leaf, NID_ct_precert_scts, NULL, NULL);
    size_t n_good = 0;
    enum ww_err rc = WW_OK;

    ERR_clear_error();
    if (!scts || sk_SCT_num(scts) <= 0 || sk_SCT_num(scts) > MAX_SCTS) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED,
                     "certificate carries no promise of a certificate log, expected 1 to "
                     "%d",
                     MAX_SCTS);
        goto out;
    }
    for (int i = 0; i < sk_SCT_num(scts) && !rc; i++) {
        const SCT *sct = sk_SCT_value(scts, i);
        const struct ww_log *log = find_log(sct, logs, n_logs);
        if (log && SCT_get_version(sct) == SCT_VERSION_V1) {
            rc = check_sct(sct, log, leaf, issuer, err);
            n_good++;
        }
    }
    if (!rc && n_good == 0) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED,
                     "certificate was promised by none of the %zu certificate logs that "
                     "the trusted root names for that time",
                     n_logs);
    }
out:
    SCT_LIST_free(scts);
    return rc;
}

enum ww_err ww_keyless_check(const struct ww_certs *chain, const struct ww_certs *anchors,
                             int64_t at_unix, const struct ww_log *logs, size_t n_logs,
                             struct ww_pubkey **leaf_key, struct ww_error *err)
{
    X509 *issuer = NULL;
    enum ww_err rc = WW_OK;

    *leaf_key = NULL;
    rc = ww_certs_check(chain, anchors, at_unix, &issuer, err);
    if (rc) {
        goto out;
    }
    rc = check_scts(sk_X509_value(chain->stack, 0), issuer, logs, n_logs, err);
    if (rc) {
        goto out;
    }
    rc = ww_certs_leaf_key(chain, leaf_key, err);
out:
    X509_free(issuer);
    return rc;
}
