/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective rules, one line each in order of id, with lists sorted: two policies that
 * mean the same print the same, and a change of meaning is a changed line.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static int by_id(const void *a, const void *b)
{
    const struct ww_rule *const *x = a;
    const struct ww_rule *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ww_err put_words(struct ww_buf *out, const char *key,
                             const struct ww_words *words, struct ww_error *err)
{
    const char **sorted = NULL;
    enum ww_err rc = WW_OK;

    if (words->n == 0) {
        return WW_OK;
    }
    sorted = ww_calloc(words->n, sizeof(*sorted));
    if (!sorted) {
        return WW_FAIL_MEMORY(err, "a policy");
    }
    memcpy(sorted, words->items, words->n * sizeof(*sorted));
    qsort(sorted, words->n, sizeof(*sorted), by_text);
    rc = ww_buf_addf(out, err, " %s=", key);
    for (size_t i = 0; i < words->n && !rc; i++) {
        rc = ww_buf_addf(out, err, "%s%s", i ? "," : "", sorted[i]);
    }
    ww_free(sorted);
    return rc;
}

static enum ww_err put_actions(struct ww_buf *out, unsigned actions, struct ww_error *err)
{
    bool any = false;
    enum ww_err rc = WW_OK;

    for (int a = 0; a < WW_MAY_COUNT && !rc; a++) {
        if (actions & 1u << a) {
            rc = ww_buf_addf(out, err, "%s%s", any ? "," : " ",
                             ww_may_name((enum ww_may)a));
            any = true;
        }
    }
    return rc;
}

static enum ww_err put_resources(struct ww_buf *out, const struct ww_rule *rule,
                                 struct ww_error *err)
{
    static const char *const kinds[] = {"model:sha256:", "lineage:sha256:", "tag:"};
    char **texts = ww_calloc(rule->n_resources, sizeof(*texts));
    struct ww_words words = {ww_calloc(rule->n_resources, sizeof(*words.items)), 0};
    enum ww_err rc = WW_OK;

    if (!texts || !words.items) {
        rc = WW_FAIL_MEMORY(err, "a policy");
        goto out;
    }
    for (size_t i = 0; i < rule->n_resources && !rc; i++) {
        const struct ww_rule_resource *r = &rule->resources[i];
        char root[2 * WW_SHA256_BYTES + 1];
        ww_hex(root, r->root, WW_SHA256_BYTES);
        texts[i] =
            ww_asprintf("%s%s", kinds[r->kind], r->kind == WW_RES_TAG ? r->tag : root);
        words.items[words.n++] = texts[i];
        rc = texts[i] ? WW_OK : WW_FAIL_MEMORY(err, "a policy");
    }
    if (!rc) {
        rc = put_words(out, "on", &words, err);
    }
out:
    for (size_t i = 0; texts && i < rule->n_resources; i++) {
        ww_free(texts[i]);
    }
    ww_free(texts);
    ww_free(words.items);
    return rc;
}

static enum ww_err put_when(struct ww_buf *out, const struct ww_when *w,
                            struct ww_error *err)
{
    enum ww_err rc = put_words(out, "methods", &w->methods, err);

    rc = rc ? rc : put_words(out, "purpose", &w->purpose, err);
    rc = rc ? rc : put_words(out, "licenses_allowed", &w->licenses_allowed, err);
    rc = rc ? rc : put_words(out, "licenses_denied", &w->licenses_denied, err);
    rc = rc ? rc : put_words(out, "cosources_signed_by", &w->cosources_signed_by, err);
    if (!rc && w->output_license) {
        rc = ww_buf_addf(out, err, " output_license=%s", w->output_license);
    }
    if (!rc && w->output_locked) {
        rc = ww_buf_addf(out, err, " output_lock=required");
    }
    if (!rc && w->max_weight >= 0) {
        rc = ww_buf_addf(out, err, " max_weight=%" PRId64 ".%06" PRId64,
                         w->max_weight / 1000000, w->max_weight % 1000000);
    }
    if (!rc && w->min_sources) {
        rc = ww_buf_addf(out, err, " min_sources=%" PRIu64, w->min_sources);
    }
    if (!rc && w->max_sources) {
        rc = ww_buf_addf(out, err, " max_sources=%" PRIu64, w->max_sources);
    }
    if (!rc && w->not_before != INT64_MIN) {
        rc = ww_buf_addf(out, err, " not_before=%" PRId64, w->not_before);
    }
    if (!rc && w->not_after != INT64_MAX) {
        rc = ww_buf_addf(out, err, " not_after=%" PRId64, w->not_after);
    }
    if (!rc && w->approvals_role) {
        rc = ww_buf_addf(out, err, " approvals=%" PRIu64 " of role %s, not the requester",
                         w->approvals, w->approvals_role);
    }
    return rc;
}

static enum ww_err put_rule(struct ww_buf *out, const struct ww_rule *rule,
                            struct ww_error *err)
{
    enum ww_err rc =
        ww_buf_addf(out, err, "%s: %s", rule->id, rule->forbid ? "forbid" : "permit");

    rc = rc ? rc : put_actions(out, rule->actions, err);
    rc = rc ? rc : put_words(out, "by", &rule->subjects, err);
    rc = rc ? rc : put_resources(out, rule, err);
    rc = rc ? rc : put_when(out, &rule->when, err);
    return rc ? rc : ww_buf_addf(out, err, "\n");
}

enum ww_err ww_policy_print(const struct ww_policy *policy, struct ww_buf *out,
                            struct ww_error *err)
{
    const struct ww_rule **sorted = ww_calloc(policy->n_rules, sizeof(*sorted));
    enum ww_err rc = WW_OK;

    if (!sorted) {
        return WW_FAIL_MEMORY(err, "a policy");
    }
    for (size_t i = 0; i < policy->n_rules; i++) {
        sorted[i] = &policy->rules[i];
    }
    qsort(sorted, policy->n_rules, sizeof(*sorted), by_id);
    rc = ww_buf_addf(out, err,
                     "policy %s version %" PRIu64 ": what no line permits is denied\n",
                     policy->id, policy->version);
    for (size_t i = 0; i < policy->n_rules && !rc; i++) {
        rc = put_rule(out, sorted[i], err);
    }
    ww_free(sorted);
    return rc;
}
