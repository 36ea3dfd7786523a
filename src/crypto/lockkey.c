/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock keys: 32 random bytes from which a lock derives everything. What the file adds is
 * in sealed_parse.c.
 */
#include "crypto/lockkey.h"

#include <string.h>
#include <time.h>

#include "crypto/keyfile.h"
#include "crypto/recipient.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err load_recipients(const char *const *paths, size_t n,
                                   uint8_t (*keys)[WW_X25519_BYTES], struct ww_error *err)
{
    for (size_t i = 0; i < n; i++) {
        enum ww_err rc = ww_recipient_load_public(paths[i], keys[i], err);
        if (rc) {
            return rc;
        }
        for (size_t j = 0; j < i; j++) {
            if (memcmp(keys[i], keys[j], WW_X25519_BYTES) == 0) {
                return WW_FAIL(err, WW_E_USAGE, "recipients '%s' and '%s' are the same",
                               paths[j], paths[i]);
            }
        }
    }
    return WW_OK;
}

/* A record of kind lock with a fresh id. */
static enum ww_err seal(struct ww_secret *key, struct ww_secret *passphrase,
                        const char *const *recipients, size_t n_recipients,
                        const struct ww_argon2_cost *cost, struct ww_secret **record,
                        struct ww_error *err)
{
    struct ww_record_plan plan = {.kind = WW_RECORD_LOCK,
                                  .created_unix = (uint64_t)time(NULL),
                                  .passphrase = passphrase,
                                  .cost = *cost,
                                  .n_recipients = n_recipients};
    uint8_t(*keys)[WW_X25519_BYTES] = NULL;
    enum ww_err rc = WW_OK;

    keys = ww_calloc(n_recipients, sizeof(*keys));
    if (!keys) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for recipients");
        goto out;
    }
    rc = load_recipients(recipients, n_recipients, keys, err);
    if (rc) {
        goto out;
    }
    plan.recipients = (const uint8_t(*)[WW_X25519_BYTES])keys;
    ww_random(plan.id, sizeof(plan.id));
    rc = ww_record_make(&plan, key, record, err);
out:
    ww_free(keys);
    return rc;
}

enum ww_err ww_lockkey_seal_for(struct ww_secret *key, const char *const *recipients,
                                size_t n_recipients, struct ww_secret **record,
                                struct ww_error *err)
{
    *record = NULL;
    if (n_recipients == 0) {
        return WW_FAIL(err, WW_E_USAGE, "no recipient given to seal a key for");
    }
    return seal(key, NULL, recipients, n_recipients, &ww_argon2_strong, record, err);
}

enum ww_err ww_lockkey_create_at(const char *path, struct ww_secret *passphrase,
                                 const char *const *recipients, size_t n_recipients,
                                 const struct ww_argon2_cost *cost, struct ww_error *err)
{
    struct ww_secret *key = NULL;
    struct ww_secret *record = NULL;
    enum ww_err rc = WW_OK;

    rc = ww_secret_new(WW_RECORD_SECRET_BYTES, &key, err);
    if (rc) {
        goto out;
    }
    ww_random(ww_secret_open(key), WW_RECORD_SECRET_BYTES);
    ww_secret_close(key);
    rc = seal(key, passphrase, recipients, n_recipients, cost, &record, err);
    if (rc) {
        goto out;
    }
    rc = ww_file_write(path, ww_secret_open(record), ww_secret_len(record), 0600, false,
                       err);
    ww_secret_close(record);
out:
    ww_secret_free(key);
    ww_secret_free(record);
    return rc;
}

enum ww_err ww_lockkey_create(const char *path, struct ww_secret *passphrase,
                              const char *const *recipients, size_t n_recipients,
                              struct ww_error *err)
{
    return ww_lockkey_create_at(path, passphrase, recipients, n_recipients,
                                &ww_argon2_strong, err);
}

static enum ww_err check_kind(const uint8_t *bytes, size_t len, struct ww_error *err)
{
    if (len >= 10 && memcmp(bytes, "-----BEGIN", 10) == 0) {
        return WW_FAIL(err, WW_E_KEY, "found a PEM file, expected a lock key");
    }
    if (ww_recipient_text_is(bytes, len)) {
        return WW_FAIL(err, WW_E_KEY,
                       "found a recipient's public key, expected a lock key");
    }
    return WW_OK;
}

/* The recipient's key file is read only when the record needs it. */
static enum ww_err open_lock(const struct ww_record *record,
                             const struct ww_unsealer *unsealer, struct ww_secret **out,
                             struct ww_error *err)
{
    static const struct ww_unsealer nothing = {NULL, NULL, NULL};
    const struct ww_unsealer *given = unsealer ? unsealer : &nothing;
    struct ww_record_key with = {given->passphrase, NULL};
    enum ww_err rc = WW_OK;

    if (record->sealing == WW_SEALED_RECIPIENTS && given->recipient_key) {
        rc = ww_recipient_load(given->recipient_key, given->recipient_passphrase,
                               &with.recipient, err);
        if (rc) {
            return rc;
        }
    }
    rc = ww_record_open(record, &with, out, err);
    ww_secret_free(with.recipient);
    return rc;
}

enum ww_err ww_lockkey_load(const char *path, const struct ww_unsealer *unsealer,
                            struct ww_secret **out, struct ww_error *err)
{
    struct ww_secret *file = NULL;
    struct ww_record record;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_keyfile_read(path, true, &file, err);
    if (rc) {
        return rc;
    }
    const uint8_t *bytes = ww_secret_open(file);
    rc = check_kind(bytes, ww_secret_len(file), err);
    if (rc) {
        goto out;
    }
    rc = ww_record_parse(bytes, ww_secret_len(file), &record, err);
    if (rc) {
        goto out;
    }
    if (record.kind != WW_RECORD_LOCK) {
        rc = WW_FAIL(err, WW_E_KEY, "found a recipient's key, expected a lock key");
        goto out;
    }
    rc = open_lock(&record, unsealer, out, err);
out:
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
    }
    ww_secret_free(file);
    return rc;
}
