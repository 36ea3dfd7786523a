/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PKCS#8 (RFC 5958) in PEM (RFC 7468). Encryption is PBES2 with scrypt (RFC 7914) and
 * AES-256-CBC at OpenSSL's own cost (N = 2^14, r = 8, p = 1, 16 MiB): its reader refuses
 * more than 32 MiB, and the file should open in any program built on it.
 *
 * The steps are done one by one. OpenSSL's all-in-one reader would ask at the terminal
 * for a passphrase when a file needs one.
 */
#include "crypto/pkcs8.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "crypto/ossl.h"
#include "crypto/sealed.h"
#include "util/fail.h"
#include "util/str.h"

#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SALT_BYTES 16

enum form { FORM_PLAIN, FORM_ENCRYPTED, FORM_SEC1 };

struct block {
    enum form form;
    uint8_t *der; /* in the secure heap where there is one */
    long len;
};

static const struct {
    const char *name;
    enum form form;
} forms[] = {
    {PEM_STRING_PKCS8INF, FORM_PLAIN},
    {PEM_STRING_PKCS8, FORM_ENCRYPTED},
    {PEM_STRING_ECPRIVATEKEY, FORM_SEC1},
};

static void block_release(struct block *block)
{
    OPENSSL_secure_clear_free(block->der, (size_t)block->len);
    block->der = NULL;
}

static enum ww_err recognise(const char *name, const char *header, struct block *block,
                             struct ww_error *err)
{
    if (header[0] != '\0') {
        return WW_FAIL(err, WW_E_KEY,
                       "key uses the old PEM encryption, convert it with "
                       "'openssl pkcs8 -topk8 -scrypt'");
    }
    for (size_t i = 0; i < WW_LEN(forms); i++) {
        if (ww_str_eq(name, forms[i].name)) {
            block->form = forms[i].form;
            return WW_OK;
        }
    }
    if (ww_str_ends(name, "PRIVATE KEY")) {
        return WW_FAIL(err, WW_E_KEY,
                       "found '%s', expected ECDSA on P-256, P-384 or P-521", name);
    }
    return WW_FAIL(err, WW_E_KEY, "found a PEM block '%s', expected 'PRIVATE KEY'", name);
}

/* The next block, "EC PARAMETERS" aside, which openssl puts before a SEC 1 key. */
static enum ww_err next_block(BIO *bio, struct block *block, struct ww_error *err)
{
    char *name = NULL;
    char *header = NULL;
    bool skip = false;
    enum ww_err rc = WW_OK;

    do {
        block_release(block);
        OPENSSL_secure_free(name);
        OPENSSL_secure_free(header);
        name = NULL;
        header = NULL;
        if (PEM_read_bio_ex(bio, &name, &header, &block->der, &block->len,
                            PEM_FLAG_SECURE) != 1) {
            return ww_ossl_fail(err, WW_E_KEYFILE, "no private key in PEM form found");
        }
        skip = ww_str_eq(name, PEM_STRING_ECPARAMETERS);
    } while (skip);
    rc = recognise(name, header, block, err);
    OPENSSL_secure_free(name);
    OPENSSL_secure_free(header);
    return rc;
}

static enum ww_err find_block(struct ww_secret *pem, struct block *block,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_ossl_init();
    *block = (struct block){FORM_PLAIN, NULL, 0};
    const uint8_t *text = ww_secret_open(pem);
    BIO *bio = BIO_new_mem_buf(text, (int)ww_secret_len(pem));
    if (ww_record_is(text, ww_secret_len(pem))) {
        rc = WW_FAIL(err, WW_E_KEY,
                     "found a lock or recipient key, expected a signing key");
    } else if (bio) {
        rc = next_block(bio, block, err);
    } else {
        rc = ww_ossl_fail(err, WW_E_NOMEM, "out of memory for a key");
    }
    BIO_free(bio);
    ww_secret_close(pem);
    if (rc) {
        block_release(block);
    }
    return rc;
}

enum ww_err ww_pkcs8_is_encrypted(struct ww_secret *pem, bool *encrypted,
                                  struct ww_error *err)
{
    struct block block;
    enum ww_err rc = find_block(pem, &block, err);
    if (!rc) {
        *encrypted = block.form == FORM_ENCRYPTED;
        block_release(&block);
    }
    return rc;
}

static enum ww_err decrypt(const struct block *block, struct ww_secret *passphrase,
                           PKCS8_PRIV_KEY_INFO **out, struct ww_error *err)
{
    const uint8_t *cursor = block->der;
    X509_SIG *sealed = NULL;
    enum ww_err rc = WW_OK;

    if (!passphrase) {
        return WW_FAIL(
            err, WW_E_PASSPHRASE,
            "key is encrypted, its passphrase is needed: by an option that ends in "
            "'passphrase-file' or 'passphrase-fd', or at a terminal");
    }
    sealed = d2i_X509_SIG(NULL, &cursor, block->len);
    if (!sealed || cursor != block->der + block->len) {
        rc = ww_ossl_fail(err, WW_E_KEYFILE, "encrypted key is malformed");
        goto out;
    }
    *out = PKCS8_decrypt(sealed, (const char *)ww_secret_open(passphrase),
                         (int)ww_secret_len(passphrase));
    ww_secret_close(passphrase);
    if (!*out) {
        rc = ww_ossl_fail(err, WW_E_PASSPHRASE,
                          "key does not open: wrong passphrase, or the file is damaged");
    }
out:
    X509_SIG_free(sealed);
    return rc;
}

static enum ww_err parse_key(const struct block *block, struct ww_secret *passphrase,
                             EVP_PKEY **out, struct ww_error *err)
{
    const uint8_t *cursor = block->der;
    PKCS8_PRIV_KEY_INFO *info = NULL;
    enum ww_err rc = WW_OK;

    switch (block->form) {
    case FORM_SEC1:
        *out = d2i_PrivateKey(EVP_PKEY_EC, NULL, &cursor, block->len);
        break;
    case FORM_PLAIN:
        info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &cursor, block->len);
        break;
    case FORM_ENCRYPTED:
        rc = decrypt(block, passphrase, &info, err);
        break;
    }
    if (info) {
        *out = EVP_PKCS82PKEY(info);
    }
    if (!rc && !*out) {
        rc = ww_ossl_fail(err, WW_E_KEYFILE, "private key is malformed");
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

enum ww_err ww_pkcs8_read(struct ww_secret *pem, struct ww_secret *passphrase,
                          EVP_PKEY **out, struct ww_error *err)
{
    struct block block;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = find_block(pem, &block, err);
    if (rc) {
        return rc;
    }
    rc = parse_key(&block, passphrase, out, err);
    block_release(&block);
    return rc;
}

static X509_SIG *encrypt(PKCS8_PRIV_KEY_INFO *info, struct ww_secret *passphrase)
{
    uint8_t salt[SALT_BYTES];
    X509_SIG *sealed = NULL;
    X509_ALGOR *how = NULL;

    ww_random(salt, sizeof(salt));
    how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof(salt), NULL, SCRYPT_N,
                                SCRYPT_R, SCRYPT_P);
    if (how) {
        sealed = PKCS8_set0_pbe((const char *)ww_secret_open(passphrase),
                                (int)ww_secret_len(passphrase), info, how);
        ww_secret_close(passphrase);
    }
    if (!sealed) {
        X509_ALGOR_free(how);
    }
    return sealed;
}

static bool write_info(BIO *bio, PKCS8_PRIV_KEY_INFO *info, struct ww_secret *passphrase)
{
    bool written = false;
    if (!passphrase) {
        return PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio, info) == 1;
    }
    X509_SIG *sealed = encrypt(info, passphrase);
    if (sealed) {
        written = PEM_write_bio_PKCS8(bio, sealed) == 1;
    }
    X509_SIG_free(sealed);
    return written;
}

enum ww_err ww_pkcs8_write(EVP_PKEY *pkey, struct ww_secret *passphrase,
                           struct ww_secret **pem, struct ww_error *err)
{
    PKCS8_PRIV_KEY_INFO *info = NULL;
    BIO *bio = NULL;
    char *text = NULL;
    enum ww_err rc = WW_OK;

    *pem = NULL;
    bio = BIO_new(BIO_s_secmem());
    info = EVP_PKEY2PKCS8(pkey);
    if (!bio || !info || !write_info(bio, info, passphrase)) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "private key cannot be written");
        goto out;
    }
    const long len = BIO_get_mem_data(bio, &text);
    rc = ww_secret_new((size_t)len, pem, err);
    if (rc) {
        goto out;
    }
    memcpy(ww_secret_open(*pem), text, (size_t)len);
    ww_secret_close(*pem);
out:
    BIO_free(bio);
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}
