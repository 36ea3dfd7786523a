/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL 3 reads openssl.cnf on first use unless told not to. That file can load
 * engines and providers, so an answer could depend on the machine, and it costs start-up
 * time. Only the built-in default provider is used.
 */
#include "crypto/ossl.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "util/fail.h"

void ww_ossl_init(void)
{
    WW_INVARIANT(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1);
}

enum ww_err ww_ossl_fail(struct ww_error *err, enum ww_err code, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    if (!reason) {
        return WW_FAIL(err, code, "%s", what);
    }
    return WW_FAIL(err, code, "%s: %s", what, reason);
}

enum ww_err ww_ossl_read_spki(const uint8_t *der, size_t len, const char *subject,
                              EVP_PKEY **out, struct ww_error *err)
{
    const uint8_t *cursor = der;
    char what[80];

    ww_ossl_init();
    *out = d2i_PUBKEY(NULL, &cursor, (long)len);
    if (!*out) {
        (void)snprintf(what, sizeof(what), "%s is malformed", subject);
        return ww_ossl_fail(err, WW_E_KEYFILE, what);
    }
    if (cursor != der + len) {
        EVP_PKEY_free(*out);
        *out = NULL;
        return WW_FAIL(err, WW_E_KEYFILE, "%s has bytes behind its end", subject);
    }
    return WW_OK;
}

enum ww_err ww_ossl_verify(EVP_PKEY *pkey, const char *digest, const void *message,
                           size_t len, const uint8_t *sig, size_t sig_len,
                           struct ww_error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    enum ww_err rc = WW_OK;

    if (!ctx || EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, pkey, NULL) != 1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "signature check could not be started");
    } else if (EVP_DigestVerify(ctx, sig, sig_len, message, len) != 1) {
        rc = ww_ossl_fail(err, WW_E_SIGNATURE,
                          "signature does not fit the key and the message");
    }
    EVP_MD_CTX_free(ctx);
    return rc;
}
