/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of decisions that a model carries, its own and those of its ancestors. They
 * protect against policies that were rolled back where nobody kept a state file: what was
 * decided under version 5 of a policy is not asked about under version 4.
 */
#include <string.h>

#include "policy/words.h"
#include "sign/bundle.h"
#include "trust/lineage.h"
#include "util/fail.h"

#define PREDICATE "https://slsa.dev/verification_summary/v1"
#define MAX_POLICIES 256

static enum ww_err read_policies(const struct ww_jnode *list, struct ww_source_facts *out,
                                 struct ww_error *err)
{
    const struct ww_reading at = {.what = "decision"};
    enum ww_err rc = WW_OK;

    if (list && (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) > MAX_POLICIES)) {
        return WW_FAIL(err, WW_E_BUNDLE, "decision: 'policies' is no list of at most %d",
                       MAX_POLICIES);
    }
    for (const struct ww_jnode *p = ww_jfirst(list); p && !rc; p = ww_jnext(p)) {
        const char *id = NULL;
        uint64_t version = 0;
        rc = ww_read_name(&at, p, "id", false, &id, err);
        if (!rc) {
            rc = ww_read_number(&at, p, "version", &version, err);
        }
        if (!rc) {
            rc = ww_facts_need(out, id, version, true, err);
        }
    }
    return rc;
}

enum ww_err ww_decision_parse(const uint8_t *text, size_t len,
                              struct ww_source_facts *out, struct ww_error *err)
{
    const struct ww_jnode *root = NULL;
    const struct ww_jnode *decision = NULL;
    struct ww_json *json = NULL;
    const char *type = "";
    enum ww_err rc = ww_json_parse(text, len, &ww_json_limits_bundle, &json, err);

    root = rc ? NULL : ww_json_root(json);
    decision = ww_jget(ww_jget(root, "predicate"), "weightward_decision");
    if (!rc && (!ww_jstr(ww_jget(root, "predicateType"), &type) ||
                strcmp(type, PREDICATE) != 0 || !decision)) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "it is no record of a decision");
    }
    if (!rc) {
        rc = read_policies(ww_jget(decision, "policies"), out, err);
    }
    ww_json_free(json);
    return rc;
}

/* How to start again after somebody raised a version out of all reach. */
static bool is_revoked(const struct ww_trust *trust, const struct ww_buf *text)
{
    uint8_t digest[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    ww_sha256_of(text->data, text->len, digest);
    ww_hex(hex, digest, sizeof(digest));
    return ww_root_revokes(&trust->root, WW_REVOKED_ATTESTATION, hex);
}

enum ww_err ww_decision_read(const struct ww_trust *trust,
                             const struct ww_chain_keys *keys, const struct ww_buf *text,
                             struct ww_source_facts *out, struct ww_error *err)
{
    const struct ww_verifier *verifier = NULL;
    struct ww_bundle bundle = {0};
    enum ww_err rc = WW_OK;

    if (is_revoked(trust, text)) {
        return WW_OK;
    }
    rc = ww_bundle_parse(text->data, text->len, &bundle, err);
    if (!rc && ww_chain_keys_find(keys, &bundle, &verifier, NULL) == WW_OK) {
        rc = ww_bundle_check(&bundle, verifier, NULL, err);
        if (!rc) {
            rc = ww_decision_parse(bundle.payload.data, bundle.payload.len, out, err);
        }
    }
    ww_bundle_release(&bundle);
    return rc;
}
