/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDSA public keys and signatures (FIPS 186-4, RFC 5480). A key has exactly one accepted
 * encoding, named curve and uncompressed point, because its hash (the OMS hint) is used
 * as its name. A signature has exactly one DER encoding for the same reason: what is
 * parsed is written again and must give the same bytes.
 */
#include "crypto/pubkey.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/curve.h"
#include "crypto/ossl.h"
#include "crypto/sealed.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define PEM_FILE_MAX_BYTES 65536
#define SIGNATURE_MAX_BYTES 256

struct ww_pubkey {
    EVP_PKEY *pkey;
    const struct ww_curve_spec *curve;
    uint8_t der[WW_SPKI_MAX_BYTES];
    size_t der_len;
};

void ww_pubkey_free(struct ww_pubkey *key)
{
    if (key) {
        EVP_PKEY_free(key->pkey);
        ww_free(key);
    }
}

const char *ww_pubkey_curve(const struct ww_pubkey *key)
{
    return key->curve->name;
}

/* Keep the DER form of the key; other lengths mean another form of the point. */
static enum ww_err keep_der(struct ww_pubkey *key, const char *subject,
                            struct ww_error *err)
{
    uint8_t *cursor = key->der;
    const int len = i2d_PUBKEY(key->pkey, NULL);
    if (len < 0 || (size_t)len != key->curve->spki_bytes) {
        return WW_FAIL(err, WW_E_KEY,
                       "%s has a compressed or unusual point encoding (%d bytes), "
                       "expected the uncompressed one (%zu bytes)",
                       subject, len, key->curve->spki_bytes);
    }
    if (i2d_PUBKEY(key->pkey, &cursor) != len) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "public key cannot be encoded");
    }
    key->der_len = (size_t)len;
    return WW_OK;
}

enum ww_err ww_pubkey_from_evp(EVP_PKEY *pkey, const char *subject,
                               struct ww_pubkey **out, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    key = ww_calloc(1, sizeof(*key));
    if (!key) {
        return WW_FAIL_MEMORY(err, "a public key");
    }
    rc = ww_curve_of(pkey, subject, &key->curve, err);
    if (rc) {
        goto out;
    }
    if (EVP_PKEY_up_ref(pkey) != 1) {
        rc = WW_FAIL(err, WW_E_CRYPTO, "public key cannot be kept");
        goto out;
    }
    key->pkey = pkey;
    rc = keep_der(key, subject, err);
    if (rc) {
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ww_pubkey_free(key);
    return rc;
}

enum ww_err ww_pubkey_from_der(const uint8_t *der, size_t len, struct ww_pubkey **out,
                               struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    EVP_PKEY *pkey = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (len == 0 || len > PEM_FILE_MAX_BYTES) {
        return WW_FAIL(err, WW_E_KEYFILE, "public key has %zu bytes, expected 91 to %d",
                       len, WW_SPKI_MAX_BYTES);
    }
    rc = ww_ossl_read_spki(der, len, "public key", &pkey, err);
    if (rc) {
        return rc;
    }
    rc = ww_pubkey_from_evp(pkey, "public key", &key, err);
    if (rc) {
        goto out;
    }
    if (len != key->der_len || memcmp(der, key->der, len) != 0) {
        rc = WW_FAIL(
            err, WW_E_KEYFILE,
            "public key has %zu bytes, expected exactly the %zu of its DER encoding", len,
            key->der_len);
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ww_pubkey_free(key);
    EVP_PKEY_free(pkey);
    return rc;
}

/* What a PEM block that is no public key tells about the mistake. */
static enum ww_err wrong_block(const char *name, struct ww_error *err)
{
    if (ww_str_ends(name, "PRIVATE KEY")) {
        return WW_FAIL(err, WW_E_KEY,
                       "found a private key, expected a public one; give the .pub file");
    }
    return WW_FAIL(err, WW_E_KEYFILE, "found a PEM block '%s', expected 'PUBLIC KEY'",
                   name);
}

enum ww_err ww_pubkey_from_pem(const uint8_t *pem, size_t len, struct ww_pubkey **out,
                               struct ww_error *err)
{
    BIO *bio = NULL;
    char *name = NULL;
    char *header = NULL;
    uint8_t *der = NULL;
    long der_len = 0;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_ossl_init();
    if (len > PEM_FILE_MAX_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "public key text has %zu bytes, at most %d are read", len,
                       PEM_FILE_MAX_BYTES);
    }
    if (ww_record_is(pem, len)) {
        return WW_FAIL(err, WW_E_KEY,
                       "found a lock or recipient key, expected the .pub file of a "
                       "signing key");
    }
    bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio) {
        rc = ww_ossl_fail(err, WW_E_NOMEM, "out of memory for a public key");
        goto out;
    }
    if (PEM_read_bio(bio, &name, &header, &der, &der_len) != 1) {
        rc = ww_ossl_fail(err, WW_E_KEYFILE, "no public key in PEM form found");
        goto out;
    }
    if (!ww_str_eq(name, "PUBLIC KEY") || header[0] != '\0') {
        rc = wrong_block(name, err);
        goto out;
    }
    rc = ww_pubkey_from_der(der, (size_t)der_len, out, err);
out:
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    BIO_free(bio);
    return rc;
}

enum ww_err ww_pubkey_load(const char *path, struct ww_pubkey **out, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_buf_init(&text, PEM_FILE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_from_pem(text.data, text.len, out, err);
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
    }
out:
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_pubkey_der(const struct ww_pubkey *key, struct ww_buf *out,
                          struct ww_error *err)
{
    return ww_buf_add(out, key->der, key->der_len, err);
}

enum ww_err ww_pubkey_pem(const struct ww_pubkey *key, struct ww_buf *out,
                          struct ww_error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!bio || PEM_write_bio(bio, "PUBLIC KEY", "", key->der, (long)key->der_len) <= 0) {
        rc = ww_ossl_fail(err, WW_E_NOMEM, "public key cannot be written");
        goto out;
    }
    const long len = BIO_get_mem_data(bio, &text);
    rc = ww_buf_add(out, text, (size_t)len, err);
out:
    BIO_free(bio);
    return rc;
}

enum ww_err ww_pubkey_hint(const struct ww_pubkey *key, char out[2 * WW_SHA256_BYTES + 1],
                           struct ww_error *err)
{
    struct ww_buf pem;
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_buf_init(&pem, 1024);
    rc = ww_pubkey_pem(key, &pem, err);
    if (rc) {
        goto out;
    }
    ww_sha256_of(pem.data, pem.len, digest);
    ww_hex(out, digest, sizeof(digest));
out:
    ww_buf_release(&pem);
    return rc;
}

static bool signature_is_der(const uint8_t *sig, size_t sig_len)
{
    const uint8_t *cursor = sig;
    uint8_t again[SIGNATURE_MAX_BYTES];
    uint8_t *written = again;
    ECDSA_SIG *parsed = NULL;
    bool same = false;

    if (sig_len == 0 || sig_len > SIGNATURE_MAX_BYTES) {
        return false;
    }
    parsed = d2i_ECDSA_SIG(NULL, &cursor, (long)sig_len);
    if (parsed && i2d_ECDSA_SIG(parsed, NULL) == (int)sig_len &&
        i2d_ECDSA_SIG(parsed, &written) == (int)sig_len) {
        same = memcmp(sig, again, sig_len) == 0;
    }
    ECDSA_SIG_free(parsed);
    return same;
}

static enum ww_err verify_with(const struct ww_pubkey *key, const char *digest,
                               const void *message, size_t len, const uint8_t *sig,
                               size_t sig_len, struct ww_error *err)
{
    if (!signature_is_der(sig, sig_len)) {
        return ww_ossl_fail(err, WW_E_SIGNATURE,
                            "signature is not one DER encoded ECDSA value");
    }
    return ww_ossl_verify(key->pkey, digest, message, len, sig, sig_len, err);
}

enum ww_err ww_pubkey_verify(const struct ww_pubkey *key, const void *message, size_t len,
                             const uint8_t *sig, size_t sig_len, struct ww_error *err)
{
    return verify_with(key, key->curve->digest, message, len, sig, sig_len, err);
}

enum ww_err ww_pubkey_verify_sha256(const struct ww_pubkey *key, const void *message,
                                    size_t len, const uint8_t *sig, size_t sig_len,
                                    struct ww_error *err)
{
    return verify_with(key, "SHA2-256", message, len, sig, sig_len, err);
}
