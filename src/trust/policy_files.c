/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and tables in files, for people who write them: read, explained, tried out. A
 * signed policy is opened and its signatures are not looked at; policy check does that.
 */
#include <stdio.h>
#include <string.h>

#include "policy/table.h"
#include "trust/trust.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/policy.h"

#define TABLE_MAX_BYTES ((size_t)64 << 20)

static enum ww_err read_policy(const char *path, struct ww_policy *out,
                               struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    if (ww_envelope_is(text.data, text.len)) {
        rc = ww_signed_read(path, WW_SIGNED_POLICY, &envelope, err);
        if (rc) {
            goto out;
        }
        rc = ww_policy_read(envelope.payload.data, envelope.payload.len, out, err);
    } else {
        rc = ww_policy_read(text.data, text.len, out, err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
out:
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_policy_explain(const char *path, char **text, struct ww_error *err)
{
    struct ww_policy policy = {0};
    struct ww_buf out;
    enum ww_err rc = read_policy(path, &policy, err);

    *text = NULL;
    ww_buf_init(&out, TABLE_MAX_BYTES);
    if (!rc) {
        rc = ww_policy_print(&policy, &out, err);
    }
    if (!rc) {
        *text = ww_strdup(ww_buf_cstr(&out));
        rc = *text ? WW_OK : WW_FAIL_MEMORY(err, "a policy");
    }
    ww_buf_release(&out);
    ww_policy_release(&policy);
    return rc;
}

void ww_policy_test_report_release(struct ww_policy_test_report *report)
{
    for (size_t i = 0; i < report->n_cases; i++) {
        for (size_t r = 0; r < report->cases[i].n_rules; r++) {
            ww_free(report->cases[i].rules[r]);
        }
        ww_free(report->cases[i].rules);
        ww_free(report->cases[i].name);
    }
    ww_free(report->cases);
    *report = (struct ww_policy_test_report){0};
}

static enum ww_err fill(const struct ww_table_result *from, struct ww_policy_case *to,
                        struct ww_error *err)
{
    const struct ww_decision *d = &from->decision;

    to->name = ww_strdup(from->name);
    to->rules = ww_calloc(d->n_rules + 1, sizeof(*to->rules));
    if (!to->name || !to->rules) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    to->permit = d->permit;
    to->as_expected = from->as_expected;
    snprintf(to->expected, sizeof(to->expected), "%s%s%s",
             from->expect ? from->expect : "",
             from->expect && from->expect_reason ? ": " : "",
             from->expect_reason ? from->expect_reason : "");
    snprintf(to->reason, sizeof(to->reason), "%s", ww_reason_name(d->reason));
    snprintf(to->failed, sizeof(to->failed), "%s", d->failed ? d->failed : "");
    if (d->model) {
        ww_hex(to->model, d->model->root, WW_SHA256_BYTES);
    }
    for (size_t r = 0; r < d->n_rules; r++) {
        to->rules[r] = ww_strdup(d->rules[r]->id);
        if (!to->rules[r]) {
            return WW_FAIL_MEMORY(err, "a report");
        }
        to->n_rules++;
    }
    return WW_OK;
}

static enum ww_err run_cases(const struct ww_table *table,
                             const struct ww_policy *const *policies, size_t n_policies,
                             struct ww_policy_test_report *report, struct ww_error *err)
{
    const size_t n = ww_table_count(table);
    enum ww_err rc = WW_OK;

    report->cases = ww_calloc(n, sizeof(*report->cases));
    if (!report->cases) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        struct ww_table_result result;
        rc = ww_table_run(table, i, policies, n_policies, &result, err);
        if (!rc) {
            rc = fill(&result, &report->cases[report->n_cases++], err);
            report->n_wrong += !result.as_expected;
        }
    }
    return rc;
}

enum ww_err ww_policy_test(const char *table_path, const char *const *policies,
                           size_t n_policies, struct ww_policy_test_report *report,
                           struct ww_error *err)
{
    struct ww_policy *read = ww_calloc(n_policies, sizeof(*read));
    const struct ww_policy **list = ww_calloc(n_policies, sizeof(*list));
    struct ww_table *table = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *report = (struct ww_policy_test_report){0};
    ww_buf_init(&text, TABLE_MAX_BYTES);
    if (!read || !list) {
        rc = WW_FAIL_MEMORY(err, "policies");
        goto out;
    }
    for (size_t i = 0; i < n_policies && !rc; i++) {
        list[i] = &read[i];
        rc = read_policy(policies[i], &read[i], err);
    }
    if (!rc) {
        rc = ww_file_read(table_path, &text, err);
    }
    if (!rc) {
        rc = ww_table_read(text.data, text.len, &table, err);
    }
    if (!rc) {
        rc = run_cases(table, list, n_policies, report, err);
    }
    if (rc) {
        ww_policy_test_report_release(report);
    }
out:
    ww_table_free(table);
    for (size_t i = 0; read && i < n_policies; i++) {
        ww_policy_release(&read[i]);
    }
    ww_free(read);
    ww_free(list);
    ww_buf_release(&text);
    return rc;
}
