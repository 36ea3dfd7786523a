/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of logs: RFC 6962 names ECDSA and RSA with SHA-256, the newer logs of
 * Sigstore use Ed25519. The algorithm follows from the key that the verifier pinned and
 * from nothing in the message. ECDSA signatures have one accepted encoding, as those over
 * models have.
 */
#include "crypto/logkey.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/curve.h"
#include "crypto/ossl.h"
#include "crypto/pubkey.h"
#include "util/alloc.h"
#include "util/fail.h"

#define DER_MAX_BYTES 4096
#define RSA_MIN_BITS 2048

struct ww_logkey {
    EVP_PKEY *pkey;
    struct ww_pubkey *ecdsa; /* the same when it is on a curve */
};

void ww_logkey_free(struct ww_logkey *key)
{
    if (key) {
        ww_pubkey_free(key->ecdsa);
        EVP_PKEY_free(key->pkey);
        ww_free(key);
    }
}

static enum ww_err check_kind(struct ww_logkey *key, struct ww_error *err)
{
    const char *type = EVP_PKEY_get0_type_name(key->pkey);

    if (EVP_PKEY_is_a(key->pkey, "EC")) {
        return ww_pubkey_from_evp(key->pkey, "key of the log", &key->ecdsa, err);
    }
    if (EVP_PKEY_is_a(key->pkey, "ED25519") ||
        (EVP_PKEY_is_a(key->pkey, "RSA") &&
         EVP_PKEY_get_bits(key->pkey) >= RSA_MIN_BITS)) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_KEY,
                   "key of the log is '%s' of %d bits, expected ECDSA, Ed25519 or RSA of "
                   "at least %d",
                   type ? type : "unknown", EVP_PKEY_get_bits(key->pkey), RSA_MIN_BITS);
}

enum ww_err ww_logkey_from_der(const uint8_t *der, size_t len, struct ww_logkey **out,
                               struct ww_error *err)
{
    struct ww_logkey *key = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (len == 0 || len > DER_MAX_BYTES) {
        return WW_FAIL(err, WW_E_KEYFILE, "key of the log has %zu bytes", len);
    }
    key = ww_calloc(1, sizeof(*key));
    if (!key) {
        return WW_FAIL_MEMORY(err, "a key");
    }
    rc = ww_ossl_read_spki(der, len, "key of the log", &key->pkey, err);
    if (rc) {
        goto out;
    }
    rc = check_kind(key, err);
    if (rc) {
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ww_logkey_free(key);
    return rc;
}

enum ww_err ww_logkey_verify(const struct ww_logkey *key, const void *message, size_t len,
                             const uint8_t *sig, size_t sig_len, struct ww_error *err)
{
    const char *digest = EVP_PKEY_is_a(key->pkey, "ED25519") ? NULL : "SHA2-256";

    return key->ecdsa
               ? ww_pubkey_verify_sha256(key->ecdsa, message, len, sig, sig_len, err)
               : ww_ossl_verify(key->pkey, digest, message, len, sig, sig_len, err);
}
