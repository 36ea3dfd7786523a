/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A permit may allow what is done with its own owner's models alone; what it forbids
 * counts for all of them. The request is one of a merge whose sources are the members,
 * each with full weight, because a pool may follow one member wholly.
 */
#include "evo/permits.h"

#include <string.h>
#include <time.h>

#include "evo/pool.h"
#include "policy/policy.h"
#include "sign/envelope.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define DOMAIN "weightward.remote-model/1"
#define FULL_WEIGHT 1000000

struct ww_permits {
    const struct ww_member *member;
    uint32_t k;
    struct ww_policy policy[WW_POOL_MAX_MEMBERS];
    const struct ww_policy *list[WW_POOL_MAX_MEMBERS];
    struct ww_model_facts facts[WW_POOL_MAX_MEMBERS];
    struct ww_model_facts once[WW_POOL_MAX_MEMBERS]; /* [n_sources] */
    struct ww_request_source source[WW_POOL_MAX_MEMBERS];
    size_t n_sources; /* a model that is a member twice is one source */
    char owner[WW_POOL_MAX_MEMBERS][2 * WW_SHA256_BYTES + 1];
};

static void add_text(struct ww_sha256 *h, const char *text)
{
    ww_sha256_u64le(h, strlen(text));
    ww_sha256_update(h, text, strlen(text));
}

enum ww_err ww_remote_identity(const struct ww_member *member,
                               uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    add_text(h, DOMAIN);
    add_text(h, member->url);
    add_text(h, member->model);
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return WW_OK;
}

/* The owner's signature must be among those of the envelope. */
static enum ww_err check_owner(const struct ww_envelope *envelope, const char *path,
                               char owner[2 * WW_SHA256_BYTES + 1], struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err found = WW_E_UNTRUSTED;
    enum ww_err rc = ww_pubkey_load(path, &key, err);
    rc = rc ? rc : ww_pubkey_hint(key, owner, err);
    for (size_t i = 0; i < envelope->n_signatures && !rc && found == WW_E_UNTRUSTED;
         i++) {
        found = ww_envelope_check(envelope, i, key, NULL);
    }
    if (!rc && found) {
        rc = WW_FAIL(err, found, "is not signed by the owner's key '%s'%s", path,
                     found == WW_E_UNTRUSTED ? "" : " as it is: it was altered");
    }
    ww_pubkey_free(key);
    return rc;
}

static enum ww_err read_permit(const struct ww_member *m, struct ww_policy *policy,
                               struct ww_permit *out, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_buf text;
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_file_read(m->permit, &text, err);
    if (!rc && !ww_envelope_is(text.data, text.len)) {
        rc = WW_FAIL(err, WW_E_NOT_SIGNED,
                     "is no signed policy; sign it with 'weightward policy sign'");
    }
    rc = rc ? rc : ww_envelope_parse(text.data, text.len, &envelope, err);
    if (!rc && envelope.kind != WW_SIGNED_POLICY) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "is a signed %s, expected a policy",
                     ww_signed_word(envelope.kind));
    }
    rc = rc ? rc : check_owner(&envelope, m->owner, out->owner, err);
    rc = rc ? rc
            : ww_policy_read(envelope.payload.data, envelope.payload.len, policy, err);
    if (rc) {
        ww_error_context(err, "permit '%s' of member '%s'", m->permit, m->name);
    } else {
        out->given = true;
        ww_sha256_of(text.data, text.len, out->digest);
    }
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
    return rc;
}

static enum ww_err all_or_none(const struct ww_member *member, uint32_t k, bool *any,
                               struct ww_error *err)
{
    const struct ww_member *without = NULL;
    *any = false;
    for (uint32_t i = 0; i < k; i++) {
        *any = *any || member[i].permit;
        without = member[i].permit ? without : &member[i];
        if (member[i].permit && !member[i].owner) {
            return WW_FAIL(
                err, WW_E_USAGE,
                "member '%s' has a permit: 'owner' in the pool file says whose "
                "key must have signed it",
                member[i].name);
        }
    }
    if (*any && without) {
        return WW_FAIL(
            err, WW_E_DENIED,
            "member '%s' has no permit and others have one: a pool with permits "
            "needs one of every member",
            without->name);
    }
    return WW_OK;
}

/* Is the resource a model of the same owner? */
static bool is_own(const struct ww_permits *p, const struct ww_permit *permit,
                   uint32_t at, const struct ww_rule_resource *r)
{
    for (uint32_t i = 0; i < p->k && r->kind != WW_RES_TAG; i++) {
        if (strcmp(permit[i].owner, permit[at].owner) == 0 &&
            memcmp(p->facts[i].root, r->root, WW_SHA256_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Does what a permit allows touch a member of somebody else? What it says about models
 * that are no members changes nothing. */
static enum ww_err check_scope(const struct ww_permits *p, const struct ww_permit *permit,
                               uint32_t at, struct ww_error *err)
{
    const struct ww_policy *policy = &p->policy[at];
    for (size_t n = 0; n < policy->n_rules; n++) {
        const struct ww_rule *rule = &policy->rules[n];
        for (size_t i = 0; i < rule->n_resources && !rule->forbid; i++) {
            const struct ww_rule_resource *r = &rule->resources[i];
            bool of_pool = false;
            for (uint32_t m = 0; m < p->k; m++) {
                of_pool =
                    of_pool || (r->kind != WW_RES_TAG &&
                                memcmp(p->facts[m].root, r->root, WW_SHA256_BYTES) == 0);
            }
            if (of_pool && !is_own(p, permit, at, r)) {
                return WW_FAIL(err, WW_E_DENIED,
                               "permit '%s' of member '%s' allows something with a model "
                               "of another owner (rule '%s')",
                               p->member[at].permit, p->member[at].name, rule->id);
            }
        }
    }
    return WW_OK;
}

static enum ww_err gather(struct ww_permits *p, struct ww_permit *out,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t i = 0; i < p->k && !rc; i++) {
        struct ww_model_facts *f = &p->facts[i];
        rc = read_permit(&p->member[i], &p->policy[i], &out[i], err);
        rc = rc ? rc : ww_remote_identity(&p->member[i], f->root, err);
        f->name = p->member[i].name;
        memcpy(p->owner[i], out[i].owner, sizeof(p->owner[i]));
        f->signer = p->owner[i];
        f->lineage_known = true; /* its owner's word is all that there is */
        f->weight = FULL_WEIGHT;
        p->list[i] = &p->policy[i];
    }
    for (uint32_t i = 0; i < p->k && !rc; i++) {
        rc = check_scope(p, out, i, err);
    }
    return rc;
}

static void count_sources(struct ww_permits *p)
{
    for (uint32_t i = 0; i < p->k; i++) {
        bool seen = false;
        for (size_t s = 0; s < p->n_sources; s++) {
            seen =
                seen || memcmp(p->source[s].root, p->facts[i].root, WW_SHA256_BYTES) == 0;
        }
        if (!seen) {
            p->once[p->n_sources] = p->facts[i];
            p->source[p->n_sources].weight = FULL_WEIGHT;
            memcpy(p->source[p->n_sources++].root, p->facts[i].root, WW_SHA256_BYTES);
        }
    }
}

enum ww_err ww_permits_allow(const struct ww_permits *p, const char *requester,
                             const char *method, int64_t now, struct ww_error *err)
{
    const struct ww_trust_facts nothing = {0};
    const struct ww_words nobody = {0};
    struct ww_request_source source[WW_POOL_MAX_MEMBERS];
    struct ww_decision d;
    if (!p) {
        return WW_OK;
    }
    memcpy(source, p->source, sizeof(source)); /* requests own theirs */
    const struct ww_request request = {.action = WW_MAY_MERGE,
                                       .requester = requester,
                                       .method = method,
                                       .time = now,
                                       .sources = source,
                                       .n_sources = p->n_sources};
    const struct ww_evaluation e = {.policies = p->list,
                                    .n_policies = p->k,
                                    .trust = &nothing,
                                    .request = &request,
                                    .sources = p->once,
                                    .approvals = &nobody,
                                    .now = now};
    ww_policy_evaluate(&e, &d);
    if (d.permit) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_DENIED,
                   "the members' permits do not allow to pool%s%s%s: %s%s%s%s",
                   d.model ? " '" : "", d.model ? d.model->name : "", d.model ? "'" : "",
                   ww_reason_name(d.reason), d.n_rules ? " by rule " : "",
                   d.n_rules  ? d.rules[0]->id
                   : d.failed ? ", nearest fails at "
                              : "",
                   !d.n_rules && d.failed ? d.failed : "");
}

void ww_permits_free(struct ww_permits *p)
{
    if (p) {
        for (uint32_t i = 0; i < p->k; i++) {
            ww_policy_release(&p->policy[i]);
        }
        ww_free(p);
    }
}

enum ww_err ww_permits_open(const struct ww_member *member, uint32_t k,
                            struct ww_permit *out, struct ww_permits **permits,
                            struct ww_error *err)
{
    bool any = false;
    *permits = NULL;
    memset(out, 0, k * sizeof(*out));
    enum ww_err rc = all_or_none(member, k, &any, err);
    if (rc || !any) {
        return rc;
    }
    struct ww_permits *p = ww_calloc(1, sizeof(*p));
    if (!p) {
        return WW_FAIL_MEMORY(err, "permits");
    }
    p->member = member;
    p->k = k;
    rc = gather(p, out, err);
    if (rc) {
        ww_permits_free(p);
        return rc;
    }
    count_sources(p);
    *permits = p;
    return WW_OK;
}

enum ww_err ww_permits_check(const struct ww_member *member, uint32_t k,
                             const char *requester, const char *method,
                             struct ww_permit *out, struct ww_error *err)
{
    struct ww_permits *permits = NULL;
    enum ww_err rc = ww_permits_open(member, k, out, &permits, err);
    rc = rc ? rc : ww_permits_allow(permits, requester, method, (int64_t)time(NULL), err);
    ww_permits_free(permits);
    return rc;
}
