/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk encryption through OpenSSL, whose AES-GCM (NIST SP 800-38D) uses AES and
 * carry-less multiplication of the processor. libsodium would refuse AES without these
 * instructions; OpenSSL would be slow and leak by timing, so ChaCha20-Poly1305 takes its
 * place there. Each call has a context of its own: that costs a microsecond for a chunk
 * of a megabyte and lets any thread seal any chunk.
 */
#include "crypto/aead.h"

#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/ossl.h"
#include "crypto/secret.h"
#include "util/fail.h"

#define MAX_BYTES ((size_t)64 << 20)

static const char *ossl_name(enum ww_aead_cipher cipher)
{
    return cipher == WW_AEAD_AES256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305";
}

enum ww_aead_cipher ww_aead_best(void)
{
    WW_INVARIANT(sodium_init() >= 0);
    return crypto_aead_aes256gcm_is_available() ? WW_AEAD_AES256_GCM : WW_AEAD_CHACHA20;
}

/* Start a context for one message. The nonce length of both is the 12 bytes we use. */
static enum ww_err begin(enum ww_aead_cipher cipher, const uint8_t *key,
                         const uint8_t *nonce, int encrypt, EVP_CIPHER_CTX **ctx,
                         EVP_CIPHER **evp, struct ww_error *err)
{
    ww_ossl_init();
    *evp = EVP_CIPHER_fetch(NULL, ossl_name(cipher), NULL);
    *ctx = *evp ? EVP_CIPHER_CTX_new() : NULL;
    if (!*ctx || EVP_CipherInit_ex2(*ctx, *evp, key, nonce, encrypt, NULL) != 1) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "cannot start a cipher");
    }
    return WW_OK;
}

enum ww_err ww_aead_seal(enum ww_aead_cipher cipher, const uint8_t *key,
                         const uint8_t *nonce, const uint8_t *in, size_t n, uint8_t *out,
                         struct ww_error *err)
{
    EVP_CIPHER_CTX *ctx = NULL;
    EVP_CIPHER *evp = NULL;
    int done = 0;
    int rest = 0;
    enum ww_err rc = WW_OK;

    WW_INVARIANT(n <= MAX_BYTES);
    rc = begin(cipher, key, nonce, 1, &ctx, &evp, err);
    if (rc) {
        goto out;
    }
    if (EVP_EncryptUpdate(ctx, out, &done, in, (int)n) != 1 || (size_t)done != n ||
        EVP_EncryptFinal_ex(ctx, out + n, &rest) != 1 || rest != 0 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, WW_AEAD_TAG_BYTES, out + n) !=
            1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "encryption failed");
    }
out:
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(evp);
    return rc;
}

enum ww_err ww_aead_open(enum ww_aead_cipher cipher, const uint8_t *key,
                         const uint8_t *nonce, const uint8_t *in, size_t n, uint8_t *out,
                         bool *good, struct ww_error *err)
{
    uint8_t tag[WW_AEAD_TAG_BYTES];
    uint8_t none[1];
    EVP_CIPHER_CTX *ctx = NULL;
    EVP_CIPHER *evp = NULL;
    int done = 0;
    int rest = 0;
    enum ww_err rc = WW_OK;

    WW_INVARIANT(n <= MAX_BYTES);
    *good = false;
    memcpy(tag, in + n, sizeof(tag));
    rc = begin(cipher, key, nonce, 0, &ctx, &evp, err);
    if (rc) {
        goto out;
    }
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, WW_AEAD_TAG_BYTES, tag) != 1 ||
        EVP_DecryptUpdate(ctx, out, &done, in, (int)n) != 1 || (size_t)done != n) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "decryption failed");
        goto out;
    }
    *good = EVP_DecryptFinal_ex(ctx, none, &rest) == 1 && rest == 0;
out:
    if (!*good) {
        /* What was decrypted without being authenticated must not be used by anyone. */
        ww_wipe(out, n);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(evp);
    return rc;
}
