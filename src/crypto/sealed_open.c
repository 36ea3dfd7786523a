/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a sealed record: a stanza gives the file key, the file key opens the payload.
 * A wrong passphrase shows at the wrapped file key, an altered header at the payload.
 * Argon2id (RFC 9106) runs at the cost that the file states; when its memory cannot be
 * had that is an error, since a cheaper derivation would be a weaker one.
 */
#include <string.h>

#include "crypto/recipient.h"
#include "crypto/sealed_layout.h"
#include "util/fail.h"
#include "util/num.h"

const struct ww_argon2_cost ww_argon2_strong = {3, 256 * 1024};

#define BINDING_LABEL "weightward/sealed/recipient/v1"

void ww_record_wrap_ad(const uint8_t *fixed, uint8_t out[WRAP_AD_BYTES])
{
    memcpy(out, WRAP_LABEL, sizeof(WRAP_LABEL));
    memcpy(out + sizeof(WRAP_LABEL), fixed, WW_RECORD_FIXED_BYTES);
}

void ww_record_binding(const uint8_t *fixed, const uint8_t id[WW_RECORD_ID_BYTES],
                       uint8_t out[BINDING_BYTES])
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)BINDING_LABEL,
                              sizeof(BINDING_LABEL));
    crypto_hash_sha256_update(&state, fixed, WW_RECORD_FIXED_BYTES);
    crypto_hash_sha256_update(&state, id, WW_RECORD_ID_BYTES);
    crypto_hash_sha256_final(&state, out);
}

enum ww_err ww_record_stretch(struct ww_secret *passphrase, const uint8_t *salt,
                              const struct ww_argon2_cost *cost, struct ww_secret **out,
                              struct ww_error *err)
{
    enum ww_err rc = ww_secret_new(FILE_KEY_BYTES, out, err);
    if (rc) {
        return rc;
    }
    const int failed = crypto_pwhash_argon2id(
        ww_secret_open(*out), FILE_KEY_BYTES, (const char *)ww_secret_open(passphrase),
        ww_secret_len(passphrase), salt, cost->n_passes, (size_t)cost->memory_kib * 1024,
        crypto_pwhash_argon2id_ALG_ARGON2ID13);
    ww_secret_close(passphrase);
    ww_secret_close(*out);
    if (failed) {
        ww_secret_free(*out);
        *out = NULL;
        return WW_FAIL(err, WW_E_NOMEM,
                       "out of memory: the passphrase needs %u MiB for a moment",
                       cost->memory_kib / 1024);
    }
    return WW_OK;
}

static enum ww_err key_by_passphrase(const struct ww_record *record,
                                     struct ww_secret *passphrase,
                                     struct ww_secret *file_key, struct ww_error *err)
{
    const uint8_t *body = record->stanzas;
    const struct ww_argon2_cost cost = {ww_get_u32le(body + PASS_AT_PASSES),
                                        ww_get_u32le(body + PASS_AT_MEMORY)};
    uint8_t ad[WRAP_AD_BYTES];
    struct ww_secret *wrapping = NULL;
    enum ww_err rc = WW_OK;

    if (!passphrase) {
        return WW_FAIL(err, WW_E_PASSPHRASE,
                       "key is sealed, its passphrase is needed: by an option that ends "
                       "in 'passphrase-file' or 'passphrase-fd', or at a terminal");
    }
    rc = ww_record_stretch(passphrase, body, &cost, &wrapping, err);
    if (rc) {
        return rc;
    }
    ww_record_wrap_ad(record->bytes, ad);
    const int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
        ww_secret_open(file_key), NULL, NULL, body + PASS_AT_WRAPPED,
        FILE_KEY_BYTES + TAG_BYTES, ad, sizeof(ad), body + PASS_AT_NONCE,
        ww_secret_open(wrapping));
    ww_secret_close(file_key);
    ww_secret_close(wrapping);
    ww_secret_free(wrapping);
    if (failed) {
        return WW_FAIL(err, WW_E_PASSPHRASE, "passphrase does not open the key");
    }
    return WW_OK;
}

static const uint8_t *stanza_for(const struct ww_record *record, const uint8_t *id)
{
    for (size_t i = 0; i < record->n_stanzas; i++) {
        const uint8_t *body = ww_record_recipient(record, i);
        if (memcmp(body, id, WW_RECORD_ID_BYTES) == 0) {
            return body;
        }
    }
    return NULL;
}

/* Open the box into plain (of BINDING_BYTES + FILE_KEY_BYTES) and check what it is tied
 * to. */
static bool open_box(const struct ww_record *record, const uint8_t *body,
                     const uint8_t *public_key, const uint8_t *secret_key, uint8_t *plain)
{
    uint8_t binding[BINDING_BYTES];

    if (crypto_box_seal_open(plain, body + RCPT_AT_BOX, RCPT_BOX_BYTES, public_key,
                             secret_key) != 0) {
        return false;
    }
    ww_record_binding(record->bytes, body, binding);
    return sodium_memcmp(plain, binding, BINDING_BYTES) == 0;
}

static enum ww_err key_by_recipient(const struct ww_record *record,
                                    struct ww_secret *recipient,
                                    struct ww_secret *file_key, struct ww_error *err)
{
    uint8_t public_key[WW_RECORD_SECRET_BYTES];
    uint8_t id[WW_RECORD_ID_BYTES];
    struct ww_secret *plain = NULL;
    enum ww_err rc = WW_OK;

    if (!recipient) {
        return WW_FAIL(err, WW_E_PASSPHRASE,
                       "key is sealed for recipients, the key file of one is needed: "
                       "--open-with KEY");
    }
    rc = ww_secret_new(BINDING_BYTES + FILE_KEY_BYTES, &plain, err);
    if (rc) {
        return rc;
    }
    const uint8_t *secret_key = ww_secret_open(recipient);
    uint8_t *bytes = ww_secret_open(plain);
    ww_recipient_public_of(secret_key, public_key);
    ww_recipient_id(public_key, id);
    const uint8_t *body = stanza_for(record, id);
    if (!body) {
        rc = WW_FAIL(err, WW_E_NOT_FOR_YOU,
                     "key is sealed for %u recipient%s, and this is none of them",
                     record->n_stanzas, record->n_stanzas == 1 ? "" : "s");
        goto out;
    }
    if (!open_box(record, body, public_key, secret_key, bytes)) {
        rc =
            WW_FAIL(err, WW_E_KEYFILE, "sealed record was altered: the recipient's part");
        goto out;
    }
    memcpy(ww_secret_open(file_key), bytes + BINDING_BYTES, FILE_KEY_BYTES);
    ww_secret_close(file_key);
out:
    ww_secret_close(recipient);
    ww_secret_free(plain);
    return rc;
}

enum ww_err ww_record_file_key(const struct ww_record *record,
                               const struct ww_record_key *key,
                               struct ww_secret *file_key, struct ww_error *err)
{
    switch (record->sealing) {
    case WW_SEALED_PASSPHRASE:
        return key_by_passphrase(record, key->passphrase, file_key, err);
    case WW_SEALED_RECIPIENTS:
        return key_by_recipient(record, key->recipient, file_key, err);
    case WW_SEALED_NONE:
        memcpy(ww_secret_open(file_key), record->stanzas, FILE_KEY_BYTES);
        ww_secret_close(file_key);
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_INTERNAL, "sealing %d is none of ours",
                   (int)record->sealing);
}

/* The payload repeats the header's facts, so that its plaintext stands for itself. */
static bool plain_fits(const struct ww_record *record, const uint8_t *plain)
{
    return ww_get_u32le(plain) == record->version &&
           ww_get_u32le(plain + PLAIN_AT_KIND) == (uint32_t)record->kind &&
           ww_get_u64le(plain + PLAIN_AT_CREATED) == record->created_unix &&
           memcmp(plain + PLAIN_AT_ID, record->id, WW_RECORD_ID_BYTES) == 0;
}

enum ww_err ww_record_payload(const struct ww_record *record, struct ww_secret *file_key,
                              struct ww_secret **out, struct ww_error *err)
{
    struct ww_secret *plain = NULL;
    enum ww_err rc = ww_secret_new(record->plain_bytes, &plain, err);

    *out = NULL;
    if (rc) {
        return rc;
    }
    uint8_t *bytes = ww_secret_open(plain);
    const int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
        bytes, NULL, NULL, record->box, record->plain_bytes + BOX_OVER_BYTES,
        record->bytes, record->header_bytes, record->nonce, ww_secret_open(file_key));
    const bool fits = !failed && plain_fits(record, bytes);
    ww_secret_close(file_key);
    ww_secret_close(plain);
    if (!fits) {
        ww_secret_free(plain);
        return WW_FAIL(err, WW_E_KEYFILE,
                       "sealed record was altered: its payload does not open");
    }
    *out = plain;
    return WW_OK;
}

static enum ww_err take_payload(const struct ww_record *record, struct ww_secret *plain,
                                struct ww_secret *secret, struct ww_key_binding *binding,
                                struct ww_error *err)
{
    struct ww_key_binding found = {0};
    const uint8_t *bytes = ww_secret_open(plain);
    enum ww_err rc = WW_OK;

    memcpy(ww_secret_open(secret), bytes + PLAIN_AT_SECRET, WW_RECORD_SECRET_BYTES);
    ww_secret_close(secret);
    if (record->version == WW_RECORD_VERSION_BOUND) {
        rc = ww_binding_read(bytes + PLAIN_AT_BINDING, &found, err);
    }
    ww_secret_close(plain);
    if (!rc && binding) {
        *binding = found;
    }
    return rc;
}

enum ww_err ww_record_open(const struct ww_record *record,
                           const struct ww_record_key *key, struct ww_secret **out,
                           struct ww_key_binding *binding, struct ww_error *err)
{
    struct ww_secret *file_key = NULL;
    struct ww_secret *plain = NULL;
    struct ww_secret *secret = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_secret_new(FILE_KEY_BYTES, &file_key, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(WW_RECORD_SECRET_BYTES, &secret, err);
    if (rc) {
        goto out;
    }
    rc = ww_record_file_key(record, key, file_key, err);
    if (rc) {
        goto out;
    }
    rc = ww_record_payload(record, file_key, &plain, err);
    if (rc) {
        goto out;
    }
    rc = take_payload(record, plain, secret, binding, err);
    if (rc) {
        goto out;
    }
    *out = secret;
    secret = NULL;
out:
    ww_secret_free(secret);
    ww_secret_free(plain);
    ww_secret_free(file_key);
    return rc;
}
