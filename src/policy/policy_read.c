/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions are a table: how each is read, and whether a forbid may carry it. One that
 * stops holding when evidence is added (approvals, more sources) must not stand in a
 * forbid, or taking evidence away would turn a deny into a permit.
 */
#include "policy/policy.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define TYPE "weightward.policy/1"

static const char *const may_names[] = {
#define NAME(name, text) text,
    WW_MAY_LIST(NAME)
#undef NAME
};

const char *ww_may_name(enum ww_may action)
{
    return (unsigned)action < WW_MAY_COUNT ? may_names[action] : "?";
}

bool ww_may_parse(const char *text, enum ww_may *out)
{
    for (int i = 0; i < WW_MAY_COUNT; i++) {
        if (strcmp(text, may_names[i]) == 0) {
            *out = (enum ww_may)i;
            return true;
        }
    }
    return false;
}

typedef enum ww_err (*read_condition)(const struct ww_reading *at,
                                      const struct ww_jnode *when, const char *key,
                                      void *out, struct ww_error *err);

static enum ww_err words(const struct ww_reading *at, const struct ww_jnode *when,
                         const char *key, void *out, struct ww_error *err)
{
    return ww_read_words(at, when, key, false, out, err);
}

static enum ww_err name(const struct ww_reading *at, const struct ww_jnode *when,
                        const char *key, void *out, struct ww_error *err)
{
    return ww_read_name(at, when, key, false, out, err);
}

static enum ww_err count(const struct ww_reading *at, const struct ww_jnode *when,
                         const char *key, void *out, struct ww_error *err)
{
    uint64_t *n = out;
    enum ww_err rc = ww_read_number(at, when, key, n, err);

    if (!rc && *n == 0) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: '%s' must be at least 1", at->what, key);
    }
    return rc;
}

static enum ww_err instant(const struct ww_reading *at, const struct ww_jnode *when,
                           const char *key, void *out, struct ww_error *err)
{
    return ww_read_time(at, when, key, false, out, err);
}

static enum ww_err weight(const struct ww_reading *at, const struct ww_jnode *when,
                          const char *key, void *out, struct ww_error *err)
{
    const char *text = NULL;

    if (!ww_jstr(ww_jget(when, key), &text) || !ww_policy_decimal(text, out)) {
        return WW_FAIL(err, WW_E_POLICY,
                       "%s: '%s' must be decimal text with at most six places", at->what,
                       key);
    }
    return WW_OK;
}

static enum ww_err output_lock(const struct ww_reading *at, const struct ww_jnode *when,
                               const char *key, void *out, struct ww_error *err)
{
    const char *text = NULL;
    bool *required = out;

    if (!ww_jstr(ww_jget(when, key), &text) ||
        (strcmp(text, "none") != 0 && strcmp(text, "required") != 0)) {
        return WW_FAIL(err, WW_E_POLICY, "%s: '%s' must be \"none\" or \"required\"",
                       at->what, key);
    }
    *required = strcmp(text, "required") == 0;
    return WW_OK;
}

static enum ww_err approvals(const struct ww_reading *at, const struct ww_jnode *when,
                             const char *key, void *out, struct ww_error *err)
{
    static const char *const members[] = {"role", "threshold", "distinct_from"};
    const struct ww_jnode *node = ww_jget(when, key);
    struct ww_when *to = out;
    const char *from = NULL;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at->what, err);

    if (!rc) {
        rc = ww_read_name(at, node, "role", false, &to->approvals_role, err);
    }
    if (!rc) {
        rc = count(at, node, "threshold", &to->approvals, err);
    }
    if (!rc) {
        rc = ww_read_name(at, node, "distinct_from", true, &from, err);
    }
    if (!rc && from && strcmp(from, "requester") != 0) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: 'distinct_from' must be \"requester\"",
                     at->what);
    }
    return rc;
}

struct condition {
    const char *key;
    read_condition read;
    size_t at; /* in struct ww_when */
    bool in_forbid;
};

static const struct condition conditions[] = {
    {"methods", words, offsetof(struct ww_when, methods), true},
    {"purpose", words, offsetof(struct ww_when, purpose), true},
    {"not_before", instant, offsetof(struct ww_when, not_before), true},
    {"not_after", instant, offsetof(struct ww_when, not_after), true},
    {"licenses_allowed", words, offsetof(struct ww_when, licenses_allowed), false},
    {"licenses_denied", words, offsetof(struct ww_when, licenses_denied), false},
    {"cosources_signed_by", words, offsetof(struct ww_when, cosources_signed_by), false},
    {"output_license", name, offsetof(struct ww_when, output_license), false},
    {"output_lock", output_lock, offsetof(struct ww_when, output_locked), false},
    {"max_weight", weight, offsetof(struct ww_when, max_weight), false},
    {"min_sources", count, offsetof(struct ww_when, min_sources), false},
    {"max_sources", count, offsetof(struct ww_when, max_sources), false},
    {"approvals", approvals, 0, false},
};

static enum ww_err read_when(const struct ww_reading *at, const struct ww_jnode *node,
                             struct ww_rule *rule, struct ww_error *err)
{
    const char *known[WW_LEN(conditions)];
    struct ww_when *when = &rule->when;
    enum ww_err rc = WW_OK;

    *when = (struct ww_when){
        .max_weight = -1, .not_before = INT64_MIN, .not_after = INT64_MAX};
    if (!node) {
        return WW_OK;
    }
    for (size_t i = 0; i < WW_LEN(conditions); i++) {
        known[i] = conditions[i].key;
    }
    rc = ww_jonly(node, known, WW_LEN(known), WW_E_POLICY, at->what, err);
    for (size_t i = 0; i < WW_LEN(conditions) && !rc; i++) {
        const struct condition *c = &conditions[i];
        if (!ww_jget(node, c->key)) {
            continue;
        }
        if (rule->forbid && !c->in_forbid) {
            return WW_FAIL(
                err, WW_E_POLICY,
                "%s: a forbid cannot depend on '%s'; permit under the opposite "
                "instead",
                at->what, c->key);
        }
        rc = c->read(at, node, c->key, (char *)when + c->at, err);
    }
    return rc;
}

static enum ww_err read_subjects(const struct ww_reading *at, const struct ww_jnode *node,
                                 struct ww_rule *rule, struct ww_error *err)
{
    enum ww_err rc = ww_read_words(at, node, "subjects", false, &rule->subjects, err);

    for (size_t i = 0; i < rule->subjects.n && !rc; i++) {
        const char *s = rule->subjects.items[i];
        const bool key = ww_str_starts(s, "key:") && strlen(s) == 4 + WW_HINT_CHARS;
        const bool role = ww_str_starts(s, "role:") && s[5];
        if (!key && !role && strcmp(s, "anyone") != 0) {
            rc = WW_FAIL(err, WW_E_POLICY,
                         "%s: subject '%.80s' must be key:ID, role:NAME or anyone",
                         at->what, s);
        }
    }
    return rc;
}

static enum ww_err read_actions(const struct ww_reading *at, const struct ww_jnode *node,
                                struct ww_rule *rule, struct ww_error *err)
{
    struct ww_words list = {0};
    enum ww_err rc = ww_read_words(at, node, "actions", false, &list, err);

    for (size_t i = 0; i < list.n && !rc; i++) {
        enum ww_may action;
        if (!ww_may_parse(list.items[i], &action)) {
            return WW_FAIL(err, WW_E_POLICY, "%s: " WW_MAY_UNKNOWN, at->what,
                           list.items[i]);
        }
        rule->actions |= 1u << action;
    }
    return rc;
}

static bool read_root(const char *text, const char *prefix, uint8_t root[WW_SHA256_BYTES])
{
    const size_t n = strlen(prefix);

    return ww_str_starts(text, prefix) &&
           ww_unhex(root, WW_SHA256_BYTES, text + n, strlen(text + n));
}

static enum ww_err read_resources(const struct ww_reading *at,
                                  const struct ww_jnode *node, struct ww_rule *rule,
                                  struct ww_error *err)
{
    struct ww_words list = {0};
    enum ww_err rc = ww_read_words(at, node, "resources", false, &list, err);

    if (rc) {
        return rc;
    }
    rule->resources = ww_calloc(list.n, sizeof(*rule->resources));
    rc = ww_read_own(at, rule->resources, err);
    for (size_t i = 0; i < list.n && !rc; i++) {
        struct ww_rule_resource *to = &rule->resources[i];
        const char *text = list.items[i];
        if (read_root(text, "model:sha256:", to->root)) {
            to->kind = WW_RES_MODEL;
        } else if (read_root(text, "lineage:sha256:", to->root)) {
            to->kind = WW_RES_LINEAGE;
        } else if (ww_str_starts(text, "tag:") && text[4]) {
            to->kind = WW_RES_TAG;
            to->tag = text + 4;
        } else {
            rc = WW_FAIL(err, WW_E_POLICY,
                         "%s: resource '%.100s' must be model:sha256:ROOT, "
                         "lineage:sha256:ROOT or tag:NAME",
                         at->what, text);
        }
        rule->n_resources = i + 1;
    }
    return rc;
}

static enum ww_err read_rule(struct ww_policy *policy, const struct ww_jnode *node,
                             struct ww_rule *rule, struct ww_error *err)
{
    static const char *const members[] = {"id",        "effect", "subjects", "actions",
                                          "resources", "when",   "why"};
    char what[2 * WW_POLICY_MAX_NAME + 40];
    struct ww_reading at = {policy->id, &policy->lists, &policy->n_lists};
    const char *effect = NULL;
    const char *why = NULL;
    enum ww_err rc = ww_read_name(&at, node, "id", false, &rule->id, err);

    if (rc) {
        return rc;
    }
    snprintf(what, sizeof(what), "rule '%s' of policy '%s'", rule->id, policy->id);
    at.what = what;
    rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, what, err);
    if (!rc) {
        rc = ww_read_name(&at, node, "effect", false, &effect, err);
    }
    if (!rc && strcmp(effect, "permit") != 0 && strcmp(effect, "forbid") != 0) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: effect '%.60s' must be permit or forbid",
                     what, effect);
    }
    if (rc) {
        return rc;
    }
    rule->forbid = strcmp(effect, "forbid") == 0;
    rc = ww_read_name(&at, node, "why", true, &why, err);
    if (!rc) {
        rc = read_subjects(&at, node, rule, err);
    }
    if (!rc) {
        rc = read_actions(&at, node, rule, err);
    }
    if (!rc) {
        rc = read_resources(&at, node, rule, err);
    }
    if (!rc) {
        rc = read_when(&at, ww_jget(node, "when"), rule, err);
    }
    return rc;
}

static enum ww_err read_rules(struct ww_policy *policy, const struct ww_jnode *list,
                              struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (ww_jtype(list) != WW_J_ARRAY || n == 0 || n > WW_POLICY_MAX_RULES) {
        return WW_FAIL(err, WW_E_POLICY, "policy '%s': 'rules' must be a list of 1 to %d",
                       policy->id, WW_POLICY_MAX_RULES);
    }
    policy->rules = ww_calloc(n, sizeof(*policy->rules));
    if (!policy->rules) {
        return WW_FAIL_MEMORY(err, "a policy");
    }
    for (const struct ww_jnode *node = ww_jfirst(list); node && !rc;
         node = ww_jnext(node)) {
        struct ww_rule *rule = &policy->rules[policy->n_rules];
        rc = read_rule(policy, node, rule, err);
        for (size_t i = 0; i < policy->n_rules && !rc; i++) {
            if (strcmp(policy->rules[i].id, rule->id) == 0) {
                rc = WW_FAIL(err, WW_E_POLICY, "policy '%s' has two rules '%s'",
                             policy->id, rule->id);
            }
        }
        policy->n_rules++;
    }
    return rc;
}

static enum ww_err read_policy(struct ww_policy *policy, struct ww_error *err)
{
    static const char *const members[] = {"type",    "id",    "version", "issued",
                                          "expires", "rules", "about"};
    const struct ww_jnode *root = ww_json_root(policy->json);
    struct ww_reading at = {"policy", &policy->lists, &policy->n_lists};
    const char *about = NULL;
    enum ww_err rc = ww_jonly(root, members, WW_LEN(members), WW_E_POLICY, "policy", err);

    if (!rc) {
        rc = ww_read_name(&at, root, "id", false, &policy->id, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, root, "about", true, &about, err);
    }
    if (!rc) {
        rc = ww_read_number(&at, root, "version", &policy->version, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, root, "issued", false, &policy->issued, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, root, "expires", false, &policy->expires, err);
    }
    if (!rc) {
        rc = read_rules(policy, ww_jget(root, "rules"), err);
    }
    return rc;
}

enum ww_err ww_policy_read(const uint8_t *payload, size_t len, struct ww_policy *out,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_policy){0};
    rc = ww_read_document(payload, len, TYPE, &out->json, err);
    if (!rc) {
        rc = read_policy(out, err);
    }
    if (rc) {
        ww_policy_release(out);
    }
    return rc;
}

void ww_policy_release(struct ww_policy *policy)
{
    for (size_t i = 0; i < policy->n_lists; i++) {
        ww_free(policy->lists[i]);
    }
    ww_free(policy->lists);
    ww_free(policy->rules);
    ww_json_free(policy->json);
    *policy = (struct ww_policy){0};
}
