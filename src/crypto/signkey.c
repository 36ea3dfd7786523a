/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDSA signing keys (FIPS 186-4). A loaded key is checked against its own public half,
 * since a file whose halves differ signs what no one can verify, or leaks the key.
 */
#include "crypto/signkey.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/curve.h"
#include "crypto/keyfile.h"
#include "crypto/ossl.h"
#include "crypto/passphrase.h"
#include "crypto/pkcs8.h"
#include "crypto/pubkey.h"
#include "crypto/signdevice.h"
#include "util/alloc.h"
#include "util/fail.h"

#define PUBLIC_PEM_MAX_BYTES 1024

struct ww_signkey {
    EVP_PKEY *pkey; /* with a device, the public half alone */
    const struct ww_curve_spec *curve;
    struct ww_signdevice device; /* sign is NULL for a key in memory */
};

void ww_signkey_free(struct ww_signkey *key)
{
    if (key) {
        if (key->device.close) {
            key->device.close(key->device.self);
        }
        EVP_PKEY_free(key->pkey);
        ww_free(key);
    }
}

enum ww_err ww_signkey_create(const char *base, enum ww_curve curve,
                              struct ww_secret *passphrase, struct ww_error *err)
{
    const struct ww_curve_spec *spec = ww_curve_at((size_t)curve);
    struct ww_secret *pem = NULL;
    struct ww_pubkey *pub = NULL;
    struct ww_buf pub_pem;
    EVP_PKEY *pkey = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pub_pem, PUBLIC_PEM_MAX_BYTES);
    ww_ossl_init();
    if (!spec) {
        rc = WW_FAIL(err, WW_E_USAGE, "curve number %d is none of ours", (int)curve);
        goto out;
    }
    rc = ww_passphrase_check_new(passphrase, err);
    if (rc) {
        goto out;
    }
    pkey = EVP_EC_gen(spec->group);
    if (!pkey) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "key pair cannot be made");
        goto out;
    }
    rc = ww_pubkey_from_evp(pkey, "new key", &pub, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_pem(pub, &pub_pem, err);
    if (rc) {
        goto out;
    }
    rc = ww_pkcs8_write(pkey, passphrase, &pem, err);
    if (rc) {
        goto out;
    }
    rc = ww_keyfile_write_pair(base, pem, pub_pem.data, pub_pem.len, err);
out:
    ww_secret_free(pem);
    ww_pubkey_free(pub);
    ww_buf_release(&pub_pem);
    EVP_PKEY_free(pkey);
    return rc;
}

enum ww_err ww_signkey_is_encrypted(const char *path, bool *encrypted,
                                    struct ww_error *err)
{
    struct ww_secret *pem = NULL;
    enum ww_err rc = WW_OK;

    *encrypted = false;
    rc = ww_keyfile_read(path, false, &pem, err);
    if (rc) {
        return rc;
    }
    rc = ww_pkcs8_is_encrypted(pem, encrypted, err);
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
    }
    ww_secret_free(pem);
    return rc;
}

static enum ww_err check_halves(EVP_PKEY *pkey, struct ww_error *err)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    enum ww_err rc = WW_OK;

    if (!ctx || EVP_PKEY_pairwise_check(ctx) != 1) {
        rc = ww_ossl_fail(err, WW_E_KEYFILE, "private key does not fit its public half");
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

enum ww_err ww_signkey_from_pem(struct ww_secret *pem, struct ww_secret *passphrase,
                                struct ww_signkey **out, struct ww_error *err)
{
    struct ww_signkey *key = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    key = ww_calloc(1, sizeof(*key));
    if (!key) {
        return WW_FAIL_MEMORY(err, "a key");
    }
    rc = ww_pkcs8_read(pem, passphrase, &key->pkey, err);
    if (rc) {
        goto out;
    }
    rc = ww_curve_of(key->pkey, "signing key", &key->curve, err);
    if (rc) {
        goto out;
    }
    rc = check_halves(key->pkey, err);
    if (rc) {
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ww_signkey_free(key);
    return rc;
}

enum ww_err ww_signkey_load(const char *path, struct ww_secret *passphrase,
                            struct ww_signkey **out, struct ww_error *err)
{
    struct ww_secret *pem = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_keyfile_read(path, true, &pem, err);
    if (rc) {
        return rc;
    }
    rc = ww_signkey_from_pem(pem, passphrase, out, err);
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
    }
    ww_secret_free(pem);
    return rc;
}

enum ww_err ww_signkey_from_device(const struct ww_signdevice *device,
                                   const uint8_t *public_der, size_t len,
                                   struct ww_signkey **out, struct ww_error *err)
{
    struct ww_signkey *key = ww_calloc(1, sizeof(*key));
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!key) {
        device->close(device->self);
        return WW_FAIL_MEMORY(err, "a key");
    }
    key->device = *device;
    rc = ww_ossl_read_spki(public_der, len, "public half of the signing key", &key->pkey,
                           &local);
    if (rc) {
        rc = WW_FAIL(err, WW_E_KEY, "%s", local.text);
        goto out;
    }
    rc = ww_curve_of(key->pkey, "signing key", &key->curve, err);
    if (rc) {
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ww_signkey_free(key);
    return rc;
}

/* A device may be broken, or hold another key than it says: nothing leaves unverified. */
static enum ww_err sign_by_device(struct ww_signkey *key, const void *message, size_t len,
                                  struct ww_buf *sig, struct ww_error *err)
{
    uint8_t digest[WW_SIGNDEVICE_DIGEST_MAX];
    size_t digest_len = sizeof(digest);
    struct ww_pubkey *pub = NULL;
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    if (EVP_Q_digest(NULL, key->curve->digest, NULL, message, len, digest, &digest_len) !=
        1) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "message cannot be hashed");
    }
    rc = key->device.sign(key->device.self, key->curve->digest, digest, digest_len, sig,
                          err);
    if (rc) {
        return rc;
    }
    rc = ww_signkey_public(key, &pub, err);
    if (rc) {
        return rc;
    }
    if (ww_pubkey_verify(pub, message, len, sig->data, sig->len, &local) != WW_OK) {
        rc = WW_FAIL(err, WW_E_KEY,
                     "what the %s gave does not verify under the public key: %s",
                     key->device.what, local.text);
    }
    ww_pubkey_free(pub);
    return rc;
}

enum ww_err ww_signkey_sign(struct ww_signkey *key, const void *message, size_t len,
                            struct ww_buf *sig, struct ww_error *err)
{
    EVP_MD_CTX *ctx = NULL;
    size_t sig_len = 0;
    uint8_t bytes[160]; /* P-521 needs 139 */
    enum ww_err rc = WW_OK;

    if (key->device.sign) {
        return sign_by_device(key, message, len, sig, err);
    }
    ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, key->curve->digest, NULL, NULL,
                                      key->pkey, NULL) != 1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "signing could not be started");
        goto out;
    }
    sig_len = sizeof(bytes);
    if (EVP_DigestSign(ctx, bytes, &sig_len, message, len) != 1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "signature cannot be made");
        goto out;
    }
    rc = ww_buf_add(sig, bytes, sig_len, err);
out:
    EVP_MD_CTX_free(ctx);
    return rc;
}

/* Through DER, so that the copy holds no private half. */
enum ww_err ww_signkey_public(struct ww_signkey *key, struct ww_pubkey **out,
                              struct ww_error *err)
{
    uint8_t *der = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    const int len = i2d_PUBKEY(key->pkey, &der);
    if (len <= 0) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "public key cannot be encoded");
    }
    rc = ww_pubkey_from_der(der, (size_t)len, out, err);
    OPENSSL_free(der);
    return rc;
}
