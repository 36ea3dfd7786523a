/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate chains after RFC 5280, by OpenSSL's verifier with three settings of ours.
 * The time is the caller's and holds for every certificate: verifiers that checked at the
 * leaf's own time accepted expired chains (CVE-2026-24122 was such a case). Level 2
 * refuses SHA-1 and short RSA keys. A chain ends in a self-signed anchor; other
 * certificates among the anchors only help to build it.
 *
 * The leaf must name code signing as its purpose: a certificate for a web server, or one
 * that states no purpose, was not issued for signing models.
 */
#include "crypto/certs.h"

#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "crypto/ossl.h"
#include "crypto/pubkey.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_CERTS 32
#define MAX_DEPTH 8
#define SECURITY_LEVEL 2 /* 112 bits */
#define PEM_MAX_BYTES (1024 * 1024)
#define NAME_MAX_BYTES 1024

enum ww_err ww_certs_new(struct ww_certs **out, struct ww_error *err)
{
    struct ww_certs *certs = NULL;

    *out = NULL;
    ww_ossl_init();
    certs = ww_calloc(1, sizeof(*certs));
    if (certs) {
        certs->stack = sk_X509_new_null();
    }
    if (!certs || !certs->stack) {
        ww_certs_free(certs);
        return WW_FAIL_MEMORY(err, "certificates");
    }
    *out = certs;
    return WW_OK;
}

void ww_certs_free(struct ww_certs *certs)
{
    if (certs) {
        sk_X509_pop_free(certs->stack, X509_free);
        ww_free(certs);
    }
}

size_t ww_certs_count(const struct ww_certs *certs)
{
    return (size_t)sk_X509_num(certs->stack);
}

static enum ww_err add_der(struct ww_certs *certs, const uint8_t *der, size_t len,
                           enum ww_err malformed, struct ww_error *err)
{
    const uint8_t *cursor = der;
    X509 *cert = NULL;
    enum ww_err rc = WW_OK;

    const size_t number = ww_certs_count(certs) + 1;
    if (number > MAX_CERTS) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "more than %d certificates, expected a chain from the signer to a root",
            MAX_CERTS);
    }
    if (len == 0 || len > PEM_MAX_BYTES) {
        return WW_FAIL(err, malformed, "certificate %zu has %zu bytes", number, len);
    }
    cert = d2i_X509(NULL, &cursor, (long)len);
    if (!cert) {
        return ww_ossl_fail(err, malformed, "certificate is malformed");
    }
    if (cursor != der + len) {
        rc =
            WW_FAIL(err, malformed, "certificate %zu ends %zu bytes before its data does",
                    number, (size_t)(der + len - cursor));
        goto out;
    }
    if (sk_X509_push(certs->stack, cert) <= 0) {
        rc = WW_FAIL_MEMORY(err, "certificates");
        goto out;
    }
    cert = NULL;
out:
    X509_free(cert);
    return rc;
}

enum ww_err ww_certs_add_der(struct ww_certs *certs, const uint8_t *der, size_t len,
                             struct ww_error *err)
{
    return add_der(certs, der, len, WW_E_BUNDLE, err);
}

/* The next block of a PEM text; *found is false at its end. */
static enum ww_err add_pem_block(struct ww_certs *certs, BIO *bio, bool *found,
                                 struct ww_error *err)
{
    char *name = NULL;
    char *header = NULL;
    uint8_t *der = NULL;
    long der_len = 0;
    enum ww_err rc = WW_OK;

    *found = PEM_read_bio(bio, &name, &header, &der, &der_len) == 1;
    if (!*found) {
        const int reason = ERR_GET_REASON(ERR_peek_last_error());
        if (reason != PEM_R_NO_START_LINE) {
            rc = ww_ossl_fail(err, WW_E_KEYFILE, "certificate file is malformed");
        }
        ERR_clear_error();
        goto out;
    }
    if (!ww_str_eq(name, "CERTIFICATE")) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "found a PEM block '%s', expected 'CERTIFICATE'",
                     name);
        goto out;
    }
    rc = add_der(certs, der, (size_t)der_len, WW_E_KEYFILE, err);
out:
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    return rc;
}

enum ww_err ww_certs_add_pem(struct ww_certs *certs, const uint8_t *pem, size_t len,
                             struct ww_error *err)
{
    BIO *bio = NULL;
    bool found = true;
    size_t n_found = 0;
    enum ww_err rc = WW_OK;

    if (len > PEM_MAX_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "certificate text has %zu bytes, at most %d are read", len,
                       PEM_MAX_BYTES);
    }
    bio = BIO_new_mem_buf(len ? (const void *)pem : "", (int)len);
    if (!bio) {
        return ww_ossl_fail(err, WW_E_NOMEM, "out of memory for certificates");
    }
    while (found) {
        rc = add_pem_block(certs, bio, &found, err);
        if (rc) {
            goto out;
        }
        n_found += found;
    }
    if (n_found == 0) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "no certificate in PEM form found");
    }
out:
    BIO_free(bio);
    return rc;
}

/* The subject in RFC 2253 form. */
static enum ww_err add_subject(const X509 *cert, struct ww_buf *out, struct ww_error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!bio ||
        X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) < 0) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "certificate subject cannot be printed");
        goto out;
    }
    const long len = BIO_get_mem_data(bio, &text);
    rc = ww_buf_add(out, text, len > 0 ? (size_t)len : 0, err);
out:
    BIO_free(bio);
    return rc;
}

static enum ww_err refuse_chain(X509_STORE_CTX *ctx, struct ww_error *err)
{
    const int reason = X509_STORE_CTX_get_error(ctx);
    const X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    const bool is_time =
        reason == X509_V_ERR_CERT_HAS_EXPIRED || reason == X509_V_ERR_CERT_NOT_YET_VALID;
    struct ww_buf subject;
    enum ww_err rc = WW_OK;

    ERR_clear_error();
    if (reason == X509_V_ERR_OUT_OF_MEM) {
        return WW_FAIL_MEMORY(err, "a certificate chain");
    }
    ww_buf_init(&subject, NAME_MAX_BYTES);
    if (!cert || add_subject(cert, &subject, NULL) != WW_OK) {
        ww_buf_clear(&subject);
    }
    rc = WW_FAIL(err, is_time ? WW_E_EXPIRED : WW_E_UNTRUSTED,
                 "certificate '%s' is not accepted: %s", ww_buf_cstr(&subject),
                 X509_verify_cert_error_string(reason));
    ww_buf_release(&subject);
    return rc;
}

void ww_certs_set_rules(X509_VERIFY_PARAM *param, int64_t at_unix)
{
    X509_VERIFY_PARAM_set_time(param, (time_t)at_unix);
    X509_VERIFY_PARAM_set_depth(param, MAX_DEPTH);
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
}

enum ww_err ww_certs_store(const struct ww_certs *anchors, X509_STORE **out,
                           struct ww_error *err)
{
    X509_STORE *store = X509_STORE_new();

    *out = NULL;
    if (!store) {
        return WW_FAIL_MEMORY(err, "a certificate chain");
    }
    for (int i = 0; i < sk_X509_num(anchors->stack); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(anchors->stack, i)) != 1) {
            X509_STORE_free(store);
            return ww_ossl_fail(err, WW_E_CRYPTO, "trust anchor cannot be used");
        }
    }
    *out = store;
    return WW_OK;
}

static enum ww_err keep_issuer(X509_STORE_CTX *ctx, X509 **issuer, struct ww_error *err)
{
    const STACK_OF(X509) *built = X509_STORE_CTX_get0_chain(ctx);

    if (sk_X509_num(built) < 2) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "signing certificate is its own issuer");
    }
    *issuer = sk_X509_value(built, 1);
    if (X509_up_ref(*issuer) != 1) {
        *issuer = NULL;
        return WW_FAIL(err, WW_E_CRYPTO, "certificate cannot be kept");
    }
    return WW_OK;
}

/* What stands between leaf and anchor and names purposes issues for these alone, as Go
 * and browsers read RFC 5280: who may issue for web servers makes no signers of models.
 */
static enum ww_err check_issuers(X509_STORE_CTX *ctx, struct ww_error *err)
{
    const STACK_OF(X509) *built = X509_STORE_CTX_get0_chain(ctx);

    for (int i = 1; i + 1 < sk_X509_num(built); i++) {
        /* All bits are set where it names none. */
        if (!(X509_get_extended_key_usage(sk_X509_value(built, i)) &
              (XKU_CODE_SIGN | XKU_ANYEKU))) {
            return WW_FAIL(err, WW_E_UNTRUSTED,
                           "certificate %d of the chain may not issue for code signing: "
                           "its extended key usage lacks codeSigning",
                           i + 1);
        }
    }
    return WW_OK;
}

/* partial: any of the anchors ends the chain, a root or not. */
static enum ww_err check_chain(const struct ww_certs *chain,
                               const struct ww_certs *anchors, bool partial,
                               int64_t at_unix, X509 **issuer, struct ww_error *err)
{
    X509_STORE *store = NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    enum ww_err rc = WW_OK;

    if (!ctx) {
        rc = WW_FAIL_MEMORY(err, "a certificate chain");
        goto out;
    }
    rc = ww_certs_store(anchors, &store, err);
    if (rc) {
        goto out;
    }
    if (X509_STORE_CTX_init(ctx, store, sk_X509_value(chain->stack, 0), chain->stack) !=
        1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "certificate check could not be started");
        goto out;
    }
    ww_certs_set_rules(X509_STORE_CTX_get0_param(ctx), at_unix);
    if (partial) {
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
    }
    if (X509_verify_cert(ctx) != 1) {
        rc = refuse_chain(ctx, err);
        goto out;
    }
    rc = check_issuers(ctx, err);
    if (!rc && issuer) {
        rc = keep_issuer(ctx, issuer, err);
    }
out:
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return rc;
}

/* The two getters answer with all bits set when the extension is absent. */
static enum ww_err check_leaf_usage(X509 *leaf, struct ww_error *err)
{
    const uint32_t purposes = X509_get_extended_key_usage(leaf);
    if (purposes == UINT32_MAX || !(purposes & XKU_CODE_SIGN)) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "signing certificate lacks the extended key usage codeSigning");
    }
    if (!(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE)) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "signing certificate lacks the key usage digitalSignature");
    }
    return WW_OK;
}

enum ww_err ww_certs_leaf_key(const struct ww_certs *chain, struct ww_pubkey **out,
                              struct ww_error *err)
{
    EVP_PKEY *pkey = X509_get0_pubkey(sk_X509_value(chain->stack, 0));
    *out = NULL;
    if (!pkey) {
        return ww_ossl_fail(err, WW_E_KEY, "key of the signing certificate is unusable");
    }
    return ww_pubkey_from_evp(pkey, "key of the signing certificate", out, err);
}

enum ww_err ww_certs_check(const struct ww_certs *chain, const struct ww_certs *anchors,
                           int64_t at_unix, X509 **issuer, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_certs_count(chain) == 0) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "no certificate given with the signature");
    }
    rc = check_chain(chain, anchors, false, at_unix, issuer, err);
    if (rc) {
        return rc;
    }
    rc = check_leaf_usage(sk_X509_value(chain->stack, 0), err);
    if (rc && issuer) {
        X509_free(*issuer);
        *issuer = NULL;
    }
    return rc;
}

/* Key and subject of a leaf that was checked. */
static enum ww_err take_leaf(const struct ww_certs *chain, struct ww_pubkey **leaf_key,
                             struct ww_buf *subject, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = ww_certs_leaf_key(chain, &key, err);

    if (rc) {
        goto out;
    }
    rc = add_subject(sk_X509_value(chain->stack, 0), subject, err);
    if (rc) {
        goto out;
    }
    *leaf_key = key;
    key = NULL;
out:
    ww_pubkey_free(key);
    return rc;
}

enum ww_err ww_certs_verify(const struct ww_certs *chain, const struct ww_certs *anchors,
                            int64_t at_unix, struct ww_pubkey **leaf_key,
                            struct ww_buf *subject, struct ww_error *err)
{
    *leaf_key = NULL;
    const enum ww_err rc = ww_certs_check(chain, anchors, at_unix, NULL, err);
    return rc ? rc : take_leaf(chain, leaf_key, subject, err);
}

static bool has_root(const struct ww_certs *certs)
{
    for (int i = 0; i < sk_X509_num(certs->stack); i++) {
        X509 *cert = sk_X509_value(certs->stack, i);
        if (X509_check_issued(cert, cert) == X509_V_OK) {
            return true;
        }
    }
    return false;
}

/* All certificates but the leaf, borrowed as references. */
static enum ww_err above_leaf(const struct ww_certs *chain, struct ww_certs **out,
                              struct ww_error *err)
{
    enum ww_err rc = ww_certs_new(out, err);

    for (int i = 1; i < sk_X509_num(chain->stack) && !rc; i++) {
        X509 *cert = sk_X509_value(chain->stack, i);
        if (sk_X509_push((*out)->stack, cert) <= 0) {
            rc = WW_FAIL_MEMORY(err, "certificates");
        } else if (X509_up_ref(cert) != 1) {
            (void)sk_X509_pop((*out)->stack);
            rc = WW_FAIL(err, WW_E_CRYPTO, "certificate cannot be kept");
        }
    }
    return rc;
}

enum ww_err ww_certs_verify_own(const struct ww_certs *chain, int64_t at_unix,
                                struct ww_pubkey **leaf_key, struct ww_buf *subject,
                                struct ww_error *err)
{
    struct ww_certs *above = NULL;
    enum ww_err rc = WW_OK;

    *leaf_key = NULL;
    if (ww_certs_count(chain) < 2 || has_root(chain)) {
        return ww_certs_verify(chain, chain, at_unix, leaf_key, subject, err);
    }
    rc = above_leaf(chain, &above, err);
    if (rc) {
        goto out;
    }
    rc = check_chain(chain, above, true, at_unix, NULL, err);
    if (rc) {
        goto out;
    }
    rc = check_leaf_usage(sk_X509_value(chain->stack, 0), err);
    if (rc) {
        goto out;
    }
    rc = take_leaf(chain, leaf_key, subject, err);
out:
    ww_certs_free(above);
    return rc;
}
