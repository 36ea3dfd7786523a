/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every source, and every ancestor of one, is asked about on its own. First what denies
 * without looking at rules, then forbids over everything, then for each model some permit
 * all of whose conditions hold. Nothing here depends on an order: a denial is decided by
 * the lowest reason, rules are collected wherever they match.
 */
#include <string.h>

#include "policy/words.h"
#include "util/fail.h"
#include "util/str.h"

static const char *const reasons[] = {
#define NAME(name, text) text,
    WW_REASON_LIST(NAME)
#undef NAME
};

const char *ww_reason_name(enum ww_reason reason)
{
    return (unsigned)reason < WW_REASON_COUNT ? reasons[reason] : "?";
}

static bool in_role(const struct ww_trust_facts *trust, const char *role, const char *key)
{
    for (size_t i = 0; i < trust->n_roles; i++) {
        if (strcmp(trust->roles[i].name, role) == 0 &&
            ww_words_have(&trust->roles[i].keyids, key)) {
            return true;
        }
    }
    return false;
}

static bool is_revoked(const struct ww_trust_facts *trust, enum ww_revoked_kind kind,
                       const char *id)
{
    for (size_t i = 0; i < trust->n_revoked; i++) {
        if (trust->revoked[i].kind == kind && strcmp(trust->revoked[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static bool model_revoked(const struct ww_trust_facts *trust,
                          const struct ww_model_facts *model)
{
    char root[2 * WW_SHA256_BYTES + 1];

    ww_hex(root, model->root, WW_SHA256_BYTES);
    return is_revoked(trust, WW_REVOKED_MODEL, root) ||
           (model->evidence &&
            is_revoked(trust, WW_REVOKED_ATTESTATION, model->evidence)) ||
           (model->signer && is_revoked(trust, WW_REVOKED_KEY, model->signer));
}

static bool same_root(const uint8_t a[WW_SHA256_BYTES], const uint8_t b[WW_SHA256_BYTES])
{
    return memcmp(a, b, WW_SHA256_BYTES) == 0;
}

/* A model lies in the lineage of a root that it is, or that is an ancestor of it. */
static bool resource_matches(const struct ww_rule_resource *r,
                             const struct ww_model_facts *model)
{
    switch (r->kind) {
    case WW_RES_MODEL:
        return same_root(r->root, model->root);
    case WW_RES_LINEAGE:
        for (size_t i = 0; i < model->n_ancestors; i++) {
            if (same_root(r->root, model->ancestors[i].root)) {
                return true;
            }
        }
        return same_root(r->root, model->root);
    case WW_RES_TAG:
        return ww_words_have(&model->tags, r->tag);
    }
    return false;
}

static bool covers(const struct ww_evaluation *e, const struct ww_rule *rule,
                   const struct ww_model_facts *model)
{
    bool subject = false;
    bool resource = false;

    if (!(rule->actions & 1u << e->request->action)) {
        return false;
    }
    for (size_t i = 0; i < rule->subjects.n && !subject; i++) {
        const char *s = rule->subjects.items[i];
        subject =
            strcmp(s, "anyone") == 0 ||
            (strncmp(s, "key:", 4) == 0 && strcmp(s + 4, e->request->requester) == 0) ||
            (strncmp(s, "role:", 5) == 0 &&
             in_role(e->trust, s + 5, e->request->requester));
    }
    for (size_t i = 0; i < rule->n_resources && subject && !resource; i++) {
        resource = resource_matches(&rule->resources[i], model);
    }
    return resource;
}

/* Approvals by distinct keys of the role; neither the requester's nor a revoked one. */
static uint64_t count_approvals(const struct ww_evaluation *e, const char *role)
{
    uint64_t n = 0;

    for (size_t i = 0; i < e->approvals->n; i++) {
        const char *key = e->approvals->items[i];
        const struct ww_words before = {e->approvals->items, i};
        n += !ww_words_have(&before, key) && strcmp(key, e->request->requester) != 0 &&
             in_role(e->trust, role, key) && !is_revoked(e->trust, WW_REVOKED_KEY, key);
    }
    return n;
}

/* One condition over the sources beside the one that is asked about. */
static bool cosources(const struct ww_evaluation *e, size_t source,
                      bool (*holds)(const struct ww_model_facts *,
                                    const struct ww_words *),
                      const struct ww_words *words)
{
    for (size_t i = 0; i < e->request->n_sources && words->n > 0; i++) {
        if (i != source && !holds(&e->sources[i], words)) {
            return false;
        }
    }
    return true;
}

/* SPDX identifiers are one in any case (SPDX 2.3, annex D), and cards of the Hub have
 * lower case where lists of licences have not. */
static bool license_in(const struct ww_model_facts *m, const struct ww_words *words)
{
    bool found = false;

    for (size_t i = 0; i < words->n && m->license && !found; i++) {
        found = ww_str_eq_word(words->items[i], m->license);
    }
    return found;
}

static bool license_not_in(const struct ww_model_facts *m, const struct ww_words *words)
{
    return m->license && !license_in(m, words);
}

static bool signed_by(const struct ww_model_facts *m, const struct ww_words *words)
{
    return m->signer && ww_words_have(words, m->signer);
}

static bool one_of(const struct ww_words *words, const char *word)
{
    return words->n == 0 || (word && ww_words_have(words, word));
}

/* The first condition that does not hold, or NULL. */
static const char *failing(const struct ww_evaluation *e, const struct ww_when *w,
                           size_t source)
{
    const struct ww_request *r = e->request;
    const struct {
        const char *name;
        bool holds;
    } checks[] = {
        {"methods", one_of(&w->methods, r->method)},
        {"purpose", one_of(&w->purpose, r->purpose)},
        {"not_before", e->now >= w->not_before},
        {"not_after", e->now <= w->not_after},
        {"licenses_allowed", cosources(e, source, license_in, &w->licenses_allowed)},
        {"licenses_denied", cosources(e, source, license_not_in, &w->licenses_denied)},
        {"cosources_signed_by", cosources(e, source, signed_by, &w->cosources_signed_by)},
        {"output_license",
         !w->output_license ||
             (r->output_license && strcmp(w->output_license, r->output_license) == 0)},
        {"output_lock", !w->output_locked || r->output_locked},
        {"max_weight", w->max_weight < 0 || r->sources[source].weight <= w->max_weight},
        {"min_sources", r->n_sources >= w->min_sources},
        {"max_sources", w->max_sources == 0 || r->n_sources <= w->max_sources},
        {"approvals",
         !w->approvals_role || count_approvals(e, w->approvals_role) >= w->approvals},
    };

    for (size_t i = 0; i < WW_LEN(checks); i++) {
        if (!checks[i].holds) {
            return checks[i].name;
        }
    }
    return NULL;
}

static void add_rule(struct ww_decision *out, const struct ww_rule *rule)
{
    for (size_t i = 0; i < out->n_rules; i++) {
        if (out->rules[i] == rule) {
            return;
        }
    }
    if (out->n_rules < WW_DECISION_MAX_RULES) {
        out->rules[out->n_rules++] = rule;
    }
}

static void deny(struct ww_decision *out, enum ww_reason reason,
                 const struct ww_model_facts *model)
{
    *out = (struct ww_decision){.reason = reason, .model = model};
}

/* What denies whatever the rules say. */
static bool sound(const struct ww_evaluation *e, struct ww_decision *out)
{
    const struct ww_request *r = e->request;

    if (!r->requester || r->n_sources == 0 || r->time > e->now) {
        deny(out, WW_REASON_REQUEST, NULL);
        return false;
    }
    if (is_revoked(e->trust, WW_REVOKED_KEY, r->requester)) {
        deny(out, WW_REASON_REVOKED, NULL);
        return false;
    }
    for (size_t i = 0; i < e->n_policies; i++) {
        const struct ww_policy *p = e->policies[i];
        if (e->now >= p->expires || e->now < p->issued ||
            is_revoked(e->trust, WW_REVOKED_POLICY, p->id)) {
            deny(out,
                 e->now < p->issued     ? WW_REASON_CLOCK
                 : e->now >= p->expires ? WW_REASON_EXPIRED
                                        : WW_REASON_REVOKED,
                 NULL);
            return false;
        }
    }
    return true;
}

static bool evidence_holds(const struct ww_evaluation *e,
                           const struct ww_model_facts *model, struct ww_decision *out)
{
    enum ww_reason reason = WW_REASON_PERMITTED;

    if (!model->signer) {
        reason = WW_REASON_UNSIGNED;
    } else if (!model->lineage_known) {
        reason = WW_REASON_NO_LINEAGE;
    } else if (model_revoked(e->trust, model)) {
        reason = WW_REASON_REVOKED;
    }
    if (reason != WW_REASON_PERMITTED) {
        deny(out, reason, model);
    }
    return reason == WW_REASON_PERMITTED;
}

/* Forbids that match and hold; true when there is one. */
static bool forbidden(const struct ww_evaluation *e, const struct ww_model_facts *model,
                      size_t source, struct ww_decision *out)
{
    bool any = false;

    for (size_t p = 0; p < e->n_policies; p++) {
        for (size_t i = 0; i < e->policies[p]->n_rules; i++) {
            const struct ww_rule *rule = &e->policies[p]->rules[i];
            if (rule->forbid && covers(e, rule, model) &&
                !failing(e, &rule->when, source)) {
                if (!any && out->reason != WW_REASON_FORBIDDEN) {
                    deny(out, WW_REASON_FORBIDDEN, model);
                }
                add_rule(out, rule);
                any = true;
            }
        }
    }
    return any;
}

static bool permitted(const struct ww_evaluation *e, const struct ww_model_facts *model,
                      size_t source, struct ww_decision *out, const char **failed)
{
    bool any = false;

    for (size_t p = 0; p < e->n_policies; p++) {
        for (size_t i = 0; i < e->policies[p]->n_rules; i++) {
            const struct ww_rule *rule = &e->policies[p]->rules[i];
            if (rule->forbid || !covers(e, rule, model)) {
                continue;
            }
            const char *why = failing(e, &rule->when, source);
            if (why) {
                *failed = why;
                continue;
            }
            add_rule(out, rule);
            out->must_lock = out->must_lock || rule->when.output_locked;
            out->must_license =
                rule->when.output_license ? rule->when.output_license : out->must_license;
            any = true;
        }
    }
    return any;
}

typedef bool (*visit)(const struct ww_evaluation *e, const struct ww_model_facts *model,
                      size_t source, struct ww_decision *out);

/* Every source and every ancestor; false as soon as one visit is. */
static bool each_model(const struct ww_evaluation *e, visit fn, struct ww_decision *out)
{
    for (size_t s = 0; s < e->request->n_sources; s++) {
        const struct ww_model_facts *source = &e->sources[s];
        if (!fn(e, source, s, out)) {
            return false;
        }
        for (size_t a = 0; a < source->n_ancestors; a++) {
            if (!fn(e, &source->ancestors[a], s, out)) {
                return false;
            }
        }
    }
    return true;
}

static bool visit_evidence(const struct ww_evaluation *e,
                           const struct ww_model_facts *model, size_t source,
                           struct ww_decision *out)
{
    if (model == &e->sources[source] &&
        !same_root(model->root, e->request->sources[source].root)) {
        deny(out, WW_REASON_REQUEST, model);
        return false;
    }
    return evidence_holds(e, model, out);
}

static bool visit_forbids(const struct ww_evaluation *e,
                          const struct ww_model_facts *model, size_t source,
                          struct ww_decision *out)
{
    forbidden(e, model, source, out);
    return true;
}

static bool visit_permits(const struct ww_evaluation *e,
                          const struct ww_model_facts *model, size_t source,
                          struct ww_decision *out)
{
    const char *failed = NULL;

    if (permitted(e, model, source, out, &failed)) {
        return true;
    }
    deny(out, WW_REASON_NO_PERMIT, model);
    out->failed = failed;
    return false;
}

void ww_policy_evaluate(const struct ww_evaluation *e, struct ww_decision *out)
{
    *out = (struct ww_decision){0};
    if (!sound(e, out) || !each_model(e, visit_evidence, out)) {
        return;
    }
    each_model(e, visit_forbids, out);
    if (out->reason == WW_REASON_FORBIDDEN) {
        return;
    }
    out->permit = each_model(e, visit_permits, out);
}
