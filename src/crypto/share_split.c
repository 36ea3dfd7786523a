/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting a lock key into files. Each share is a secret of its own and is sealed like
 * one; its head, which is in the clear, says what it is a share of. All files are written
 * or none.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crypto/recipient.h"
#include "crypto/shamir.h"
#include "crypto/share.h"
#include "crypto/signkey.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define SHARE_MAX_BYTES 65536

static enum ww_err check_split(const struct ww_split *split, struct ww_error *err)
{
    if (split->n_recipients && split->n_passphrases) {
        return WW_FAIL(err, WW_E_USAGE,
                       "shares are sealed for recipients or by passphrases, not both");
    }
    if (split->n_recipients && split->n_recipients != split->n_shares) {
        return WW_FAIL(err, WW_E_USAGE, "%u shares for %zu recipients: name one for each",
                       split->n_shares, split->n_recipients);
    }
    if (split->n_passphrases > 1 && split->n_passphrases != split->n_shares) {
        return WW_FAIL(err, WW_E_USAGE,
                       "%u shares and %zu passphrases: give one, or one for each",
                       split->n_shares, split->n_passphrases);
    }
    return WW_OK;
}

static enum ww_err add_signature(struct ww_signkey *signer, struct ww_buf *file,
                                 struct ww_error *err)
{
    struct ww_buf message;
    struct ww_buf sig;
    enum ww_err rc = WW_OK;

    ww_buf_init(&message, SHARE_MAX_BYTES);
    ww_buf_init(&sig, SHARE_MAX_BYTES);
    if (signer) {
        rc = ww_share_message(file->data, file->len, &message, err);
    }
    if (!rc && signer) {
        rc = ww_signkey_sign(signer, message.data, message.len, &sig, err);
    }
    if (!rc) {
        rc = ww_buf_add_u32le(file, (uint32_t)sig.len, err);
    }
    if (!rc && sig.len) {
        rc = ww_buf_add(file, sig.data, sig.len, err);
    }
    ww_buf_release(&message);
    ww_buf_release(&sig);
    return rc;
}

static enum ww_err seal_share(const struct ww_share *share, const struct ww_split *split,
                              const uint8_t (*recipients)[WW_X25519_BYTES],
                              const struct ww_argon2_cost *cost, struct ww_secret *point,
                              struct ww_buf *file, struct ww_error *err)
{
    const size_t i = share->index - 1u;
    struct ww_record_plan plan = {
        .kind = WW_RECORD_SHARE, .created_unix = share->created_unix, .cost = *cost};
    uint8_t head[WW_SHARE_HEAD_BYTES];
    struct ww_secret *record = NULL;
    enum ww_err rc = WW_OK;

    if (split->n_passphrases) {
        plan.passphrase = split->passphrases[split->n_passphrases > 1 ? i : 0];
    }
    if (split->n_recipients) {
        plan.recipients = &recipients[i];
        plan.n_recipients = 1;
    }
    ww_share_head(share, head);
    ww_share_record_id(head, plan.id);
    rc = ww_record_make(&plan, point, &record, err);
    if (!rc) {
        rc = ww_buf_add(file, head, sizeof(head), err);
    }
    if (!rc) {
        rc = ww_buf_add_u32le(file, (uint32_t)ww_secret_len(record), err);
    }
    if (!rc) {
        rc = ww_buf_add(file, ww_secret_open(record), ww_secret_len(record), err);
        ww_secret_close(record);
    }
    if (!rc) {
        rc = add_signature(split->signer, file, err);
    }
    ww_secret_free(record);
    return rc;
}

static enum ww_err write_share(const char *base, const struct ww_share *share,
                               const struct ww_split *split,
                               const uint8_t (*recipients)[WW_X25519_BYTES],
                               const struct ww_argon2_cost *cost, const uint8_t *bytes,
                               struct ww_error *err)
{
    struct ww_secret *point = NULL;
    struct ww_buf file;
    char *path = ww_asprintf("%s-%u.share", base, share->index);
    enum ww_err rc = path ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    ww_buf_init(&file, SHARE_MAX_BYTES);
    if (!rc) {
        rc = ww_secret_new(WW_SHAMIR_BYTES, &point, err);
    }
    if (!rc) {
        memcpy(ww_secret_open(point), bytes, WW_SHAMIR_BYTES);
        ww_secret_close(point);
        rc = seal_share(share, split, recipients, cost, point, &file, err);
    }
    if (!rc) {
        rc = ww_file_write(path, file.data, file.len, 0600, false, err);
    }
    if (file.data) {
        ww_wipe(file.data, file.len); /* a share may be stored in the clear */
    }
    ww_buf_release(&file);
    ww_secret_free(point);
    ww_free(path);
    return rc;
}

static void remove_shares(const char *base, unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        char *path = ww_asprintf("%s-%u.share", base, i);
        if (path) {
            (void)unlink(path);
        }
        ww_free(path);
    }
}

enum ww_err ww_lockkey_split_at(const char *base, struct ww_secret *key,
                                const struct ww_key_binding *binding,
                                const struct ww_split *split,
                                const struct ww_argon2_cost *cost, struct ww_error *err)
{
    struct ww_share share = {.created_unix = (uint64_t)time(NULL),
                             .threshold = (uint8_t)split->threshold,
                             .n_shares = (uint8_t)split->n_shares};
    uint8_t(*recipients)[WW_X25519_BYTES] = NULL;
    struct ww_secret *shares = NULL;
    unsigned n_written = 0;
    enum ww_err rc = check_split(split, err);

    if (!rc) {
        rc = ww_recipients_load(split->recipients, split->n_recipients, &recipients, err);
    }
    if (!rc) {
        rc = ww_shamir_split(key, NULL, split->threshold, split->n_shares, &shares, err);
    }
    if (rc) {
        goto out;
    }
    if (binding) {
        share.binding = *binding;
    }
    ww_random(share.set_id, sizeof(share.set_id));
    ww_share_commitment(share.set_id, key, share.commitment);
    const uint8_t *points = ww_secret_open(shares);
    for (unsigned i = 0; i < split->n_shares && !rc; i++) {
        share.index = (uint8_t)(i + 1);
        rc = write_share(base, &share, split,
                         (const uint8_t(*)[WW_X25519_BYTES])recipients, cost,
                         points + (size_t)i * WW_SHAMIR_BYTES, err);
        n_written += !rc;
    }
    if (rc) {
        remove_shares(base, n_written);
    }
out:
    ww_secret_free(shares);
    ww_free(recipients);
    return rc;
}

enum ww_err ww_lockkey_split(const char *base, struct ww_secret *key,
                             const struct ww_key_binding *binding,
                             const struct ww_split *split, struct ww_error *err)
{
    return ww_lockkey_split_at(base, key, binding, split, &ww_argon2_strong, err);
}
