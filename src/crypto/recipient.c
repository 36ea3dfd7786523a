/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipients of sealed keys (X25519, RFC 7748). The public file is one line:
 *
 *     weightward-recipient 1 <base64 of the 32 bytes> <id in hex>
 *
 * The id is a hash of the key, so a mistyped line is refused instead of sealing a key for
 * no one. The record id of the secret file is the recipient's id.
 */
#include "crypto/recipient.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "crypto/base64.h"
#include "crypto/lockkey.h"
#include "crypto/keyfile.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define ID_LABEL "weightward/recipient-id/v1"
#define WORD "weightward-recipient "
#define LEAD WORD "1 "
#define LEAD_BYTES (sizeof(LEAD) - 1)
#define KEY_TEXT_BYTES 44
#define LINE_BYTES (LEAD_BYTES + KEY_TEXT_BYTES + 1 + 2 * WW_RECORD_ID_BYTES)
#define FILE_MAX_BYTES 4096

void ww_recipient_public_of(const uint8_t secret[WW_X25519_BYTES],
                            uint8_t out[WW_X25519_BYTES])
{
    WW_INVARIANT(crypto_scalarmult_base(out, secret) == 0);
}

void ww_recipient_id(const uint8_t public_key[WW_X25519_BYTES],
                     uint8_t out[WW_RECORD_ID_BYTES])
{
    crypto_hash_sha256_state state;
    uint8_t digest[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)ID_LABEL, sizeof(ID_LABEL));
    crypto_hash_sha256_update(&state, public_key, WW_X25519_BYTES);
    crypto_hash_sha256_final(&state, digest);
    memcpy(out, digest, WW_RECORD_ID_BYTES);
}

bool ww_recipient_text_is(const uint8_t *text, size_t len)
{
    return len >= sizeof(WORD) - 1 && memcmp(text, WORD, sizeof(WORD) - 1) == 0;
}

static enum ww_err decode_key(const char *text, uint8_t public_key[WW_X25519_BYTES],
                              struct ww_error *err)
{
    struct ww_buf bytes;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, WW_X25519_BYTES + 1);
    rc = ww_base64_decode(&bytes, text, KEY_TEXT_BYTES, NULL);
    if (rc == WW_E_NOMEM) {
        rc = WW_FAIL_MEMORY(err, "a recipient's key");
        goto out;
    }
    if (rc || bytes.len != WW_X25519_BYTES) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "recipient's key is not 32 bytes in base64");
        goto out;
    }
    memcpy(public_key, bytes.data, WW_X25519_BYTES);
out:
    ww_buf_release(&bytes);
    return rc;
}

/* Signing keys are pairs of NAME.key and NAME.pub too, so they are mixed up easily. */
static enum ww_err not_a_recipient(const uint8_t *text, size_t len, struct ww_error *err)
{
    if (len >= 10 && memcmp(text, "-----BEGIN", 10) == 0) {
        return WW_FAIL(err, WW_E_KEY,
                       "found a signing key or another PEM file, which nothing can be "
                       "sealed for; give the .pub file of a recipient key");
    }
    if (ww_record_is(text, len)) {
        return WW_FAIL(err, WW_E_KEY,
                       "found a secret key, expected a recipient's public key; give its "
                       ".pub file");
    }
    return WW_FAIL(err, WW_E_KEY, "not a recipient's public key, give its .pub file");
}

enum ww_err ww_recipient_parse(const uint8_t *text, size_t len,
                               uint8_t public_key[WW_X25519_BYTES], struct ww_error *err)
{
    uint8_t id[WW_RECORD_ID_BYTES];
    uint8_t stated[WW_RECORD_ID_BYTES];
    enum ww_err rc = WW_OK;

    if (!ww_recipient_text_is(text, len)) {
        return not_a_recipient(text, len, err);
    }
    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (len < LEAD_BYTES || memcmp(text, LEAD, LEAD_BYTES) != 0) {
        return WW_FAIL(err, WW_E_VERSION, "recipient's public key is not of version 1");
    }
    if (len != LINE_BYTES || text[LEAD_BYTES + KEY_TEXT_BYTES] != ' ') {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "recipient's line has %zu characters, expected %zu", len,
                       LINE_BYTES);
    }
    rc = decode_key((const char *)text + LEAD_BYTES, public_key, err);
    if (rc) {
        return rc;
    }
    const char *id_text = (const char *)text + LEAD_BYTES + KEY_TEXT_BYTES + 1;
    ww_recipient_id(public_key, id);
    if (!ww_unhex(stated, sizeof(stated), id_text, sizeof(stated) * 2) ||
        memcmp(id, stated, sizeof(id)) != 0) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "recipient's id does not fit the key, is the line whole?");
    }
    return WW_OK;
}

enum ww_err ww_recipient_load_public(const char *path,
                                     uint8_t public_key[WW_X25519_BYTES],
                                     struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, FILE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_recipient_parse(text.data, text.len, public_key, err);
    if (rc) {
        ww_error_context(err, "recipient file '%s'", path);
    }
out:
    ww_buf_release(&text);
    return rc;
}

struct named_key {
    const uint8_t *key;
    size_t at;
};

/* By key, and among equal ones in the order they were given in. */
static int by_key(const void *a, const void *b)
{
    const struct named_key *x = a;
    const struct named_key *y = b;
    const int order = memcmp(x->key, y->key, WW_X25519_BYTES);

    return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

/* Sorted first: there may be tens of thousands. */
static enum ww_err check_distinct(const char *const *paths,
                                  const uint8_t (*keys)[WW_X25519_BYTES], size_t n,
                                  struct ww_error *err)
{
    struct named_key *sorted = ww_calloc(n, sizeof(*sorted));
    enum ww_err rc = WW_OK;

    if (!sorted) {
        return WW_FAIL_MEMORY(err, "recipients");
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = (struct named_key){keys[i], i};
    }
    qsort(sorted, n, sizeof(*sorted), by_key);
    for (size_t i = 1; i < n && !rc; i++) {
        if (memcmp(sorted[i - 1].key, sorted[i].key, WW_X25519_BYTES) == 0) {
            rc = WW_FAIL(err, WW_E_USAGE, "recipients '%s' and '%s' are the same",
                         paths[sorted[i - 1].at], paths[sorted[i].at]);
        }
    }
    ww_free(sorted);
    return rc;
}

enum ww_err ww_recipients_load(const char *const *paths, size_t n,
                               uint8_t (**out)[WW_X25519_BYTES], struct ww_error *err)
{
    uint8_t(*keys)[WW_X25519_BYTES] = ww_calloc(n, sizeof(*keys));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!keys) {
        return WW_FAIL_MEMORY(err, "recipients");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_recipient_load_public(paths[i], keys[i], err);
    }
    if (!rc) {
        rc = check_distinct(paths, (const uint8_t(*)[WW_X25519_BYTES])keys, n, err);
    }
    if (rc) {
        ww_free(keys);
        return rc;
    }
    *out = keys;
    return WW_OK;
}

static enum ww_err open_recipient(struct ww_secret *file, struct ww_secret *passphrase,
                                  struct ww_secret **out, struct ww_error *err)
{
    const struct ww_record_key with = {passphrase, NULL};
    uint8_t public_key[WW_X25519_BYTES];
    uint8_t id[WW_RECORD_ID_BYTES];
    struct ww_record record;
    enum ww_err rc = WW_OK;

    const uint8_t *bytes = ww_secret_open(file);
    rc = ww_record_parse(bytes, ww_secret_len(file), &record, err);
    if (rc) {
        goto out;
    }
    if (record.kind != WW_RECORD_RECIPIENT) {
        rc = WW_FAIL(err, WW_E_KEY, "found %s, expected a recipient's key",
                     ww_record_kind_name(record.kind));
        goto out;
    }
    rc = ww_record_open(&record, &with, out, NULL, err);
    if (rc) {
        goto out;
    }
    ww_recipient_public_of(ww_secret_open(*out), public_key);
    ww_secret_close(*out);
    ww_recipient_id(public_key, id);
    if (memcmp(id, record.id, sizeof(id)) != 0) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "key does not fit the recipient id of its file");
        ww_secret_free(*out);
        *out = NULL;
    }
out:
    ww_secret_close(file);
    return rc;
}

enum ww_err ww_recipient_load(const char *path, struct ww_secret *passphrase,
                              struct ww_secret **out, struct ww_error *err)
{
    struct ww_secret *file = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_keyfile_read(path, true, &file, err);
    if (rc) {
        return rc;
    }
    rc = open_recipient(file, passphrase, out, err);
    if (rc) {
        ww_error_context(err, "recipient key '%s'", path);
    }
    ww_secret_free(file);
    return rc;
}

static enum ww_err public_line(const uint8_t *public_key, const uint8_t *id,
                               struct ww_buf *line, struct ww_error *err)
{
    char hex[WW_HEX_BYTES(WW_RECORD_ID_BYTES)];
    enum ww_err rc = ww_buf_add_str(line, LEAD, err);
    if (rc) {
        return rc;
    }
    rc = ww_base64_encode(line, public_key, WW_X25519_BYTES, err);
    if (rc) {
        return rc;
    }
    ww_hex(hex, id, WW_RECORD_ID_BYTES);
    return ww_buf_addf(line, err, " %s\n", hex);
}

enum ww_err ww_recipient_create_at(const char *base, struct ww_secret *passphrase,
                                   const struct ww_argon2_cost *cost,
                                   struct ww_error *err)
{
    struct ww_record_plan plan = {.kind = WW_RECORD_RECIPIENT,
                                  .created_unix = (uint64_t)time(NULL),
                                  .passphrase = passphrase,
                                  .cost = *cost};
    uint8_t public_key[WW_X25519_BYTES];
    struct ww_secret *secret = NULL;
    struct ww_secret *record = NULL;
    struct ww_buf line;
    enum ww_err rc = WW_OK;

    ww_buf_init(&line, FILE_MAX_BYTES);
    rc = ww_secret_new(WW_X25519_BYTES, &secret, err);
    if (rc) {
        goto out;
    }
    ww_random(ww_secret_open(secret), WW_X25519_BYTES);
    ww_recipient_public_of(ww_secret_open(secret), public_key);
    ww_secret_close(secret);
    ww_secret_close(secret);
    ww_recipient_id(public_key, plan.id);
    rc = ww_record_make(&plan, secret, &record, err);
    if (rc) {
        goto out;
    }
    rc = public_line(public_key, plan.id, &line, err);
    if (rc) {
        goto out;
    }
    rc = ww_keyfile_write_pair(base, record, line.data, line.len, err);
out:
    ww_secret_free(secret);
    ww_secret_free(record);
    ww_buf_release(&line);
    return rc;
}

enum ww_err ww_recipient_create(const char *base, struct ww_secret *passphrase,
                                struct ww_error *err)
{
    return ww_recipient_create_at(base, passphrase, &ww_argon2_strong, err);
}
