/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies belong to a root: it names each by version and digest, so an old policy cannot
 * be mixed with a new root or the other way round. They are signed all the same, since
 * who signs roots need not be who writes policies.
 */
#include "trust/trust.h"

#include <string.h>
#include <time.h>

#include "trust/state.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const struct ww_root_policy *find_listed(const struct ww_root *root,
                                                const char *id)
{
    for (size_t i = 0; i < root->n_policies; i++) {
        if (strcmp(root->policies[i].id, id) == 0) {
            return &root->policies[i];
        }
    }
    return NULL;
}

static enum ww_err match_root(const struct ww_trust *trust,
                              const struct ww_policy *policy,
                              const struct ww_buf *payload, struct ww_error *err)
{
    const struct ww_root *root = &trust->root;
    const struct ww_root_policy *listed = find_listed(root, policy->id);
    uint8_t digest[WW_SHA256_BYTES];

    if (!listed) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "policy '%s' is not named by root version %llu", policy->id,
                       (unsigned long long)root->version);
    }
    if (listed->version != policy->version) {
        return WW_FAIL(
            err, WW_E_UNTRUSTED,
            "policy '%s' has version %llu, root version %llu names version %llu",
            policy->id, (unsigned long long)policy->version,
            (unsigned long long)root->version, (unsigned long long)listed->version);
    }
    ww_sha256_of(payload->data, payload->len, digest);
    if (memcmp(digest, listed->sha256, sizeof(digest)) != 0) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "policy '%s' differs from the one that root version %llu names",
                       policy->id, (unsigned long long)root->version);
    }
    for (size_t i = 0; i < trust->n_policies; i++) {
        if (strcmp(trust->policies[i].id, policy->id) == 0) {
            return WW_FAIL(err, WW_E_USAGE,
                           "policy '%s' is given twice, expected each once", policy->id);
        }
    }
    return WW_OK;
}

enum ww_err ww_trust_policy(const struct ww_trust *trust, const char *path,
                            struct ww_policy *out, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_endorsement by;
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_POLICY, &envelope, err);

    *out = (struct ww_policy){0};
    if (rc) {
        return rc;
    }
    rc = ww_root_endorse(&trust->root, NULL, &envelope, trust->now, 0, &by, err);
    if (!rc) {
        rc = ww_root_threshold(&trust->root, WW_POLICY_ROLE, &by, "policy", err);
    }
    if (!rc) {
        rc = ww_policy_read(envelope.payload.data, envelope.payload.len, out, err);
    }
    if (!rc) {
        rc = match_root(trust, out, &envelope.payload, err);
    }
    if (rc) {
        ww_policy_release(out);
        ww_error_context(err, "'%s'", path);
    }
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_trust_complete(const struct ww_trust *trust, struct ww_error *err)
{
    for (size_t i = 0; i < trust->root.n_policies; i++) {
        const struct ww_root_policy *listed = &trust->root.policies[i];
        bool there = ww_root_revokes(&trust->root, WW_REVOKED_POLICY, listed->id);
        for (size_t p = 0; p < trust->n_policies && !there; p++) {
            there = strcmp(trust->policies[p].id, listed->id) == 0;
        }
        if (!there) {
            return WW_FAIL(err, WW_E_NOTFOUND,
                           "policy '%s' version %llu, which root version %llu names, was "
                           "not given; a policy left out could be the one that forbids",
                           listed->id, (unsigned long long)listed->version,
                           (unsigned long long)trust->root.version);
        }
    }
    return WW_OK;
}

static enum ww_err read_policies(struct ww_trust *trust, const char *const *paths,
                                 size_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (n == 0) {
        return WW_OK;
    }
    trust->policies = ww_calloc(n, sizeof(*trust->policies));
    trust->list = ww_calloc(n, sizeof(*trust->list));
    if (!trust->policies || !trust->list) {
        return WW_FAIL_MEMORY(err, "policies");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_trust_policy(trust, paths[i], &trust->policies[i], err);
        if (!rc) {
            trust->list[trust->n_policies++] = &trust->policies[i];
        }
    }
    return rc;
}

enum ww_err ww_trust_open(const struct ww_trust_options *options, struct ww_trust *out,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_trust){0};
    out->now = options->at_unix ? options->at_unix : (int64_t)time(NULL);
    rc = ww_root_walk(options->roots, options->n_roots, out->now, &out->root, err);
    if (!rc) {
        rc = read_policies(out, options->policies, options->n_policies, err);
    }
    /* Only what was verified may move the state on. */
    if (!rc && options->state) {
        rc = ww_state_advance(options->state, &out->root, err);
    }
    if (rc) {
        ww_trust_release(out);
        return rc;
    }
    out->facts = (struct ww_trust_facts){
        .roles = out->root.roles,
        .n_roles = out->root.n_roles,
        .revoked = out->root.revoked,
        .n_revoked = out->root.n_revoked,
    };
    return WW_OK;
}

void ww_trust_release(struct ww_trust *trust)
{
    for (size_t i = 0; i < trust->n_policies; i++) {
        ww_policy_release(&trust->policies[i]);
    }
    ww_free(trust->policies);
    ww_free(trust->list);
    ww_root_release(&trust->root);
    *trust = (struct ww_trust){0};
}
