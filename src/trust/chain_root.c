/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain under a trust root: the root's keys are those that count, and its revocations
 * are asked about at every link. Without a trusted time all signatures of a revoked key
 * fall, so a link is refused whenever it was signed.
 */
#include <string.h>

#include "trust/lineage.h"
#include "util/fail.h"
#include "weightward/guard.h"

enum ww_err ww_lineage_keys(const struct ww_trust *trust, struct ww_chain_keys *out,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_chain_keys){.what = "the trust root does not let sign models now"};
    for (size_t i = 0; i < trust->root.n_keys && !rc; i++) {
        const struct ww_root_key *key = &trust->root.keys[i];
        const struct ww_root_key *found = NULL;
        if (ww_root_revokes(&trust->root, WW_REVOKED_KEY, key->id) ||
            ww_root_may_sign(&trust->root, key->id, WW_SIGNED_STATEMENT, trust->now,
                             &found, NULL) == WW_OK) {
            rc = ww_chain_keys_add(out, key->key, err);
        }
    }
    if (rc) {
        ww_chain_keys_release(out);
    }
    return rc;
}

static enum ww_err accept(const void *payload, const struct ww_chain_link *link,
                          const char *hint, struct ww_error *err)
{
    const struct ww_trust *trust = payload;
    const struct {
        enum ww_revoked_kind kind;
        const char *id;
        const char *what;
    } asked[] = {
        {WW_REVOKED_KEY, hint, "the key that signed it"},
        {WW_REVOKED_ATTESTATION, link->evidence_sha256, "its statement"},
        {WW_REVOKED_MODEL, link->tensor_root, "this model"},
        {WW_REVOKED_MODEL, link->root_sha256, "this folder"},
    };

    for (size_t i = 0; i < WW_LEN(asked); i++) {
        if (asked[i].id[0] && ww_root_revokes(&trust->root, asked[i].kind, asked[i].id)) {
            return WW_FAIL(err, WW_E_UNTRUSTED,
                           "%s is revoked by trust root version %llu", asked[i].what,
                           (unsigned long long)trust->root.version);
        }
    }
    return WW_OK;
}

enum ww_err ww_verify_chain_under(const char *path,
                                  const struct ww_trust_options *options,
                                  const struct ww_chain_options *chain,
                                  struct ww_chain_report *report, struct ww_error *err)
{
    struct ww_trust trust;
    struct ww_chain_keys keys = {0};
    const struct ww_chain_judge judge = {accept, &trust};
    enum ww_err rc = ww_trust_open(options, &trust, err);

    memset(report, 0, sizeof(*report));
    if (!rc) {
        rc = ww_lineage_keys(&trust, &keys, err);
    }
    if (!rc) {
        rc = ww_chain_keys_more(chain, &keys, err);
    }
    if (!rc) {
        rc = ww_chain_walk(path, chain, &keys, &judge, report, err);
    }
    ww_chain_keys_release(&keys);
    ww_trust_release(&trust);
    return rc;
}
