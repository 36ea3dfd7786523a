/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other recipients for a sealed record. A stanza can be made only with the public key of
 * its recipient, and the record keeps ids alone, so the stanzas of those who stay are
 * kept byte for byte; they are bound to the fixed part, which does not change, and open
 * the same file key. The payload is sealed again, because it authenticates all stanzas.
 */
#include <string.h>

#include "crypto/recipient.h"
#include "crypto/sealed_layout.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define STRIDE (STANZA_HEAD_BYTES + RCPT_BYTES)

static bool has_id(const uint8_t (*ids)[WW_RECORD_ID_BYTES], size_t n, const uint8_t *id)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(ids[i], id, WW_RECORD_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_recipient(const struct ww_record *record, const uint8_t *id)
{
    for (size_t i = 0; i < record->n_stanzas; i++) {
        if (memcmp(ww_record_recipient(record, i), id, WW_RECORD_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err fail_id(const uint8_t *id, const char *what, struct ww_error *err)
{
    char hex[WW_HEX_BYTES(WW_RECORD_ID_BYTES)];

    ww_hex(hex, id, WW_RECORD_ID_BYTES);
    return WW_FAIL(err, WW_E_USAGE, "recipient '%s' %s", hex, what);
}

/* Copy the fixed part and the stanzas of those who stay; *n of them. */
static enum ww_err keep(const struct ww_record *record,
                        const struct ww_record_change *change, uint8_t *out, size_t *n,
                        struct ww_error *err)
{
    *n = 0;
    for (size_t i = 0; i < change->n_remove; i++) {
        if (!is_recipient(record, change->remove[i])) {
            return fail_id(change->remove[i], "is not among the recipients", err);
        }
    }
    memcpy(out, record->bytes, WW_RECORD_FIXED_BYTES);
    for (size_t i = 0; i < record->n_stanzas; i++) {
        const uint8_t *body = ww_record_recipient(record, i);
        if (!has_id(change->remove, change->n_remove, body)) {
            memcpy(out + AT_STANZAS + *n * STRIDE, body - STANZA_HEAD_BYTES, STRIDE);
            (*n)++;
        }
    }
    return WW_OK;
}

static enum ww_err add(const struct ww_record *record,
                       const struct ww_record_change *change, const uint8_t *file_key,
                       uint8_t *out, size_t *n, struct ww_error *err)
{
    for (size_t i = 0; i < change->n_add; i++) {
        uint8_t id[WW_RECORD_ID_BYTES];
        enum ww_err rc = WW_OK;
        ww_recipient_id(change->add[i], id);
        if (is_recipient(record, id) && !has_id(change->remove, change->n_remove, id)) {
            return fail_id(id, "is among the recipients already", err);
        }
        rc = ww_record_put_recipient(change->add[i], out, file_key,
                                     out + AT_STANZAS + *n * STRIDE, err);
        if (rc) {
            return rc;
        }
        (*n)++;
    }
    return WW_OK;
}

static enum ww_err check_counts(const struct ww_record *record,
                                const struct ww_record_change *change,
                                struct ww_error *err)
{
    if (record->sealing != WW_SEALED_RECIPIENTS) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "it is sealed by a passphrase; only for recipients can others be "
                       "named later");
    }
    if (record->n_stanzas + change->n_add > WW_RECORD_MAX_STANZAS) {
        return WW_FAIL(err, WW_E_USAGE, "%zu recipients in all, at most %d are possible",
                       record->n_stanzas + change->n_add, WW_RECORD_MAX_STANZAS);
    }
    return WW_OK;
}

static enum ww_err build(const struct ww_record *record,
                         const struct ww_record_change *change,
                         struct ww_secret *file_key, struct ww_secret *plain,
                         uint8_t *bytes, size_t *len, struct ww_error *err)
{
    const uint8_t *key = ww_secret_open(file_key);
    size_t n = 0;
    enum ww_err rc = keep(record, change, bytes, &n, err);

    if (!rc) {
        rc = add(record, change, key, bytes, &n, err);
    }
    if (!rc && n == 0) {
        rc = WW_FAIL(err, WW_E_USAGE, "no recipient would be left who can open it");
    }
    if (!rc) {
        const size_t header_bytes = AT_STANZAS + n * STRIDE;
        ww_put_u32le(bytes + AT_N_STANZAS, (uint32_t)n);
        ww_record_put_tail(bytes, header_bytes, ww_secret_open(plain),
                           record->plain_bytes, key);
        ww_secret_close(plain);
        *len = header_bytes + record->plain_bytes + TAIL_OVER_BYTES;
    }
    ww_secret_close(file_key);
    return rc;
}

enum ww_err ww_record_change_recipients(const struct ww_record *record,
                                        const struct ww_record_key *key,
                                        const struct ww_record_change *change,
                                        struct ww_secret **out, struct ww_error *err)
{
    const size_t most = AT_STANZAS + (record->n_stanzas + change->n_add) * STRIDE +
                        record->plain_bytes + TAIL_OVER_BYTES;
    struct ww_secret *file_key = NULL;
    struct ww_secret *plain = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum ww_err rc = check_counts(record, change, err);

    *out = NULL;
    if (rc) {
        goto out;
    }
    bytes = ww_calloc(1, most);
    if (!bytes) {
        rc = WW_FAIL_MEMORY(err, "a sealed record");
        goto out;
    }
    rc = ww_secret_new(FILE_KEY_BYTES, &file_key, err);
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
    rc = build(record, change, file_key, plain, bytes, &len, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(len, out, err);
    if (rc) {
        goto out;
    }
    /* Ciphertext only: no stanza of this kind holds anything in clear. */
    memcpy(ww_secret_open(*out), bytes, len);
    ww_secret_close(*out);
out:
    ww_free(bytes);
    ww_secret_free(plain);
    ww_secret_free(file_key);
    return rc;
}
