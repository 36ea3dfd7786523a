/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models are read first, in the order of the file, and may name only earlier ones as
 * ancestors: no cycle can be written down.
 */
#include "policy/table.h"

#include <string.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define TYPE "weightward.policy-test/1"
#define MAX_MODELS 4096

static const struct ww_json_limits limits = {(size_t)64 << 20, 16, 4000000, false};

struct ww_table {
    struct ww_json *json;
    void **lists;
    size_t n_lists;
    struct ww_model_facts *models;
    const char **names;
    size_t n_models;
    struct ww_role *roles;
    struct ww_revoked *revoked;
    struct ww_trust_facts trust;
    const struct ww_jnode **cases;
    size_t n_cases;
};

static size_t find_model(const struct ww_table *table, const char *name)
{
    size_t i = 0;
    while (i < table->n_models && strcmp(table->names[i], name) != 0) {
        i++;
    }
    return i;
}

/* Ancestors of the model at work, with those of theirs. */
static enum ww_err read_ancestors(struct ww_table *table, const struct ww_reading *at,
                                  const struct ww_words *names, struct ww_model_facts *to,
                                  struct ww_error *err)
{
    struct ww_model_facts *list = NULL;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < names->n; i++) {
        const size_t m = find_model(table, names->items[i]);
        if (m == table->n_models) {
            return WW_FAIL(err, WW_E_POLICY,
                           "%s: ancestor '%.80s' is not a model that stands before it",
                           at->what, names->items[i]);
        }
        n += 1 + table->models[m].n_ancestors;
    }
    if (n == 0) {
        return WW_OK;
    }
    list = ww_calloc(n, sizeof(*list));
    rc = ww_read_own(at, list, err);
    for (size_t i = 0; i < names->n && !rc; i++) {
        const struct ww_model_facts *m =
            &table->models[find_model(table, names->items[i])];
        list[to->n_ancestors++] = *m;
        for (size_t a = 0; a < m->n_ancestors; a++) {
            list[to->n_ancestors++] = m->ancestors[a];
        }
    }
    to->ancestors = list;
    return rc;
}

static enum ww_err read_model(struct ww_table *table, const struct ww_jnode *node,
                              struct ww_error *err)
{
    static const char *const members[] = {"root", "signer",    "license",
                                          "tags", "ancestors", "lineage_known"};
    const struct ww_reading at = {ww_jkey(node), &table->lists, &table->n_lists};
    struct ww_model_facts *to = &table->models[table->n_models];
    struct ww_words names = {0};
    const char *root = NULL;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at.what, err);

    to->lineage_known = true;
    if (!rc) {
        rc = ww_read_name(&at, node, "root", false, &root, err);
    }
    if (!rc && !ww_unhex(to->root, WW_SHA256_BYTES, root, strlen(root))) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: 'root' must be 64 hex digits", at.what);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "signer", true, &to->signer, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "license", true, &to->license, err);
    }
    if (!rc) {
        rc = ww_read_words(&at, node, "tags", true, &to->tags, err);
    }
    if (!rc) {
        rc = ww_read_words(&at, node, "ancestors", true, &names, err);
    }
    if (!rc && ww_jget(node, "lineage_known") &&
        !ww_jbool(ww_jget(node, "lineage_known"), &to->lineage_known)) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: 'lineage_known' must be true or false",
                     at.what);
    }
    if (!rc) {
        rc = read_ancestors(table, &at, &names, to, err);
    }
    table->names[table->n_models++] = at.what;
    return rc;
}

static enum ww_err read_models(struct ww_table *table, const struct ww_jnode *node,
                               struct ww_error *err)
{
    const size_t n = ww_jsize(node);
    enum ww_err rc = WW_OK;

    if (ww_jtype(node) != WW_J_OBJECT || n > MAX_MODELS) {
        return WW_FAIL(err, WW_E_POLICY,
                       "table: 'models' must be an object of at most %d", MAX_MODELS);
    }
    table->models = ww_calloc(n + 1, sizeof(*table->models));
    table->names = ww_calloc(n + 1, sizeof(*table->names));
    if (!table->models || !table->names) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    for (const struct ww_jnode *m = ww_jfirst(node); m && !rc; m = ww_jnext(m)) {
        rc = read_model(table, m, err);
    }
    return rc;
}

static enum ww_err read_roles(struct ww_table *table, const struct ww_jnode *node,
                              struct ww_error *err)
{
    const struct ww_reading at = {"roles", &table->lists, &table->n_lists};
    enum ww_err rc = WW_OK;

    table->roles = ww_calloc(ww_jsize(node) + 1, sizeof(*table->roles));
    if (!table->roles) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    for (const struct ww_jnode *r = ww_jfirst(node); r && !rc; r = ww_jnext(r)) {
        struct ww_role *to = &table->roles[table->trust.n_roles++];
        to->name = ww_jkey(r);
        rc = ww_read_words(&at, node, to->name, false, &to->keyids, err);
    }
    table->trust.roles = table->roles;
    return rc;
}

static enum ww_err read_revoked(struct ww_table *table, const struct ww_jnode *node,
                                struct ww_error *err)
{
    const struct ww_reading at = {.what = "revoked"};

    table->revoked = ww_calloc(ww_jsize(node) + 1, sizeof(*table->revoked));
    if (!table->revoked) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    for (const struct ww_jnode *r = ww_jfirst(node); r; r = ww_jnext(r)) {
        struct ww_revoked *to = &table->revoked[table->trust.n_revoked++];
        const char *kind = NULL;
        enum ww_err rc = ww_read_name(&at, r, "kind", false, &kind, err);
        if (!rc && !ww_revoked_parse(kind, &to->kind)) {
            rc = WW_FAIL(err, WW_E_POLICY,
                         "revoked: kind '%.40s' is unknown, expected key, model, "
                         "attestation or policy",
                         kind);
        }
        if (!rc) {
            rc = ww_read_name(&at, r, "id", false, &to->id, err);
        }
        if (rc) {
            return rc;
        }
    }
    table->trust.revoked = table->revoked;
    return WW_OK;
}

static enum ww_err read_table(struct ww_table *table, struct ww_error *err)
{
    static const char *const members[] = {"type", "roles", "revoked", "models", "cases"};
    const struct ww_jnode *root = ww_json_root(table->json);
    const struct ww_jnode *cases = ww_jget(root, "cases");
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "type"), &type) || strcmp(type, TYPE) != 0) {
        return WW_FAIL(err, WW_E_VERSION, "table: its type is '%.80s', expected '%s'",
                       type ? type : "", TYPE);
    }
    rc = ww_jonly(root, members, WW_LEN(members), WW_E_POLICY, "table", err);
    if (!rc) {
        rc = read_roles(table, ww_jget(root, "roles"), err);
    }
    if (!rc) {
        rc = read_revoked(table, ww_jget(root, "revoked"), err);
    }
    if (!rc) {
        rc = read_models(table, ww_jget(root, "models"), err);
    }
    if (!rc && (ww_jtype(cases) != WW_J_ARRAY || ww_jsize(cases) == 0)) {
        rc = WW_FAIL(err, WW_E_POLICY, "table: 'cases' must be a list of at least one");
    }
    if (rc) {
        return rc;
    }
    table->cases = ww_calloc(ww_jsize(cases), sizeof(*table->cases));
    if (!table->cases) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    for (const struct ww_jnode *c = ww_jfirst(cases); c; c = ww_jnext(c)) {
        table->cases[table->n_cases++] = c;
    }
    return WW_OK;
}

enum ww_err ww_table_read(const uint8_t *text, size_t len, struct ww_table **out,
                          struct ww_error *err)
{
    struct ww_table *table = ww_calloc(1, sizeof(*table));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!table) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    rc = ww_json_parse(text, len, &limits, &table->json, err);
    if (!rc) {
        rc = read_table(table, err);
    }
    if (rc) {
        ww_table_free(table);
        return rc;
    }
    *out = table;
    return WW_OK;
}

void ww_table_free(struct ww_table *table)
{
    if (!table) {
        return;
    }
    for (size_t i = 0; i < table->n_lists; i++) {
        ww_free(table->lists[i]);
    }
    ww_free(table->lists);
    ww_free(table->models);
    ww_free(table->names);
    ww_free(table->roles);
    ww_free(table->revoked);
    ww_free(table->cases);
    ww_json_free(table->json);
    ww_free(table);
}

size_t ww_table_count(const struct ww_table *table)
{
    return table->n_cases;
}

/* A case as it is read: its request is a document in text, as it would be signed. */
struct one {
    void **lists;
    size_t n_lists;
    struct ww_request request;
    struct ww_model_facts *sources;
    struct ww_words approvals;
    int64_t now;
};

static void release_one(struct one *one)
{
    for (size_t i = 0; i < one->n_lists; i++) {
        ww_free(one->lists[i]);
    }
    ww_free(one->lists);
    ww_free(one->sources);
    ww_request_release(&one->request);
}

static enum ww_err find_sources(const struct ww_table *table, const char *name,
                                struct one *one, struct ww_error *err)
{
    const struct ww_request *r = &one->request;

    one->sources = ww_calloc(r->n_sources, sizeof(*one->sources));
    if (!one->sources) {
        return WW_FAIL_MEMORY(err, "a case");
    }
    for (size_t s = 0; s < r->n_sources; s++) {
        size_t m = 0;
        while (m < table->n_models &&
               memcmp(table->models[m].root, r->sources[s].root, WW_SHA256_BYTES) != 0) {
            m++;
        }
        if (m == table->n_models) {
            return WW_FAIL(err, WW_E_POLICY,
                           "case '%s': source %zu is no model of the table", name, s + 1);
        }
        one->sources[s] = table->models[m];
        one->sources[s].weight = r->sources[s].weight;
    }
    return WW_OK;
}

static enum ww_err read_case(const struct ww_table *table, const struct ww_jnode *node,
                             struct one *one, struct ww_table_result *out,
                             struct ww_error *err)
{
    static const char *const members[] = {"name", "request", "requester", "approvals",
                                          "now",  "expect",  "reason",    "why"};
    struct ww_reading at = {"case", &one->lists, &one->n_lists};
    const char *text = NULL;
    const char *requester = NULL;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, "case", err);

    if (!rc) {
        rc = ww_read_name(&at, node, "name", false, &out->name, err);
    }
    if (rc) {
        return rc;
    }
    at.what = out->name;
    if (!ww_jstr(ww_jget(node, "request"), &text)) {
        return WW_FAIL(err, WW_E_POLICY, "case '%s': 'request' must be a request in text",
                       out->name);
    }
    rc = ww_read_name(&at, node, "requester", true, &requester, err);
    if (!rc) {
        rc = ww_read_words(&at, node, "approvals", true, &one->approvals, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, node, "now", false, &one->now, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "expect", true, &out->expect, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, node, "reason", true, &out->expect_reason, err);
    }
    if (!rc) {
        rc = ww_request_read((const uint8_t *)text, strlen(text), &one->request, err);
    }
    if (!rc) {
        one->request.requester = requester;
        rc = find_sources(table, out->name, one, err);
    }
    return rc;
}

/* Decisions borrow from the case, which is let go: what a result keeps lies in the table
 * and in the policies. */
static void keep_what_stays(const struct ww_table *table, struct ww_decision *decision)
{
    const struct ww_model_facts *model = decision->model;

    decision->model = NULL;
    for (size_t m = 0; model && m < table->n_models; m++) {
        if (memcmp(table->models[m].root, model->root, WW_SHA256_BYTES) == 0) {
            decision->model = &table->models[m];
        }
    }
}

enum ww_err ww_table_run(const struct ww_table *table, size_t i,
                         const struct ww_policy *const *policies, size_t n_policies,
                         struct ww_table_result *out, struct ww_error *err)
{
    struct one one = {0};
    enum ww_err rc = WW_OK;

    *out = (struct ww_table_result){0};
    rc = read_case(table, table->cases[i], &one, out, err);
    if (!rc) {
        const struct ww_evaluation evaluation = {.policies = policies,
                                                 .n_policies = n_policies,
                                                 .trust = &table->trust,
                                                 .request = &one.request,
                                                 .sources = one.sources,
                                                 .approvals = &one.approvals,
                                                 .now = one.now};
        ww_policy_evaluate(&evaluation, &out->decision);
        keep_what_stays(table, &out->decision);
        out->as_expected =
            (!out->expect ||
             strcmp(out->expect, out->decision.permit ? "permit" : "deny") == 0) &&
            (!out->expect_reason ||
             strcmp(out->expect_reason, ww_reason_name(out->decision.reason)) == 0);
    }
    release_one(&one);
    return rc;
}
