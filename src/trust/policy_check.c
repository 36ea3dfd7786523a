/* SPDX-License-Identifier: Apache-2.0 */
/* Signed files under a root, one after the other: who signed, and whether it counts. */
#include <stdio.h>
#include <string.h>

#include "trust/trust.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "util/utc.h"

void ww_policy_check_report_release(struct ww_policy_check_report *report)
{
    for (size_t i = 0; i < report->n_files; i++) {
        struct ww_policy_checked *f = &report->files[i];
        for (size_t k = 0; k < f->n_signers; k++) {
            ww_free(f->signers[k]);
        }
        ww_free(f->signers);
        ww_free(f->path);
    }
    ww_free(report->files);
    *report = (struct ww_policy_check_report){0};
}

static enum ww_err check_policy(const struct ww_trust *trust, const char *path,
                                struct ww_policy_checked *to, struct ww_error *err)
{
    struct ww_policy policy;
    enum ww_err rc = ww_trust_policy(trust, path, &policy, err);

    if (rc) {
        return rc;
    }
    snprintf(to->id, sizeof(to->id), "%s", policy.id);
    snprintf(to->version, sizeof(to->version), "%llu",
             (unsigned long long)policy.version);
    ww_utc_text(policy.expires, to->expires);
    if (trust->now < policy.issued || trust->now >= policy.expires) {
        rc = WW_FAIL(err, WW_E_EXPIRED, "'%s': policy '%s' %s", path, policy.id,
                     trust->now < policy.issued ? "is issued later than this clock says"
                                                : "has expired");
    } else if (ww_root_revokes(&trust->root, WW_REVOKED_POLICY, policy.id)) {
        rc =
            WW_FAIL(err, WW_E_UNTRUSTED, "'%s': policy '%s' is revoked", path, policy.id);
    }
    ww_policy_release(&policy);
    return rc;
}

static enum ww_err check_time(const struct ww_trust *trust, int64_t when,
                              struct ww_error *err)
{
    return when <= trust->now
               ? WW_OK
               : WW_FAIL(err, WW_E_EXPIRED, "was made later than this clock says");
}

static enum ww_err check_request(const struct ww_trust *trust,
                                 const struct ww_envelope *envelope,
                                 struct ww_policy_checked *to, struct ww_error *err)
{
    struct ww_request request;
    enum ww_err rc =
        ww_request_read(envelope->payload.data, envelope->payload.len, &request, err);

    if (rc) {
        return rc;
    }
    ww_hex(to->id, request.digest, WW_SHA256_BYTES);
    rc = check_time(trust, request.time, err);
    ww_request_release(&request);
    return rc;
}

static enum ww_err check_approval(const struct ww_trust *trust,
                                  const struct ww_envelope *envelope,
                                  struct ww_policy_checked *to, struct ww_error *err)
{
    uint8_t request[WW_SHA256_BYTES];
    int64_t when = 0;
    enum ww_err rc = ww_approval_read(envelope->payload.data, envelope->payload.len,
                                      request, &when, err);

    if (rc) {
        return rc;
    }
    ww_hex(to->id, request, sizeof(request));
    return check_time(trust, when, err);
}

static enum ww_err keep_signers(struct ww_policy_checked *to,
                                const struct ww_endorsement *by, struct ww_error *err)
{
    to->signers = ww_calloc(by->n + 1, sizeof(*to->signers));
    if (!to->signers) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t i = 0; i < by->n; i++) {
        to->signers[i] = ww_strdup(by->keys[i]->id);
        if (!to->signers[i]) {
            return WW_FAIL_MEMORY(err, "a report");
        }
        to->n_signers++;
    }
    return WW_OK;
}

static enum ww_err check_content(const struct ww_trust *trust,
                                 const struct ww_envelope *envelope, const char *path,
                                 struct ww_policy_checked *to, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (envelope->kind == WW_SIGNED_POLICY) {
        return check_policy(trust, path, to, err);
    }
    if (to->n_signers == 0) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED, "no key that counts has signed the %s",
                     ww_signed_word(envelope->kind));
    } else if (envelope->kind == WW_SIGNED_REQUEST) {
        rc = check_request(trust, envelope, to, err);
    } else {
        rc = check_approval(trust, envelope, to, err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
    return rc;
}

static enum ww_err check_file(const struct ww_trust *trust, const char *path,
                              struct ww_policy_checked *to, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_endorsement by;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    to->path = ww_strdup(path);
    if (!to->path) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_envelope_parse(text.data, text.len, &envelope, err);
    if (!rc && envelope.kind == WW_SIGNED_ROOT) {
        rc = WW_FAIL(err, WW_E_USAGE, "a root is given with --root, not as a file");
    }
    if (!rc) {
        rc = ww_root_endorse(&trust->root, NULL, &envelope, trust->now, 0, &by, err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
        goto out;
    }
    snprintf(to->kind, sizeof(to->kind), "%s", ww_signed_word(envelope.kind));
    to->n_signatures = envelope.n_signatures;
    rc = keep_signers(to, &by, err);
    if (rc) {
        goto out;
    }
    rc = check_content(trust, &envelope, path, to, err);
out:
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
    return rc;
}

bool ww_time_parse(const char *text, int64_t *seconds)
{
    return ww_policy_time(text, seconds);
}

enum ww_err ww_policy_check(const char *const *files, size_t n_files,
                            const struct ww_trust_options *options,
                            struct ww_policy_check_report *report, struct ww_error *err)
{
    struct ww_trust_options roots = *options;
    struct ww_trust trust = {0};
    enum ww_err rc = WW_OK;

    *report = (struct ww_policy_check_report){0};
    roots.policies = NULL;
    roots.n_policies = 0;
    rc = ww_trust_open(&roots, &trust, err);
    if (rc) {
        return rc;
    }
    snprintf(report->root_version, sizeof(report->root_version), "%llu",
             (unsigned long long)trust.root.version);
    ww_utc_text(trust.root.expires, report->root_expires);
    report->files = ww_calloc(n_files + 1, sizeof(*report->files));
    if (!report->files) {
        rc = WW_FAIL_MEMORY(err, "a report");
        goto out;
    }
    for (size_t i = 0; i < n_files && !rc; i++) {
        rc = check_file(&trust, files[i], &report->files[report->n_files++], err);
    }
out:
    ww_trust_release(&trust);
    if (rc) {
        ww_policy_check_report_release(report);
    }
    return rc;
}
