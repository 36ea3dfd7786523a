/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing inside a token: find the one token and the one key that the URI names, log in,
 * hand over the digest with the mechanism CKM_ECDSA, which every token knows, and turn
 * r || s into DER. The public half comes from the public key object, or from a
 * certificate, with the identifier of the private key.
 */
#include <string.h>

#include <openssl/ecdsa.h>

#include "crypto/keyfile.h"
#include "crypto/ossl.h"
#include "crypto/p11_module.h"
#include "crypto/p11_object.h"
#include "crypto/p11_uri.h"
#include "crypto/secret.h"
#include "crypto/signdevice.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_SLOTS 256
#define RAW_MAX_BYTES 132 /* r and s on P-521 */
#define DER_MAX_BYTES 144

struct token {
    struct ww_p11_module module;
    CK_SESSION_HANDLE session;
    bool has_session;
    CK_OBJECT_HANDLE key;
    char name[WW_P11_TEXT_BYTES];
};

static void close_token(void *self)
{
    struct token *token = self;

    if (token && token->has_session) {
        (void)token->module.f->C_Logout(token->session);
        (void)token->module.f->C_CloseSession(token->session);
    }
    if (token) {
        ww_p11_module_close(&token->module);
        ww_free(token);
    }
}

/* Fields of a token are filled up with blanks. */
static bool field_is(const struct ww_p11_text *want, const unsigned char *field,
                     size_t size)
{
    if (!want->given) {
        return true;
    }
    while (size > 0 && field[size - 1] == ' ') {
        size--;
    }
    return want->len == size && memcmp(want->text, field, size) == 0;
}

static bool slot_is(const struct ww_p11_text *want, CK_SLOT_ID slot)
{
    uint64_t id = 0;

    return !want->given || (ww_parse_u64(want->text, want->len, &id) && id == slot);
}

static bool token_fits(const struct token *token, const struct ww_p11_uri *uri,
                       CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    return token->module.f->C_GetTokenInfo(slot, info) == CKR_OK &&
           slot_is(&uri->slot_id, slot) &&
           field_is(&uri->token, info->label, sizeof(info->label)) &&
           field_is(&uri->manufacturer, info->manufacturerID,
                    sizeof(info->manufacturerID)) &&
           field_is(&uri->model, info->model, sizeof(info->model)) &&
           field_is(&uri->serial, info->serialNumber, sizeof(info->serialNumber)) &&
           (info->flags & CKF_TOKEN_INITIALIZED) != 0;
}

static enum ww_err find_slot(const struct token *token, const struct ww_p11_uri *uri,
                             CK_SLOT_ID *out, CK_TOKEN_INFO *info, struct ww_error *err)
{
    CK_SLOT_ID slots[MAX_SLOTS];
    CK_TOKEN_INFO at;
    unsigned long n = MAX_SLOTS;
    size_t n_fit = 0;
    CK_RV rv = token->module.f->C_GetSlotList(CK_TRUE, slots, &n);

    if (rv != CKR_OK) {
        return ww_p11_fail(err, rv, "tokens cannot be listed");
    }
    for (unsigned long i = 0; i < n; i++) {
        if (token_fits(token, uri, slots[i], &at)) {
            *out = slots[i];
            *info = at;
            n_fit++;
        }
    }
    if (n_fit != 1) {
        return WW_FAIL(
            err, WW_E_KEY,
            "%zu of the %lu tokens fit the URI, expected one; is it plugged in, "
            "and is 'token=%s' its label?",
            n_fit, n, uri->token.text);
    }
    return WW_OK;
}

static enum ww_err log_in(struct token *token, struct ww_secret *pin,
                          const CK_TOKEN_INFO *info, struct ww_error *err)
{
    const bool has_keypad = (info->flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
    char what[WW_P11_TEXT_BYTES + 64];
    CK_RV rv = CKR_OK;

    if ((info->flags & CKF_LOGIN_REQUIRED) == 0) {
        return WW_OK;
    }
    if (!pin && !has_keypad) {
        return WW_FAIL(err, WW_E_PASSPHRASE,
                       "token '%s' wants a PIN; give it by 'pin-source' in the URI, a "
                       "passphrase file or descriptor, or on the terminal",
                       token->name);
    }
    if (pin) {
        uint8_t *bytes = ww_secret_open(pin);
        rv =
            token->module.f->C_Login(token->session, CKU_USER, bytes, ww_secret_len(pin));
        ww_secret_close(pin);
    } else {
        rv = token->module.f->C_Login(token->session, CKU_USER, NULL, 0);
    }
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) {
        return WW_OK;
    }
    snprintf(what, sizeof(what), "token '%.200s' does not open", token->name);
    return ww_p11_fail(err, rv, what);
}

static enum ww_err open_session(struct token *token, const struct ww_p11_uri *uri,
                                struct ww_secret *pin, struct ww_error *err)
{
    CK_SLOT_ID slot = 0;
    CK_TOKEN_INFO info = {0};
    CK_RV rv = CKR_OK;
    enum ww_err rc = find_slot(token, uri, &slot, &info, err);

    if (rc) {
        return rc;
    }
    snprintf(token->name, sizeof(token->name), "%s",
             uri->token.given ? uri->token.text : "of the URI");
    rv = token->module.f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL,
                                        &token->session);
    if (rv != CKR_OK) {
        return ww_p11_fail(err, rv, "session with the token cannot be opened");
    }
    token->has_session = true;
    return log_in(token, pin, &info, err);
}

static enum ww_err to_der(const uint8_t *raw, size_t len, struct ww_buf *sig,
                          struct ww_error *err)
{
    ECDSA_SIG *value = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)(len / 2), NULL);
    BIGNUM *s = BN_bin2bn(raw + len / 2, (int)(len / 2), NULL);
    uint8_t der[DER_MAX_BYTES];
    uint8_t *cursor = der;
    int der_len = 0;
    enum ww_err rc = WW_OK;

    if (!value || !r || !s || ECDSA_SIG_set0(value, r, s) != 1) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "signature of the token cannot be encoded");
        goto out;
    }
    r = s = NULL; /* the value's now */
    der_len = i2d_ECDSA_SIG(value, NULL);
    if (der_len <= 0 || der_len > DER_MAX_BYTES || i2d_ECDSA_SIG(value, &cursor) <= 0) {
        rc = ww_ossl_fail(err, WW_E_CRYPTO, "signature of the token cannot be encoded");
        goto out;
    }
    rc = ww_buf_add(sig, der, (size_t)der_len, err);
out:
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(value);
    return rc;
}

static enum ww_err sign_in_token(void *self, const char *hash, const uint8_t *digest,
                                 size_t len, struct ww_buf *sig, struct ww_error *err)
{
    struct token *token = self;
    CK_MECHANISM mechanism = {.mechanism = CKM_ECDSA};
    uint8_t input[WW_SIGNDEVICE_DIGEST_MAX];
    uint8_t raw[RAW_MAX_BYTES];
    unsigned long raw_len = sizeof(raw);
    char what[WW_P11_TEXT_BYTES + 64];
    CK_RV rv = CKR_OK;

    (void)hash;
    snprintf(what, sizeof(what), "token '%.200s' does not sign", token->name);
    memcpy(input, digest, len);
    rv = token->module.f->C_SignInit(token->session, &mechanism, token->key);
    if (rv == CKR_OK) {
        rv = token->module.f->C_Sign(token->session, input, len, raw, &raw_len);
    }
    if (rv != CKR_OK) {
        return ww_p11_fail(err, rv, what);
    }
    if (raw_len == 0 || raw_len > sizeof(raw) || raw_len % 2 != 0) {
        return WW_FAIL(err, WW_E_KEY, "%s: it gave %lu bytes, expected r and s", what,
                       raw_len);
    }
    return to_der(raw, raw_len, sig, err);
}

static enum ww_err read_pin(const struct ww_p11_uri *uri, struct ww_secret *given,
                            struct ww_secret **own, struct ww_error *err)
{
    *own = NULL;
    if (given || !uri->pin_source.given) {
        return WW_OK;
    }
    return ww_passphrase_from_file(uri->pin_source.text, own, err);
}

enum ww_err ww_signkey_open_token(const char *uri, struct ww_secret *pin,
                                  struct ww_signkey **out, struct ww_error *err)
{
    struct ww_p11_uri parsed;
    struct ww_secret *own_pin = NULL;
    struct token *token = NULL;
    struct ww_buf spki;
    enum ww_err rc = ww_p11_uri_parse(uri, &parsed, err);

    *out = NULL;
    ww_buf_init(&spki, WW_P11_SPKI_MAX_BYTES);
    if (rc) {
        goto out;
    }
    rc = read_pin(&parsed, pin, &own_pin, err);
    if (rc) {
        goto out;
    }
    token = ww_calloc(1, sizeof(*token));
    if (!token) {
        rc = WW_FAIL_MEMORY(err, "a token");
        goto out;
    }
    rc = ww_p11_module_open(parsed.module_path.text, &token->module, err);
    if (rc) {
        goto out;
    }
    rc = open_session(token, &parsed, own_pin ? own_pin : pin, err);
    if (rc) {
        goto out;
    }
    rc = ww_p11_find_key(token->module.f, token->session, &parsed, &token->key, &spki,
                         err);
    if (rc) {
        goto out;
    }
    const struct ww_signdevice device = {token, "token", sign_in_token, close_token};
    token = NULL; /* the key's now */
    rc = ww_signkey_from_device(&device, spki.data, spki.len, out, err);
out:
    ww_buf_release(&spki);
    close_token(token);
    ww_secret_free(own_pin);
    return rc;
}
