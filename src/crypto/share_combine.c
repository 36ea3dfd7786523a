/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting a lock key together again. Before anything is opened the heads must agree on
 * set, threshold, commitment and binding; afterwards the key must be the one that the
 * commitment names, so a wrong share never gives a wrong key.
 */
#include <string.h>

#include "crypto/keyfile.h"
#include "crypto/lockkey.h"
#include "crypto/shamir.h"
#include "crypto/share.h"
#include "crypto/verify.h"
#include "util/alloc.h"
#include "util/fail.h"

struct holding {
    const char *path;
    struct ww_secret *file;
    struct ww_share share;
    struct ww_secret *point;
};

static enum ww_err read_share(struct holding *h, const char *path, struct ww_error *err)
{
    enum ww_err rc = ww_keyfile_read(path, true, &h->file, err);

    h->path = path;
    if (!rc) {
        /* Stays open: the share is a view into it. */
        rc = ww_share_parse(ww_secret_open(h->file), ww_secret_len(h->file), &h->share,
                            err);
        if (rc) {
            ww_error_context(err, "share '%s'", path);
        }
    }
    return rc;
}

static enum ww_err check_signature(const struct holding *h, const struct ww_pubkey *key,
                                   struct ww_error *err)
{
    struct ww_buf message;
    enum ww_err rc = WW_OK;

    if (h->share.signature_bytes == 0) {
        return WW_FAIL(err, WW_E_NOT_SIGNED,
                       "share '%s' is not signed, so it may come from anybody; split "
                       "with --sign, or combine without a signer",
                       h->path);
    }
    ww_buf_init(&message, WW_KEYFILE_MAX_BYTES + 64);
    rc = ww_share_message(h->share.bytes, h->share.signed_bytes, &message, err);
    if (!rc) {
        rc = ww_pubkey_verify(key, message.data, message.len, h->share.signature,
                              h->share.signature_bytes, err);
        if (rc) {
            ww_error_context(err, "share '%s'", h->path);
        }
    }
    ww_buf_release(&message);
    return rc;
}

static enum ww_err check_pair(const struct holding *a, const struct holding *b,
                              struct ww_error *err)
{
    const struct ww_share *x = &a->share;
    const struct ww_share *y = &b->share;

    if (memcmp(x->set_id, y->set_id, sizeof(x->set_id)) != 0) {
        return WW_FAIL(err, WW_E_SHARES,
                       "shares '%s' and '%s' are of two keys, or of one "
                       "key that was split twice",
                       a->path, b->path);
    }
    if (x->threshold != y->threshold || x->n_shares != y->n_shares ||
        memcmp(x->commitment, y->commitment, sizeof(x->commitment)) != 0 ||
        !ww_binding_equal(&x->binding, &y->binding)) {
        return WW_FAIL(err, WW_E_SHARES, "shares '%s' and '%s' contradict each other",
                       a->path, b->path);
    }
    if (x->index == y->index) {
        return WW_FAIL(err, WW_E_SHARES,
                       "shares '%s' and '%s' are the same share, number %u", a->path,
                       b->path, x->index);
    }
    return WW_OK;
}

static enum ww_err check_set(const struct holding *all, size_t n, struct ww_error *err)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            enum ww_err rc = check_pair(&all[j], &all[i], err);
            if (rc) {
                return rc;
            }
        }
    }
    if (n < all[0].share.threshold) {
        return WW_FAIL(err, WW_E_SHARES, "%zu of %u shares given, %u are needed", n,
                       all[0].share.n_shares, all[0].share.threshold);
    }
    return WW_OK;
}

/* The first of the given keys that opens it. One that is for someone else is no error. */
static enum ww_err open_point(struct holding *h, const struct ww_unsealer *unsealers,
                              size_t n, struct ww_error *err)
{
    static const struct ww_unsealer nothing = {NULL, NULL, NULL};
    struct ww_error own = {0};
    enum ww_err rc =
        n ? WW_E_PASSPHRASE
          : ww_record_unseal(&h->share.record, &nothing, &h->point, NULL, &own);

    for (size_t i = 0; i < n; i++) {
        ww_error_clear(&own);
        rc = ww_record_unseal(&h->share.record, &unsealers[i], &h->point, NULL, &own);
        if (rc != WW_E_PASSPHRASE && rc != WW_E_NOT_FOR_YOU) {
            break;
        }
    }
    if (rc) {
        return WW_FAIL(err, rc == WW_E_KEYFILE ? WW_E_SHARES : rc, "share '%s': %s",
                       h->path, own.text);
    }
    return WW_OK;
}

static enum ww_err join(const struct holding *all, size_t n, struct ww_secret **out,
                        struct ww_error *err)
{
    uint8_t xs[WW_SHAMIR_MAX_SHARES];
    struct ww_secret *points[WW_SHAMIR_MAX_SHARES];
    uint8_t commitment[WW_SHA256_BYTES];
    struct ww_secret *key = NULL;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n; i++) {
        xs[i] = all[i].share.index;
        points[i] = all[i].point;
    }
    rc = ww_shamir_combine(xs, points, n, &key, err);
    if (rc) {
        return rc;
    }
    ww_share_commitment(all[0].share.set_id, key, commitment);
    if (!ww_bytes_equal(commitment, all[0].share.commitment, sizeof(commitment))) {
        ww_secret_free(key);
        return WW_FAIL(err, WW_E_SHARES,
                       "the shares give another key than the one that was "
                       "split: at least one is wrong");
    }
    *out = key;
    return WW_OK;
}

static enum ww_err open_all(struct holding *all, size_t n,
                            const struct ww_combine *combine, struct ww_secret **key,
                            struct ww_error *err)
{
    struct ww_pubkey *signer = NULL;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = read_share(&all[i], combine->paths[i], err);
    }
    if (!rc && combine->signed_by) {
        rc = ww_pubkey_load(combine->signed_by, &signer, err);
    }
    for (size_t i = 0; i < n && !rc && signer; i++) {
        rc = check_signature(&all[i], signer, err);
    }
    if (!rc) {
        rc = check_set(all, n, err);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = open_point(&all[i], combine->unsealers, combine->n_unsealers, err);
    }
    if (!rc) {
        rc = join(all, n, key, err);
    }
    ww_pubkey_free(signer);
    return rc;
}

enum ww_err ww_lockkey_combine(const struct ww_combine *combine, struct ww_secret **key,
                               struct ww_key_binding *binding, struct ww_error *err)
{
    const size_t n = combine->n_paths;
    struct holding *all = NULL;
    enum ww_err rc = WW_OK;

    *key = NULL;
    if (n < 1 || n > WW_SHAMIR_MAX_SHARES) {
        return WW_FAIL(err, WW_E_SHARES, "%zu shares given, expected 2 to %d", n,
                       WW_SHAMIR_MAX_SHARES);
    }
    all = ww_calloc(n, sizeof(*all));
    if (!all) {
        return WW_FAIL_MEMORY(err, "shares");
    }
    rc = open_all(all, n, combine, key, err);
    if (!rc && binding) {
        *binding = all[0].share.binding;
    }
    for (size_t i = 0; i < n; i++) {
        ww_secret_free(all[i].file);
        ww_secret_free(all[i].point);
    }
    ww_free(all);
    return rc;
}
