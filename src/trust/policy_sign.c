/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing documents. A document is read by its own reader first: a signature under
 * something that every reader refuses would only waste the signers' time.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/signkey.h"
#include "trust/document.h"
#include "trust/trust.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static enum ww_err read_root(const uint8_t *payload, size_t len, struct ww_error *err)
{
    struct ww_root root;
    enum ww_err rc = ww_root_read(payload, len, &root, err);

    if (!rc) {
        ww_root_release(&root);
    }
    return rc;
}

static enum ww_err read_policy(const uint8_t *payload, size_t len, struct ww_error *err)
{
    struct ww_policy policy;
    enum ww_err rc = ww_policy_read(payload, len, &policy, err);

    if (!rc) {
        ww_policy_release(&policy);
    }
    return rc;
}

static enum ww_err read_request(const uint8_t *payload, size_t len, struct ww_error *err)
{
    struct ww_request request;
    enum ww_err rc = ww_request_read(payload, len, &request, err);

    if (!rc) {
        ww_request_release(&request);
    }
    return rc;
}

static enum ww_err read_approval(const uint8_t *payload, size_t len, struct ww_error *err)
{
    uint8_t request[WW_SHA256_BYTES];
    int64_t when = 0;

    return ww_approval_read(payload, len, request, &when, err);
}

static const struct {
    const char *type;
    enum ww_signed_kind kind;
    enum ww_err (*read)(const uint8_t *payload, size_t len, struct ww_error *err);
} readers[] = {
    {"weightward.root/1", WW_SIGNED_ROOT, read_root},
    {"weightward.policy/1", WW_SIGNED_POLICY, read_policy},
    {"weightward.request/1", WW_SIGNED_REQUEST, read_request},
    {"weightward.approval/1", WW_SIGNED_APPROVAL, read_approval},
};

enum ww_err ww_document_check(const uint8_t *payload, size_t len,
                              enum ww_signed_kind kind, struct ww_error *err)
{
    for (size_t i = 0; i < WW_LEN(readers); i++) {
        if (readers[i].kind == kind) {
            return readers[i].read(payload, len, err);
        }
    }
    return WW_FAIL(
        err, WW_E_POLICY,
        "a %s is no root, policy, request or approval: the step that makes it signs it, "
        "once",
        ww_signed_word(kind));
}

/* Kind by the member 'type'; the whole document is read. WW_E_POLICY for a type that
 * nobody signs, and what the readers say. */
static enum ww_err kind_of(const uint8_t *payload, size_t len, enum ww_signed_kind *out,
                           struct ww_error *err)
{
    struct ww_json *json = NULL;
    const char *type = NULL;
    enum ww_err rc = ww_json_parse(payload, len, &ww_json_limits_small, &json, err);

    if (!rc && !ww_jstr(ww_jget(ww_json_root(json), "type"), &type)) {
        rc = WW_FAIL(err, WW_E_POLICY, "document without a type");
    }
    for (size_t i = 0; i < WW_LEN(readers) && !rc; i++) {
        if (strcmp(readers[i].type, type) == 0) {
            *out = readers[i].kind;
            ww_json_free(json);
            return readers[i].read(payload, len, err);
        }
    }
    if (!rc) {
        rc = WW_FAIL(err, WW_E_POLICY,
                     "document of type '%.60s'; signed are roots, policies, requests and "
                     "approvals",
                     type);
    }
    ww_json_free(json);
    return rc;
}

static enum ww_err open_document(const char *path, struct ww_envelope *out,
                                 bool *was_signed, struct ww_error *err)
{
    enum ww_signed_kind kind = WW_SIGNED_ROOT;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    *was_signed = ww_envelope_is(text.data, text.len);
    if (*was_signed) {
        rc = ww_envelope_parse(text.data, text.len, out, err);
        if (!rc) {
            rc = ww_document_check(out->payload.data, out->payload.len, out->kind, err);
        }
    } else {
        rc = kind_of(text.data, text.len, &kind, err);
        if (!rc) {
            rc = ww_envelope_make(kind, text.data, text.len, out, err);
        }
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
out:
    ww_buf_release(&text);
    return rc;
}

static enum ww_err write_envelope(const struct ww_envelope *envelope, const char *path,
                                  bool replace, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    rc = ww_envelope_write(envelope, &text, err);
    if (!rc) {
        rc = ww_file_write(path, text.data, text.len, 0644, replace, err);
    }
    ww_buf_release(&text);
    return rc;
}

/* X.json becomes X.signed.json. */
static char *signed_name(const char *path)
{
    const size_t len = strlen(path);
    const size_t stem = ww_str_ends(path, ".json") ? len - strlen(".json") : len;

    return ww_asprintf("%.*s.signed.json", (int)stem, path);
}

/* Where a document goes that was signed: what was signed before is replaced. */
static enum ww_err name_signed(const char *path, bool was_signed, char **out,
                               struct ww_error *err)
{
    struct stat st;

    *out = was_signed ? ww_strdup(path) : signed_name(path);
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    return was_signed || lstat(*out, &st) != 0
               ? WW_OK
               : WW_FAIL(err, WW_E_EXISTS,
                         "'%s' exists; to add a signature, sign that file; to sign anew, "
                         "remove it first",
                         *out);
}

enum ww_err ww_policy_sign(const char *path, struct ww_signkey *key, const char *out_path,
                           struct ww_policy_signed *report, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    char *made = NULL;
    bool was_signed = false;
    enum ww_err rc = WW_OK;

    *report = (struct ww_policy_signed){0};
    if (!key) {
        return WW_FAIL(err, WW_E_USAGE, "signing needs a key");
    }
    rc = open_document(path, &envelope, &was_signed, err);
    if (rc) {
        goto out;
    }
    rc = ww_envelope_sign(&envelope, key, err);
    if (rc) {
        ww_error_context(err, "'%s'", path);
        goto out;
    }
    if (!out_path) {
        rc = name_signed(path, was_signed, &made, err);
        if (rc) {
            goto out;
        }
    }
    rc = write_envelope(&envelope, out_path ? out_path : made, !out_path && was_signed,
                        err);
    if (rc) {
        goto out;
    }
    snprintf(report->kind, sizeof(report->kind), "%s", ww_signed_word(envelope.kind));
    snprintf(report->keyid, sizeof(report->keyid), "%s",
             envelope.signatures[envelope.n_signatures - 1].keyid);
    report->n_signatures = envelope.n_signatures;
out:
    ww_free(made);
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_document_write(enum ww_signed_kind kind, const struct ww_buf *payload,
                              struct ww_signkey *key, const char *out_path,
                              struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    enum ww_err rc = ww_document_check(payload->data, payload->len, kind, err);

    if (!rc) {
        rc = ww_envelope_make(kind, payload->data, payload->len, &envelope, err);
    }
    if (!rc) {
        rc = ww_envelope_sign(&envelope, key, err);
    }
    if (!rc) {
        rc = write_envelope(&envelope, out_path, false, err);
    }
    ww_envelope_release(&envelope);
    return rc;
}
