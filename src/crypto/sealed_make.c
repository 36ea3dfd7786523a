/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writer of the sealed record; the fields are listed in sealed_parse.c. The record is put
 * together in guarded memory, because an unsealed one holds its file key in clear.
 */
#include <string.h>

#include "crypto/passphrase.h"
#include "crypto/recipient.h"
#include "crypto/sealed_layout.h"
#include "util/fail.h"
#include "util/num.h"

static size_t count_stanzas(const struct ww_record_plan *plan)
{
    return plan->n_recipients ? plan->n_recipients : 1;
}

static size_t body_bytes(const struct ww_record_plan *plan)
{
    if (plan->passphrase) {
        return PASS_BYTES;
    }
    return plan->n_recipients ? RCPT_BYTES : FILE_KEY_BYTES;
}

static uint32_t stanza_type(const struct ww_record_plan *plan)
{
    if (plan->passphrase) {
        return STANZA_PASSPHRASE;
    }
    return plan->n_recipients ? STANZA_RECIPIENT : STANZA_NONE;
}

static bool is_bound(const struct ww_record_plan *plan)
{
    return plan->binding && !ww_binding_is_empty(plan->binding);
}

static size_t plain_bytes(const struct ww_record_plan *plan)
{
    return is_bound(plan) ? PLAIN_BOUND_BYTES : PLAIN_BYTES;
}

static void write_fixed(const struct ww_record_plan *plan, uint8_t *record)
{
    const uint32_t version = is_bound(plan) ? WW_RECORD_VERSION_BOUND : WW_RECORD_VERSION;

    memcpy(record, WW_RECORD_MAGIC, WW_RECORD_MAGIC_BYTES);
    ww_put_u32le(record + AT_VERSION, version);
    ww_put_u32le(record + AT_KIND, (uint32_t)plan->kind);
    ww_put_u64le(record + AT_CREATED, plan->created_unix);
    memcpy(record + AT_ID, plan->id, WW_RECORD_ID_BYTES);
    ww_put_u32le(record + AT_N_STANZAS, (uint32_t)count_stanzas(plan));
}

static enum ww_err write_passphrase(const struct ww_record_plan *plan,
                                    const uint8_t *record, const uint8_t *file_key,
                                    uint8_t *body, struct ww_error *err)
{
    struct ww_secret *wrapping = NULL;
    uint8_t ad[WRAP_AD_BYTES];
    enum ww_err rc = WW_OK;

    ww_random(body, SALT_BYTES);
    ww_put_u32le(body + PASS_AT_PASSES, plan->cost.n_passes);
    ww_put_u32le(body + PASS_AT_MEMORY, plan->cost.memory_kib);
    ww_random(body + PASS_AT_NONCE, NONCE_BYTES);
    rc = ww_record_stretch(plan->passphrase, body, &plan->cost, &wrapping, err);
    if (rc) {
        return rc;
    }
    ww_record_wrap_ad(record, ad);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        body + PASS_AT_WRAPPED, NULL, file_key, FILE_KEY_BYTES, ad, sizeof(ad), NULL,
        body + PASS_AT_NONCE, ww_secret_open(wrapping));
    ww_secret_close(wrapping);
    ww_secret_free(wrapping);
    return WW_OK;
}

enum ww_err ww_record_put_recipient(const uint8_t *public_key, const uint8_t *record,
                                    const uint8_t *file_key, uint8_t *stanza,
                                    struct ww_error *err)
{
    uint8_t *body = stanza + STANZA_HEAD_BYTES;
    struct ww_secret *plain = NULL;
    enum ww_err rc = ww_secret_new(BINDING_BYTES + FILE_KEY_BYTES, &plain, err);
    if (rc) {
        return rc;
    }
    uint8_t *bytes = ww_secret_open(plain);
    ww_put_u32le(stanza, STANZA_RECIPIENT);
    ww_put_u32le(stanza + 4, RCPT_BYTES);
    ww_recipient_id(public_key, body);
    ww_record_binding(record, body, bytes);
    memcpy(bytes + BINDING_BYTES, file_key, FILE_KEY_BYTES);
    if (crypto_box_seal(body + RCPT_AT_BOX, bytes, BINDING_BYTES + FILE_KEY_BYTES,
                        public_key) != 0) {
        rc =
            WW_FAIL(err, WW_E_KEY, "recipient's public key is not a usable X25519 point");
    }
    ww_secret_free(plain);
    return rc;
}

static enum ww_err write_stanzas(const struct ww_record_plan *plan, uint8_t *record,
                                 const uint8_t *file_key, struct ww_error *err)
{
    const size_t stride = STANZA_HEAD_BYTES + body_bytes(plan);
    uint8_t *body = record + AT_STANZAS + STANZA_HEAD_BYTES;

    ww_put_u32le(record + AT_STANZAS, stanza_type(plan));
    ww_put_u32le(record + AT_STANZAS + 4, (uint32_t)body_bytes(plan));
    if (plan->passphrase) {
        return write_passphrase(plan, record, file_key, body, err);
    }
    if (plan->n_recipients == 0) {
        memcpy(body, file_key, FILE_KEY_BYTES);
        return WW_OK;
    }
    for (size_t i = 0; i < plan->n_recipients; i++) {
        enum ww_err rc = ww_record_put_recipient(plan->recipients[i], record, file_key,
                                                 record + AT_STANZAS + i * stride, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

void ww_record_put_tail(uint8_t *record, size_t header_bytes, const uint8_t *plain,
                        size_t n, const uint8_t *file_key)
{
    uint8_t *nonce = record + header_bytes;
    uint8_t *box = nonce + NONCE_BYTES + 4;

    ww_random(nonce, NONCE_BYTES);
    ww_put_u32le(nonce + NONCE_BYTES, (uint32_t)(n + BOX_OVER_BYTES));
    crypto_aead_xchacha20poly1305_ietf_encrypt(box, NULL, plain, n, record, header_bytes,
                                               NULL, nonce, file_key);
    ww_record_checksum(record, header_bytes + n + TAIL_OVER_BYTES - WW_RECORD_CHECK_BYTES,
                       box + n + BOX_OVER_BYTES);
}

static enum ww_err write_payload(const struct ww_record_plan *plan,
                                 struct ww_secret *secret, uint8_t *record,
                                 size_t header_bytes, const uint8_t *file_key,
                                 struct ww_error *err)
{
    struct ww_secret *plain = NULL;
    enum ww_err rc = ww_secret_new(plain_bytes(plan), &plain, err);
    if (rc) {
        return rc;
    }
    uint8_t *bytes = ww_secret_open(plain);
    memcpy(bytes, record + AT_VERSION, 4);
    ww_put_u32le(bytes + PLAIN_AT_KIND, (uint32_t)plan->kind);
    ww_put_u64le(bytes + PLAIN_AT_CREATED, plan->created_unix);
    memcpy(bytes + PLAIN_AT_ID, plan->id, WW_RECORD_ID_BYTES);
    memcpy(bytes + PLAIN_AT_SECRET, ww_secret_open(secret), WW_RECORD_SECRET_BYTES);
    ww_secret_close(secret);
    if (is_bound(plan)) {
        ww_binding_write(plan->binding, bytes + PLAIN_AT_BINDING);
    }
    ww_record_put_tail(record, header_bytes, bytes, plain_bytes(plan), file_key);
    ww_secret_free(plain);
    return WW_OK;
}

static enum ww_err check_plan(const struct ww_record_plan *plan, struct ww_secret *secret,
                              struct ww_error *err)
{
    if (plan->passphrase && plan->n_recipients > 0) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a key is sealed by a passphrase or for recipients, not both");
    }
    enum ww_err rc = ww_passphrase_check_new(plan->passphrase, err);
    if (rc) {
        return rc;
    }
    if (plan->n_recipients > WW_RECORD_MAX_STANZAS) {
        return WW_FAIL(err, WW_E_USAGE, "%zu recipients given, at most %d are possible",
                       plan->n_recipients, WW_RECORD_MAX_STANZAS);
    }
    if (ww_secret_len(secret) != WW_RECORD_SECRET_BYTES) {
        return WW_FAIL(err, WW_E_USAGE, "secret has %zu bytes, expected %d",
                       ww_secret_len(secret), WW_RECORD_SECRET_BYTES);
    }
    return WW_OK;
}

enum ww_err ww_record_make(const struct ww_record_plan *plan, struct ww_secret *secret,
                           struct ww_secret **record, struct ww_error *err)
{
    const size_t header_bytes =
        AT_STANZAS + count_stanzas(plan) * (STANZA_HEAD_BYTES + body_bytes(plan));
    struct ww_secret *file_key = NULL;
    struct ww_secret *made = NULL;
    enum ww_err rc = WW_OK;

    *record = NULL;
    rc = check_plan(plan, secret, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(FILE_KEY_BYTES, &file_key, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(header_bytes + plain_bytes(plan) + TAIL_OVER_BYTES, &made, err);
    if (rc) {
        goto out;
    }
    uint8_t *bytes = ww_secret_open(made);
    uint8_t *key = ww_secret_open(file_key);
    ww_random(key, FILE_KEY_BYTES);
    write_fixed(plan, bytes);
    rc = write_stanzas(plan, bytes, key, err);
    if (rc) {
        goto out;
    }
    rc = write_payload(plan, secret, bytes, header_bytes, key, err);
    if (rc) {
        goto out;
    }
    ww_secret_close(made);
    *record = made;
    made = NULL;
out:
    ww_secret_free(made);
    ww_secret_free(file_key);
    return rc;
}
