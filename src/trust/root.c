/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a root says about a signature. A signature that does not verify, or whose key
 * nobody named, refuses the whole file; one that verifies may still not count.
 */
#include "trust/root.h"

#include <string.h>

#include "policy/words.h"
#include "util/fail.h"

const struct ww_root_key *ww_root_key(const struct ww_root *root, const char *id)
{
    for (size_t i = 0; i < root->n_keys; i++) {
        if (strcmp(root->keys[i].id, id) == 0) {
            return &root->keys[i];
        }
    }
    return NULL;
}

const struct ww_role *ww_root_role(const struct ww_root *root, const char *name)
{
    for (size_t i = 0; i < root->n_roles; i++) {
        if (strcmp(root->roles[i].name, name) == 0) {
            return &root->roles[i];
        }
    }
    return NULL;
}

bool ww_root_revokes(const struct ww_root *root, enum ww_revoked_kind kind,
                     const char *id)
{
    for (size_t i = 0; i < root->n_revoked; i++) {
        if (root->revoked[i].kind == kind && strcmp(root->revoked[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_root_may_sign(const struct ww_root *root, const char *id,
                             enum ww_signed_kind kind, int64_t now,
                             const struct ww_root_key **out, struct ww_error *err)
{
    const struct ww_root_key *key = ww_root_key(root, id);

    *out = NULL;
    if (!key) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "%s is signed by key %s, which the trust root does not name",
                       ww_signed_word(kind), id);
    }
    if (ww_root_revokes(root, WW_REVOKED_KEY, id)) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "%s is signed by key %s, which is revoked",
                       ww_signed_word(kind), id);
    }
    if (!(key->may_sign & 1u << kind)) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "key %s may not sign a %s", id,
                       ww_signed_word(kind));
    }
    if (now < key->not_before || now > key->not_after) {
        return WW_FAIL(err, WW_E_EXPIRED, "key %s is not valid at this time", id);
    }
    *out = key;
    return WW_OK;
}

static enum ww_err check_one(const struct ww_root *root, const struct ww_root *other,
                             const struct ww_envelope *envelope, size_t i,
                             struct ww_error *err)
{
    const char *id = envelope->signatures[i].keyid;
    const struct ww_root_key *key = ww_root_key(root, id);
    enum ww_err rc = WW_OK;

    if (!key && other) {
        key = ww_root_key(other, id);
    }
    if (!key) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "%s is signed by key %s, which the trust root does not name",
                       ww_signed_word(envelope->kind), id);
    }
    rc = ww_envelope_check(envelope, i, key->key, err);
    if (rc) {
        ww_error_context(err, "signature of %s by key %s", ww_signed_word(envelope->kind),
                         id);
    }
    return rc;
}

enum ww_err ww_root_endorse(const struct ww_root *root, const struct ww_root *other,
                            const struct ww_envelope *envelope, int64_t now,
                            unsigned flags, struct ww_endorsement *out,
                            struct ww_error *err)
{
    out->n = 0;
    for (size_t i = 0; i < envelope->n_signatures; i++) {
        const char *id = envelope->signatures[i].keyid;
        const struct ww_root_key *key = ww_root_key(root, id);
        enum ww_err rc = WW_OK;
        if (!key && (flags & WW_ENDORSE_STRANGERS)) {
            continue;
        }
        rc = check_one(root, other, envelope, i, err);
        if (rc) {
            return rc;
        }
        if (key && (key->may_sign & 1u << envelope->kind) &&
            ((flags & WW_ENDORSE_ANY_TIME) ||
             (now >= key->not_before && now <= key->not_after)) &&
            !ww_root_revokes(root, WW_REVOKED_KEY, id)) {
            out->keys[out->n++] = key;
        }
    }
    return WW_OK;
}

enum ww_err ww_root_threshold(const struct ww_root *root, const char *role_name,
                              const struct ww_endorsement *by, const char *what,
                              struct ww_error *err)
{
    const struct ww_role *role = ww_root_role(root, role_name);
    uint64_t n = 0;

    for (size_t i = 0; role && i < by->n; i++) {
        n += ww_words_have(&role->keyids, by->keys[i]->id);
    }
    if (!role || n < role->threshold) {
        return WW_FAIL(
            err, WW_E_UNTRUSTED,
            "%s is signed by %llu keys of role '%s' of root version %llu that count, "
            "expected %llu",
            what, (unsigned long long)n, role_name, (unsigned long long)root->version,
            role ? (unsigned long long)role->threshold : 1ULL);
    }
    return WW_OK;
}
