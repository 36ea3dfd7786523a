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

/* A record of kind lock with a fresh id. */
static enum ww_err seal(struct ww_secret *key, const struct ww_key_binding *binding,
                        const struct ww_sealer *sealer, const struct ww_argon2_cost *cost,
                        struct ww_secret **record, struct ww_error *err)
{
    struct ww_record_plan plan = {.kind = WW_RECORD_LOCK,
                                  .created_unix = (uint64_t)time(NULL),
                                  .passphrase = sealer->passphrase,
                                  .cost = *cost,
                                  .n_recipients = sealer->n_recipients,
                                  .binding = binding};
    uint8_t(*keys)[WW_X25519_BYTES] = NULL;
    enum ww_err rc =
        ww_recipients_load(sealer->recipients, sealer->n_recipients, &keys, err);
    if (rc) {
        return rc;
    }
    plan.recipients = (const uint8_t(*)[WW_X25519_BYTES])keys;
    ww_random(plan.id, sizeof(plan.id));
    rc = ww_record_make(&plan, key, record, err);
    ww_free(keys);
    return rc;
}

enum ww_err ww_lockkey_save_at(const char *path, struct ww_secret *key,
                               const struct ww_key_binding *binding,
                               const struct ww_sealer *sealer,
                               const struct ww_argon2_cost *cost, struct ww_error *err)
{
    struct ww_secret *record = NULL;
    enum ww_err rc = seal(key, binding, sealer, cost, &record, err);

    if (!rc) {
        rc = ww_file_write(path, ww_secret_open(record), ww_secret_len(record), 0600,
                           false, err);
        ww_secret_close(record);
    }
    ww_secret_free(record);
    return rc;
}

enum ww_err ww_lockkey_save(const char *path, struct ww_secret *key,
                            const struct ww_key_binding *binding,
                            const struct ww_sealer *sealer, struct ww_error *err)
{
    return ww_lockkey_save_at(path, key, binding, sealer, &ww_argon2_strong, err);
}

static enum ww_err random_key(struct ww_secret **key, struct ww_error *err)
{
    enum ww_err rc = ww_secret_new(WW_RECORD_SECRET_BYTES, key, err);

    if (!rc) {
        ww_random(ww_secret_open(*key), WW_RECORD_SECRET_BYTES);
        ww_secret_close(*key);
    }
    return rc;
}

enum ww_err ww_lockkey_create(const char *path, struct ww_secret *passphrase,
                              const char *const *recipients, size_t n_recipients,
                              struct ww_error *err)
{
    const struct ww_sealer sealer = {passphrase, recipients, n_recipients};
    struct ww_secret *key = NULL;
    enum ww_err rc = random_key(&key, err);

    if (!rc) {
        rc = ww_lockkey_save(path, key, NULL, &sealer, err);
    }
    ww_secret_free(key);
    return rc;
}

enum ww_err ww_lockkey_create_bound(const char *path,
                                    const struct ww_key_binding *binding,
                                    const struct ww_sealer *sealer, struct ww_error *err)
{
    struct ww_secret *key = NULL;
    enum ww_err rc = random_key(&key, err);

    if (!rc) {
        rc = ww_lockkey_save(path, key, binding, sealer, err);
    }
    ww_secret_free(key);
    return rc;
}

const char *ww_record_kind_name(enum ww_record_kind kind)
{
    switch (kind) {
    case WW_RECORD_LOCK:
        return "a lock key";
    case WW_RECORD_RECIPIENT:
        return "a recipient's key";
    case WW_RECORD_CONTENT:
        return "the key of a sealed model";
    case WW_RECORD_SHARE:
        return "a share of a key";
    }
    return "another key";
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
enum ww_err ww_record_unseal(const struct ww_record *record,
                             const struct ww_unsealer *unsealer, struct ww_secret **out,
                             struct ww_key_binding *binding, struct ww_error *err)
{
    struct ww_record_key with = {NULL, NULL};
    enum ww_err rc = ww_record_key_load(record, unsealer, &with, err);

    if (!rc) {
        rc = ww_record_open(record, &with, out, binding, err);
    }
    ww_secret_free(with.recipient);
    return rc;
}

enum ww_err ww_record_key_load(const struct ww_record *record,
                               const struct ww_unsealer *unsealer,
                               struct ww_record_key *key, struct ww_error *err)
{
    *key = (struct ww_record_key){unsealer ? unsealer->passphrase : NULL, NULL};
    if (record->sealing == WW_SEALED_RECIPIENTS && unsealer && unsealer->recipient_key) {
        return ww_recipient_load(unsealer->recipient_key, unsealer->recipient_passphrase,
                                 &key->recipient, err);
    }
    return WW_OK;
}

enum ww_err ww_lockkey_load(const char *path, const struct ww_unsealer *unsealer,
                            struct ww_secret **out, struct ww_error *err)
{
    return ww_lockkey_load_bound(path, unsealer, out, NULL, err);
}

enum ww_err ww_lockkey_load_bound(const char *path, const struct ww_unsealer *unsealer,
                                  struct ww_secret **out, struct ww_key_binding *binding,
                                  struct ww_error *err)
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
        rc = WW_FAIL(err, WW_E_KEY, "found %s, expected a lock key",
                     ww_record_kind_name(record.kind));
        goto out;
    }
    rc = ww_record_unseal(&record, unsealer, out, binding, err);
out:
    if (rc) {
        ww_error_context(err, "key file '%s'", path);
    }
    ww_secret_free(file);
    return rc;
}
