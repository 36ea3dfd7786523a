/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an action that is about to happen to a decision. The order is that of what can be
 * believed: the root, the policies, the models, the request, the approvals, and only then
 * the rules. Whatever is missing on the way denies.
 */
#include <stdio.h>
#include <string.h>

#include "policy/words.h"
#include "trust/guard_int.h"
#include "trust/request.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

/* Without a root only models that ask for policies are in the way. */
static enum ww_err check_nobody_asks(const struct ww_policy_ask *ask,
                                     struct ww_error *err)
{
    for (size_t i = 0; i < ask->n_sources; i++) {
        bool asks = false;
        enum ww_err rc = ww_facts_asks_for_policy(ask->sources[i].path, &asks, err);
        if (rc) {
            return rc;
        }
        if (asks) {
            return WW_FAIL(err, WW_E_NOTFOUND,
                           "'%s' asks for policies ('" WW_POLICY_REFERENCE
                           "'); give --policy-root and --policy",
                           ask->sources[i].name ? ask->sources[i].name
                                                : ask->sources[i].path);
        }
    }
    return WW_OK;
}

static enum ww_err allocate(struct ww_guard_job *job, struct ww_error *err)
{
    const size_t n = job->given->n_sources;
    struct ww_verdict *v = job->v;

    v->facts = ww_calloc(n + 1, sizeof(*v->facts));
    v->paths = ww_calloc(n + 1, sizeof(*v->paths));
    v->models = ww_calloc(n + 1, sizeof(*v->models));
    job->roots = ww_calloc(n + 1, sizeof(*job->roots));
    v->output_name = job->given->output_name ? ww_strdup(job->given->output_name) : NULL;
    if (!v->facts || !v->paths || !v->models || !job->roots ||
        (job->given->output_name && !v->output_name)) {
        return WW_FAIL_MEMORY(err, "a decision");
    }
    v->restores = job->given->restores;
    snprintf(v->action, sizeof(v->action), "%s", job->given->action);
    v->model_path = "";
    v->ancestor = "";
    return WW_OK;
}

static const struct ww_policy *find_policy(const struct ww_verdict *v, const char *id)
{
    for (size_t p = 0; p < v->trust.n_policies; p++) {
        if (strcmp(v->trust.policies[p].id, id) == 0) {
            return &v->trust.policies[p];
        }
    }
    return NULL;
}

/* A model may ask for policies in a version not below one: that protects where no state
 * is kept, since the model remembers. */
static enum ww_err check_needs(const struct ww_verdict *v,
                               const struct ww_source_facts *facts, const char *path,
                               struct ww_error *err)
{
    for (size_t i = 0; i < facts->n_needs; i++) {
        const struct ww_policy_need *need = &facts->needs[i];
        const struct ww_policy *policy = find_policy(v, need->id);
        const bool met = policy && policy->version >= need->version;
        if (policy && !met && need->was_used) {
            return WW_FAIL(
                err, WW_E_DENIED,
                "policy '%s' of version %llu is older than version %llu, under "
                "which '%s' or what it was made of was decided about",
                need->id, (unsigned long long)policy->version,
                (unsigned long long)need->version, path);
        }
        if (!met && !need->was_used) {
            return WW_FAIL(err, WW_E_NOTFOUND,
                           "'%s' asks for policy '%s' of version %llu or later, which is "
                           "not among those given",
                           path, need->id, (unsigned long long)need->version);
        }
    }
    return WW_OK;
}

static enum ww_err read_sources(struct ww_guard_job *job, struct ww_error *err)
{
    struct ww_verdict *v = job->v;

    for (size_t i = 0; i < job->given->n_sources; i++) {
        const struct ww_policy_source *source = &job->given->sources[i];
        const char *path = source->path;
        enum ww_err rc = WW_OK;
        v->paths[i] = ww_strdup(source->name ? source->name : path);
        if (!v->paths[i]) {
            return WW_FAIL_MEMORY(err, "a decision");
        }
        rc = ww_facts_read(source, &v->trust, &job->options->run, &v->facts[i], err);
        if (rc) {
            return rc;
        }
        v->n_sources++;
        memcpy(job->roots[i], v->facts[i].model.root, WW_SHA256_BYTES);
        rc = check_needs(v, &v->facts[i], path, err);
        if (rc) {
            return rc;
        }
    }
    /* What is not merged keeps its card, and with it its licence. */
    if (!job->ask.output_license && strcmp(job->ask.action, "merge") != 0 &&
        v->n_sources > 0) {
        job->ask.output_license = v->facts[v->n_sources - 1].model.license;
    }
    return WW_OK;
}

/* Which source a denial is about, and which ancestor of it when it is not the source. */
static void place(struct ww_verdict *v)
{
    const struct ww_model_facts *model = v->decision.model;

    for (size_t i = 0; i < v->n_sources && model; i++) {
        const struct ww_model_facts *source = &v->facts[i].model;
        bool is_above = false;
        for (size_t a = 0; a < source->n_ancestors; a++) {
            is_above = is_above || &source->ancestors[a] == model;
        }
        if (is_above || memcmp(source->root, model->root, WW_SHA256_BYTES) == 0) {
            v->model_path = v->paths[i];
            v->ancestor = is_above && model->name ? model->name : "";
            return;
        }
    }
}

/* What denies before any model is looked at: the key of who asks, or which policy. */
static void say_whose(struct ww_guard_job *job)
{
    const struct ww_verdict *v = job->v;
    const enum ww_reason reason = v->decision.reason;
    const bool of_time = reason == WW_REASON_EXPIRED || reason == WW_REASON_CLOCK;

    if (v->decision.model || (reason != WW_REASON_REVOKED && !of_time)) {
        return;
    }
    if (ww_root_revokes(&v->trust.root, WW_REVOKED_KEY, v->requester)) {
        snprintf(job->why, sizeof(job->why), "the key of who asks, %.70s", v->requester);
        return;
    }
    for (size_t i = 0; i < v->trust.n_policies; i++) {
        const struct ww_policy *p = v->trust.list[i];
        if (of_time ? v->trust.now >= p->expires || v->trust.now < p->issued
                    : ww_root_revokes(&v->trust.root, WW_REVOKED_POLICY, p->id)) {
            snprintf(job->why, sizeof(job->why), "policy '%.80s'", p->id);
            return;
        }
    }
}

static enum ww_err evaluate(struct ww_guard_job *job, struct ww_error *err)
{
    struct ww_verdict *v = job->v;
    bool fits = false;
    char why[200] = "";
    enum ww_err rc =
        ww_request_fits(&v->request, &job->ask,
                        (const uint8_t(*)[WW_SHA256_BYTES])job->roots, &fits, why, err);

    if (rc) {
        return rc;
    }
    if (!fits) {
        v->decision = (struct ww_decision){.reason = WW_REASON_REQUEST};
        snprintf(job->why, sizeof(job->why), "the request is for something else: %s",
                 why);
        return WW_OK;
    }
    for (size_t i = 0; i < v->request.n_sources; i++) {
        for (size_t k = 0; k < v->n_sources; k++) {
            if (memcmp(v->request.sources[i].root, v->facts[k].model.root,
                       WW_SHA256_BYTES) == 0) {
                v->models[i] = v->facts[k].model;
            }
        }
    }
    v->request.requester = v->requester;
    const struct ww_evaluation evaluation = {
        .policies = v->trust.list,
        .n_policies = v->trust.n_policies,
        .trust = &v->trust.facts,
        .request = &v->request,
        .sources = v->models,
        .approvals = &v->approvals,
        .now = v->trust.now,
    };
    ww_policy_evaluate(&evaluation, &v->decision);
    place(v);
    say_whose(job);
    return WW_OK;
}

/* A model without a signature has no identity that a request could name. */
static bool all_signed(struct ww_guard_job *job)
{
    struct ww_verdict *v = job->v;

    for (size_t i = 0; i < v->n_sources; i++) {
        if (!v->facts[i].model.signer) {
            v->decision = (struct ww_decision){.reason = WW_REASON_UNSIGNED,
                                               .model = &v->facts[i].model};
            v->model_path = v->paths[i];
            return false;
        }
    }
    return true;
}

static enum ww_err decide(struct ww_guard_job *job, struct ww_error *err)
{
    enum ww_err rc = ww_trust_open(&job->options->trust, &job->v->trust, err);

    if (!rc) {
        rc = ww_trust_complete(&job->v->trust, err);
    }
    if (!rc) {
        rc = read_sources(job, err);
    }
    if (rc || !all_signed(job)) {
        return rc;
    }
    rc = ww_guard_ask(job, err);
    if (!rc) {
        rc = evaluate(job, err);
    }
    return rc;
}

static const char *missing_of(const struct ww_verdict *v)
{
    for (size_t i = 0; i < v->n_sources; i++) {
        if (v->paths[i] == v->model_path) {
            return v->facts[i].why;
        }
    }
    return "";
}

/* The decision as an error, for who only looks at codes. */
static enum ww_err answer(const struct ww_guard_job *job, struct ww_error *err)
{
    const struct ww_verdict *v = job->v;
    const struct ww_decision *d = &v->decision;
    const bool missing =
        d->reason == WW_REASON_UNSIGNED || d->reason == WW_REASON_NO_LINEAGE;
    const char *why =
        job->why[0] || d->reason != WW_REASON_NO_PERMIT
            ? job->why
            : "no line is about this action, this model by its signed card, "
              "and who asks";

    if (d->permit) {
        return WW_OK;
    }
    if (missing) {
        return WW_FAIL(err, WW_E_NOTFOUND, "evidence of '%s' is missing (%s): %s",
                       v->model_path, ww_reason_name(d->reason), missing_of(v));
    }
    return WW_FAIL(err, WW_E_DENIED, "policy denies to %s%s%s%s%s%s%s: %s%s%s%s%s",
                   v->action, v->model_path[0] ? " '" : "", v->model_path,
                   v->model_path[0] ? "'" : "", v->ancestor[0] ? ", made of '" : "",
                   v->ancestor, v->ancestor[0] ? "'" : "", ww_reason_name(d->reason),
                   d->n_rules ? " by rule " : "", d->n_rules ? d->rules[0]->id : "",
                   d->failed ? ", nearest permit fails at "
                   : why[0]  ? ", "
                             : "",
                   d->failed ? d->failed : why);
}

enum ww_err ww_policy_guard(const struct ww_policy_ask *ask,
                            const struct ww_guard_options *options,
                            struct ww_verdict **out, struct ww_error *err)
{
    struct ww_guard_job job = {.given = ask, .options = options, .ask = *ask};
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (options->trust.n_roots == 0) {
        return check_nobody_asks(ask, err);
    }
    job.v = ww_calloc(1, sizeof(*job.v));
    if (!job.v) {
        return WW_FAIL_MEMORY(err, "a decision");
    }
    ww_buf_init(&job.v->request_text, WW_ENVELOPE_MAX_PAYLOAD);
    rc = allocate(&job, err);
    if (!rc) {
        rc = decide(&job, err);
    }
    ww_free(job.roots);
    if (rc) {
        ww_verdict_free(job.v);
        return rc;
    }
    for (size_t i = 0; i < job.v->decision.n_rules; i++) {
        job.v->rules[i] = job.v->decision.rules[i]->id;
    }
    *out = job.v;
    return answer(&job, err);
}

void ww_verdict_free(struct ww_verdict *v)
{
    if (!v) {
        return;
    }
    for (size_t i = 0; i < v->n_sources; i++) {
        ww_facts_release(&v->facts[i]);
    }
    for (size_t i = 0; v->paths && v->paths[i]; i++) {
        ww_free(v->paths[i]);
    }
    ww_free(v->facts);
    ww_free(v->paths);
    ww_free(v->models);
    ww_free(v->approvals.items);
    ww_free(v->approval_sha256);
    ww_free(v->output_name);
    ww_request_release(&v->request);
    ww_buf_release(&v->request_text);
    ww_trust_release(&v->trust);
    ww_free(v);
}

void ww_verdict_view(const struct ww_verdict *v, struct ww_verdict_view *out)
{
    *out = (struct ww_verdict_view){
        .permit = v->decision.permit,
        .reason = ww_reason_name(v->decision.reason),
        .rules = v->rules,
        .n_rules = v->decision.n_rules,
        .failed = v->decision.failed ? v->decision.failed : "",
        .model = v->model_path,
        .ancestor = v->ancestor,
        .requester = v->requester,
        .must_lock = v->decision.must_lock,
        .must_license = v->decision.must_license ? v->decision.must_license : "",
    };
}
