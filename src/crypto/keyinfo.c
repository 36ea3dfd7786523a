/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling key files apart by their first bytes: sealed records by their magic, recipients
 * by their word, the rest is PEM. Nothing is decrypted, so of an encrypted signing key
 * neither curve nor hint is known.
 */
#include <string.h>

#include "crypto/keyfile.h"
#include "crypto/pkcs8.h"
#include "crypto/recipient.h"
#include "crypto/share.h"
#include "crypto/signkey.h"
#include "util/fail.h"
#include "util/str.h"

static enum ww_key_kind kind_of(enum ww_record_kind kind)
{
    switch (kind) {
    case WW_RECORD_LOCK:
        return WW_KEY_LOCK;
    case WW_RECORD_RECIPIENT:
        return WW_KEY_RECIPIENT;
    case WW_RECORD_CONTENT:
        return WW_KEY_CONTENT;
    case WW_RECORD_SHARE:
        return WW_KEY_SHARE;
    }
    return WW_KEY_LOCK;
}

static enum ww_err inspect_record(const uint8_t *bytes, size_t len,
                                  struct ww_key_info *info, struct ww_error *err)
{
    struct ww_record record;
    enum ww_err rc = ww_record_parse(bytes, len, &record, err);
    if (rc) {
        return rc;
    }
    info->kind = kind_of(record.kind);
    info->sealing = record.sealing;
    info->n_stanzas = record.n_stanzas;
    info->created_unix = record.created_unix;
    ww_hex(info->id, record.id, sizeof(record.id));
    return WW_OK;
}

static enum ww_err inspect_share(const uint8_t *bytes, size_t len,
                                 struct ww_key_info *info, struct ww_error *err)
{
    struct ww_share share;
    enum ww_err rc = ww_share_parse(bytes, len, &share, err);
    if (rc) {
        return rc;
    }
    info->kind = WW_KEY_SHARE;
    info->sealing = share.record.sealing;
    info->n_stanzas = share.record.n_stanzas;
    info->created_unix = share.created_unix;
    info->share = share.index;
    info->threshold = share.threshold;
    info->n_shares = share.n_shares;
    ww_hex(info->id, share.set_id, sizeof(share.set_id));
    return WW_OK;
}

static enum ww_err inspect_recipient(const uint8_t *text, size_t len,
                                     struct ww_key_info *info, struct ww_error *err)
{
    uint8_t public_key[WW_X25519_BYTES];
    uint8_t id[WW_RECORD_ID_BYTES];
    enum ww_err rc = ww_recipient_parse(text, len, public_key, err);
    if (rc) {
        return rc;
    }
    info->kind = WW_KEY_RECIPIENT_PUBLIC;
    ww_recipient_id(public_key, id);
    ww_hex(info->id, id, sizeof(id));
    return WW_OK;
}

static enum ww_err tell_public(const struct ww_pubkey *key, struct ww_key_info *info,
                               struct ww_error *err)
{
    const char *curve = ww_pubkey_curve(key);
    memcpy(info->curve, curve, strlen(curve) + 1);
    return ww_pubkey_hint(key, info->id, err);
}

static enum ww_err inspect_public(const uint8_t *text, size_t len,
                                  struct ww_key_info *info, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = ww_pubkey_from_pem(text, len, &key, err);
    if (rc) {
        return rc;
    }
    info->kind = WW_KEY_SIGNING_PUBLIC;
    rc = tell_public(key, info, err);
    ww_pubkey_free(key);
    return rc;
}

static enum ww_err inspect_signing(struct ww_secret *file, struct ww_key_info *info,
                                   struct ww_error *err)
{
    struct ww_signkey *key = NULL;
    struct ww_pubkey *pub = NULL;
    bool encrypted = false;
    enum ww_err rc = WW_OK;

    rc = ww_pkcs8_is_encrypted(file, &encrypted, err);
    if (rc) {
        goto out;
    }
    info->kind = WW_KEY_SIGNING;
    info->sealing = encrypted ? WW_SEALED_PASSPHRASE : WW_SEALED_NONE;
    if (encrypted) {
        goto out;
    }
    rc = ww_signkey_from_pem(file, NULL, &key, err);
    if (rc) {
        goto out;
    }
    rc = ww_signkey_public(key, &pub, err);
    if (rc) {
        goto out;
    }
    rc = tell_public(pub, info, err);
out:
    ww_pubkey_free(pub);
    ww_signkey_free(key);
    return rc;
}

static bool holds(const uint8_t *text, size_t len, const char *word)
{
    return memmem(text, len, word, strlen(word)) != NULL;
}

static enum ww_err inspect_any(struct ww_secret *file, struct ww_key_info *info,
                               struct ww_error *err)
{
    const uint8_t *bytes = ww_secret_open(file);
    const size_t len = ww_secret_len(file);
    enum ww_err rc = WW_OK;

    if (ww_share_is(bytes, len)) {
        rc = inspect_share(bytes, len, info, err);
    } else if (ww_record_is(bytes, len)) {
        rc = inspect_record(bytes, len, info, err);
    } else if (ww_recipient_text_is(bytes, len)) {
        rc = inspect_recipient(bytes, len, info, err);
    } else if (holds(bytes, len, "-----BEGIN PUBLIC KEY-----")) {
        rc = inspect_public(bytes, len, info, err);
    } else if (holds(bytes, len, "-----BEGIN ")) {
        rc = inspect_signing(file, info, err);
    } else {
        rc = WW_FAIL(
            err, WW_E_KEYFILE,
            "not a key file; expected one that 'weightward key' wrote, or a PEM file");
    }
    ww_secret_close(file);
    return rc;
}

enum ww_err ww_key_inspect(const char *path, struct ww_key_info *out,
                           struct ww_error *err)
{
    struct ww_key_info info;
    struct ww_secret *file = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    memset(&info, 0, sizeof(info));
    rc = ww_keyfile_read(path, false, &file, err);
    if (rc) {
        return rc;
    }
    rc = inspect_any(file, &info, err);
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
        goto out;
    }
    *out = info;
out:
    ww_secret_free(file);
    return rc;
}
