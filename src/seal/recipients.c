/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open a sealed folder. Only the keys file changes, in one rename; the weights
 * and the signature over them stay as they are, because the content key does. That is
 * cheap, and it is why removing someone is no revocation.
 */
#include <string.h>

#include "crypto/recipient.h"
#include "seal/sealed_folder.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/seal.h"

_Static_assert(sizeof(((struct ww_seal_access *)0)->seal_id) ==
                   WW_HEX_BYTES(WW_RECORD_ID_BYTES),
               "ids in hex");

enum ww_err ww_seal_access_read(const char *path, struct ww_seal_access *out,
                                struct ww_error *err)
{
    struct ww_sealed_folder folder = {.dirfd = -1};
    enum ww_err rc = ww_sealed_keys_read(&folder, path, err);

    memset(out, 0, sizeof(*out));
    if (rc) {
        goto out;
    }
    out->sealing = folder.record.sealing;
    out->created_unix = folder.record.created_unix;
    ww_hex(out->seal_id, folder.record.id, WW_RECORD_ID_BYTES);
    if (folder.record.sealing != WW_SEALED_RECIPIENTS) {
        goto out;
    }
    out->recipients = ww_calloc(folder.record.n_stanzas, sizeof(*out->recipients));
    if (!out->recipients) {
        rc = WW_FAIL_MEMORY(err, "recipients");
        goto out;
    }
    out->n_recipients = folder.record.n_stanzas;
    for (size_t i = 0; i < out->n_recipients; i++) {
        ww_hex(out->recipients[i], ww_record_recipient(&folder.record, i),
               WW_RECORD_ID_BYTES);
    }
out:
    ww_sealed_close(&folder);
    return rc;
}

void ww_seal_access_release(struct ww_seal_access *access)
{
    ww_free(access->recipients);
    memset(access, 0, sizeof(*access));
}

enum ww_err ww_recipient_id_of(const char *path, char id[33], struct ww_error *err)
{
    uint8_t public_key[WW_X25519_BYTES];
    uint8_t bytes[WW_RECORD_ID_BYTES];
    enum ww_err rc = ww_recipient_load_public(path, public_key, err);

    if (!rc) {
        ww_recipient_id(public_key, bytes);
        ww_hex(id, bytes, sizeof(bytes));
    }
    return rc;
}

static enum ww_err parse_ids(const char *const *ids, size_t n,
                             uint8_t (**out)[WW_RECORD_ID_BYTES], struct ww_error *err)
{
    uint8_t(*bytes)[WW_RECORD_ID_BYTES] = ww_calloc(n, sizeof(*bytes));

    *out = bytes;
    if (!bytes) {
        return WW_FAIL_MEMORY(err, "recipients");
    }
    for (size_t i = 0; i < n; i++) {
        if (!ww_unhex(bytes[i], sizeof(bytes[i]), ids[i], strlen(ids[i]))) {
            return WW_FAIL(err, WW_E_USAGE,
                           "'%s' is no recipient's id: 32 hexadecimal digits are",
                           ids[i]);
        }
    }
    return WW_OK;
}

/* Said before a passphrase is asked for that could not help. */
static enum ww_err check_sealing(const char *path, struct ww_error *err)
{
    struct ww_seal_access access;
    enum ww_err rc = ww_seal_access_read(path, &access, err);

    if (!rc && access.sealing != WW_SEALED_RECIPIENTS) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "sealed model '%s' is sealed by a passphrase, not for recipients; seal "
            "the source again for those who may read it",
            path);
    }
    ww_seal_access_release(&access);
    return rc;
}

static enum ww_err rewrite(const struct ww_sealed_folder *folder,
                           const struct ww_unsealer *unsealer,
                           const struct ww_record_change *change, struct ww_error *err)
{
    struct ww_record_key key = {NULL, NULL};
    struct ww_secret *made = NULL;
    enum ww_err rc = ww_record_key_load(&folder->record, unsealer, &key, err);

    if (!rc) {
        rc = ww_record_change_recipients(&folder->record, &key, change, &made, err);
    }
    if (!rc) {
        rc = ww_file_write_at(folder->dirfd, WW_SEAL_KEYS_FILE, ww_secret_open(made),
                              ww_secret_len(made), 0644, true, err);
        ww_secret_close(made);
    }
    ww_secret_free(made);
    ww_secret_free(key.recipient);
    return rc;
}

enum ww_err ww_seal_change_recipients(const char *path,
                                      const struct ww_unsealer *unsealer,
                                      const struct ww_seal_change *change,
                                      struct ww_error *err)
{
    struct ww_sealed_folder folder = {.dirfd = -1};
    uint8_t(*add)[WW_X25519_BYTES] = NULL;
    uint8_t(*remove_ids)[WW_RECORD_ID_BYTES] = NULL;
    struct ww_record_change record_change = {.n_add = change->n_add,
                                             .n_remove = change->n_remove};
    /* The manifest is opened too: a keys file put here from another model shows. */
    enum ww_err rc = check_sealing(path, err);

    if (!rc) {
        rc = ww_sealed_open(&folder, path, unsealer, err);
    }
    if (!rc) {
        rc = ww_recipients_load(change->add, change->n_add, &add, err);
    }
    if (!rc) {
        rc = parse_ids(change->remove, change->n_remove, &remove_ids, err);
    }
    if (!rc) {
        record_change.add = (const uint8_t(*)[WW_X25519_BYTES])add;
        record_change.remove = (const uint8_t(*)[WW_RECORD_ID_BYTES])remove_ids;
        rc = rewrite(&folder, unsealer, &record_change, err);
    }
    ww_free(add);
    ww_free(remove_ids);
    ww_sealed_close(&folder);
    return rc;
}
