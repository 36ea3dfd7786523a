/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a trust root. A key's id is computed from the key and must be the one it stands
 * under; public keys have one accepted encoding, so the same key cannot stand there twice
 * and be counted twice (python-tuf GHSA-pwqf-9h7j-7mv8, tough GHSA-5q2r-92f9-4m49).
 */
#include <stdio.h>
#include <string.h>

#include "policy/words.h"
#include "trust/root.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define TYPE "weightward.root/1"
#define MAX_ROLES 64
#define MAX_POLICIES 1024
#define MAX_REVOKED 65536

static enum ww_err read_may_sign(const struct ww_reading *at, const struct ww_jnode *node,
                                 unsigned *out, struct ww_error *err)
{
    struct ww_words list = {0};
    enum ww_err rc = ww_read_words(at, node, "may_sign", false, &list, err);

    *out = 0;
    for (size_t i = 0; i < list.n && !rc; i++) {
        enum ww_signed_kind kind;
        if (!ww_signed_parse(list.items[i], &kind)) {
            return WW_FAIL(
                err, WW_E_POLICY,
                "%s: payload type '%.80s' is unknown, expected one of "
                "application/vnd.weightward....+json or application/vnd.in-toto+json",
                at->what, list.items[i]);
        }
        *out |= 1u << kind;
    }
    return rc;
}

/* PEM text is longer than a name, so it is read here. */
static enum ww_err load_key(const struct ww_reading *at, const struct ww_jnode *node,
                            const char *stated, struct ww_root_key *to,
                            struct ww_error *err)
{
    const char *pem = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(node, "pem"), &pem)) {
        return WW_FAIL(err, WW_E_POLICY, "%s: 'pem' must be the text of a public key",
                       at->what);
    }
    rc = ww_pubkey_from_pem((const uint8_t *)pem, strlen(pem), &to->key, err);
    if (!rc) {
        rc = ww_pubkey_hint(to->key, to->id, err);
    }
    if (rc) {
        ww_error_context(err, "%s", at->what);
        return rc;
    }
    if (strcmp(to->id, stated) != 0) {
        return WW_FAIL(err, WW_E_POLICY, "%s: the key's own id is %s", at->what, to->id);
    }
    return WW_OK;
}

static enum ww_err read_key(struct ww_root *root, const struct ww_jnode *node,
                            struct ww_error *err)
{
    static const char *const members[] = {"pem", "not_before", "not_after", "may_sign",
                                          "about"};
    struct ww_root_key *to = &root->keys[root->n_keys++];
    char what[WW_POLICY_MAX_NAME];
    const struct ww_reading at = {what, &root->lists, &root->n_lists};
    const char *about = NULL;
    enum ww_err rc = WW_OK;

    snprintf(what, sizeof(what), "key %.80s of the root", ww_jkey(node));
    to->not_before = INT64_MIN;
    to->not_after = INT64_MAX;
    rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, what, err);
    if (!rc) {
        rc = load_key(&at, node, ww_jkey(node), to, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, node, "not_before", true, &to->not_before, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, node, "not_after", true, &to->not_after, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "about", true, &about, err);
    }
    if (!rc) {
        rc = read_may_sign(&at, node, &to->may_sign, err);
    }
    return rc;
}

static enum ww_err read_keys(struct ww_root *root, const struct ww_jnode *node,
                             struct ww_error *err)
{
    const size_t n = ww_jsize(node);
    enum ww_err rc = WW_OK;

    if (ww_jtype(node) != WW_J_OBJECT || n == 0 || n > WW_ROOT_MAX_KEYS) {
        return WW_FAIL(err, WW_E_POLICY, "root: 'keys' must be an object of 1 to %d keys",
                       WW_ROOT_MAX_KEYS);
    }
    root->keys = ww_calloc(n, sizeof(*root->keys));
    if (!root->keys) {
        return WW_FAIL_MEMORY(err, "a root");
    }
    for (const struct ww_jnode *k = ww_jfirst(node); k && !rc; k = ww_jnext(k)) {
        rc = read_key(root, k, err);
    }
    return rc;
}

static enum ww_err read_role(struct ww_root *root, const struct ww_jnode *node,
                             struct ww_error *err)
{
    static const char *const members[] = {"keyids", "threshold"};
    struct ww_role *to = &root->roles[root->n_roles++];
    char what[WW_POLICY_MAX_NAME];
    const struct ww_reading at = {what, &root->lists, &root->n_lists};
    enum ww_err rc = WW_OK;

    to->name = ww_jkey(node);
    snprintf(what, sizeof(what), "role '%.80s' of the root", to->name);
    rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, what, err);
    if (!rc) {
        rc = ww_read_words(&at, node, "keyids", false, &to->keyids, err);
    }
    if (!rc) {
        rc = ww_read_number(&at, node, "threshold", &to->threshold, err);
    }
    for (size_t i = 0; i < to->keyids.n && !rc; i++) {
        if (!ww_root_key(root, to->keyids.items[i])) {
            rc = WW_FAIL(err, WW_E_POLICY, "%s: '%.80s' is none of the root's keys", what,
                         to->keyids.items[i]);
        }
    }
    if (!rc && (to->threshold == 0 || to->threshold > to->keyids.n)) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: the threshold must be 1 to %zu", what,
                     to->keyids.n);
    }
    return rc;
}

static enum ww_err read_roles(struct ww_root *root, const struct ww_jnode *node,
                              struct ww_error *err)
{
    const size_t n = ww_jsize(node);
    enum ww_err rc = WW_OK;

    if (ww_jtype(node) != WW_J_OBJECT || n == 0 || n > MAX_ROLES) {
        return WW_FAIL(err, WW_E_POLICY, "root: 'roles' must be an object of 1 to %d",
                       MAX_ROLES);
    }
    root->roles = ww_calloc(n, sizeof(*root->roles));
    if (!root->roles) {
        return WW_FAIL_MEMORY(err, "a root");
    }
    for (const struct ww_jnode *r = ww_jfirst(node); r && !rc; r = ww_jnext(r)) {
        rc = read_role(root, r, err);
    }
    if (!rc &&
        (!ww_root_role(root, WW_ROOT_ROLE) || !ww_root_role(root, WW_POLICY_ROLE))) {
        rc = WW_FAIL(err, WW_E_POLICY, "root: the roles '%s' and '%s' must be there",
                     WW_ROOT_ROLE, WW_POLICY_ROLE);
    }
    return rc;
}

static enum ww_err read_policy(struct ww_root *root, const struct ww_jnode *node,
                               struct ww_error *err)
{
    static const char *const members[] = {"id", "version", "sha256"};
    const struct ww_reading at = {"policy of the root", &root->lists, &root->n_lists};
    struct ww_root_policy *to = &root->policies[root->n_policies];
    const char *digest = NULL;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at.what, err);

    if (!rc) {
        rc = ww_read_name(&at, node, "id", false, &to->id, err);
    }
    if (!rc) {
        rc = ww_read_number(&at, node, "version", &to->version, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "sha256", false, &digest, err);
    }
    if (!rc && !ww_unhex(to->sha256, WW_SHA256_BYTES, digest, strlen(digest))) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: 'sha256' must be 64 hex digits", at.what);
    }
    for (size_t i = 0; i < root->n_policies && !rc; i++) {
        if (strcmp(root->policies[i].id, to->id) == 0) {
            rc = WW_FAIL(err, WW_E_POLICY, "root: policy '%s' is listed twice", to->id);
        }
    }
    root->n_policies++;
    return rc;
}

static enum ww_err read_policies(struct ww_root *root, const struct ww_jnode *list,
                                 struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (ww_jtype(list) != WW_J_ARRAY || n > MAX_POLICIES) {
        return WW_FAIL(err, WW_E_POLICY, "root: 'policies' must be a list of at most %d",
                       MAX_POLICIES);
    }
    root->policies = ww_calloc(n + 1, sizeof(*root->policies));
    if (!root->policies) {
        return WW_FAIL_MEMORY(err, "a root");
    }
    for (const struct ww_jnode *p = ww_jfirst(list); p && !rc; p = ww_jnext(p)) {
        rc = read_policy(root, p, err);
    }
    return rc;
}

static enum ww_err read_revocation(struct ww_root *root, const struct ww_jnode *node,
                                   struct ww_error *err)
{
    static const char *const members[] = {"kind", "id", "at", "why"};
    const struct ww_reading at = {"revocation of the root", &root->lists, &root->n_lists};
    struct ww_revoked *to = &root->revoked[root->n_revoked++];
    const char *kind = NULL;
    int64_t when = 0;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at.what, err);

    if (!rc) {
        rc = ww_read_name(&at, node, "kind", false, &kind, err);
    }
    if (!rc && !ww_revoked_parse(kind, &to->kind)) {
        rc = WW_FAIL(
            err, WW_E_POLICY,
            "%s: kind '%.40s' is unknown, expected key, model, attestation or policy",
            at.what, kind);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "id", false, &to->id, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, node, "at", false, &when, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "why", true, &to->why, err);
    }
    return rc;
}

static enum ww_err read_revoked(struct ww_root *root, const struct ww_jnode *list,
                                struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (ww_jtype(list) != WW_J_ARRAY || n > MAX_REVOKED) {
        return WW_FAIL(err, WW_E_POLICY, "root: 'revoked' must be a list of at most %d",
                       MAX_REVOKED);
    }
    root->revoked = ww_calloc(n + 1, sizeof(*root->revoked));
    if (!root->revoked) {
        return WW_FAIL_MEMORY(err, "a root");
    }
    for (const struct ww_jnode *r = ww_jfirst(list); r && !rc; r = ww_jnext(r)) {
        rc = read_revocation(root, r, err);
    }
    return rc;
}

static enum ww_err read_root(struct ww_root *root, struct ww_error *err)
{
    static const char *const members[] = {"type",     "version", "issued",
                                          "expires",  "keys",    "roles",
                                          "policies", "revoked", "about"};
    const struct ww_jnode *top = ww_json_root(root->json);
    const struct ww_reading at = {"root", &root->lists, &root->n_lists};
    const char *about = NULL;
    enum ww_err rc = ww_jonly(top, members, WW_LEN(members), WW_E_POLICY, "root", err);

    if (!rc) {
        rc = ww_read_number(&at, top, "version", &root->version, err);
    }
    if (!rc && root->version == 0) {
        rc = WW_FAIL(err, WW_E_POLICY, "root: 'version' must be at least 1");
    }
    if (!rc) {
        rc = ww_read_time(&at, top, "issued", false, &root->issued, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, top, "expires", false, &root->expires, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, top, "about", true, &about, err);
    }
    if (!rc) {
        rc = read_keys(root, ww_jget(top, "keys"), err);
    }
    if (!rc) {
        rc = read_roles(root, ww_jget(top, "roles"), err);
    }
    if (!rc) {
        rc = read_policies(root, ww_jget(top, "policies"), err);
    }
    if (!rc) {
        rc = read_revoked(root, ww_jget(top, "revoked"), err);
    }
    return rc;
}

enum ww_err ww_root_read(const uint8_t *payload, size_t len, struct ww_root *out,
                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_root){0};
    rc = ww_read_document(payload, len, TYPE, &out->json, err);
    if (!rc) {
        ww_sha256_of(payload, len, out->sha256);
        rc = read_root(out, err);
    }
    if (rc) {
        ww_root_release(out);
    }
    return rc;
}

void ww_root_release(struct ww_root *root)
{
    for (size_t i = 0; i < root->n_keys; i++) {
        ww_pubkey_free(root->keys[i].key);
    }
    for (size_t i = 0; i < root->n_lists; i++) {
        ww_free(root->lists[i]);
    }
    ww_free(root->lists);
    ww_free(root->keys);
    ww_free(root->roles);
    ww_free(root->policies);
    ww_free(root->revoked);
    ww_json_free(root->json);
    *root = (struct ww_root){0};
}
