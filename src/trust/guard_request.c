/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks for what, by a signed request or as the holder of a key, and who approves. */
#include <stdio.h>
#include <string.h>

#include "crypto/signkey.h"
#include "policy/words.h"
#include "trust/guard_int.h"
#include "trust/request.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_APPROVALS 256

static enum ww_err own_request(struct ww_guard_job *job, struct ww_error *err)
{
    struct ww_verdict *v = job->v;
    const struct ww_root_key *known = NULL;
    struct ww_pubkey *key = NULL;
    enum ww_err rc = WW_OK;

    if (!job->options->key) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a policy decides about somebody: give --request, or --as KEY");
    }
    rc = ww_signkey_public(job->options->key, &key, err);
    if (!rc) {
        rc = ww_pubkey_hint(key, v->requester, err);
    }
    ww_pubkey_free(key);
    /* A key that the root does not name is a stranger's: 'anyone' covers it, no more. */
    if (!rc && ww_root_key(&v->trust.root, v->requester) &&
        !ww_root_revokes(&v->trust.root, WW_REVOKED_KEY, v->requester)) {
        rc = ww_root_may_sign(&v->trust.root, v->requester, WW_SIGNED_REQUEST,
                              v->trust.now, &known, err);
    }
    if (!rc) {
        rc = ww_request_make(&job->ask, (const uint8_t(*)[WW_SHA256_BYTES])job->roots,
                             v->trust.now, &v->request_text, err);
    }
    if (!rc) {
        rc = ww_request_read(v->request_text.data, v->request_text.len, &v->request, err);
    }
    return rc;
}

static enum ww_err given_request(struct ww_guard_job *job, struct ww_error *err)
{
    struct ww_verdict *v = job->v;
    const char *path = job->options->request;
    struct ww_envelope envelope = {0};
    struct ww_endorsement by = {0};
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_REQUEST, &envelope, err);

    if (rc) {
        return rc;
    }
    rc = ww_root_endorse(&v->trust.root, NULL, &envelope, v->trust.now, 0, &by, err);
    if (!rc && envelope.n_signatures != 1) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED, "a request has one signer, found %zu",
                     envelope.n_signatures);
    }
    /* A revoked requester is named, so that the decision says why. */
    if (!rc && by.n != 1 &&
        !ww_root_revokes(&v->trust.root, WW_REVOKED_KEY, envelope.signatures[0].keyid)) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED, "key %s may not sign a request now",
                     envelope.signatures[0].keyid);
    }
    if (!rc) {
        snprintf(v->requester, sizeof(v->requester), "%s", envelope.signatures[0].keyid);
        rc = ww_request_read(envelope.payload.data, envelope.payload.len, &v->request,
                             err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
    ww_envelope_release(&envelope);
    return rc;
}

static enum ww_err read_approval(struct ww_guard_job *job, const char *path,
                                 struct ww_error *err)
{
    struct ww_verdict *v = job->v;
    struct ww_envelope envelope = {0};
    struct ww_endorsement by = {0};
    uint8_t request[WW_SHA256_BYTES];
    uint8_t digest[WW_SHA256_BYTES];
    int64_t when = 0;
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_APPROVAL, &envelope, err);

    if (rc) {
        return rc;
    }
    rc = ww_root_endorse(&v->trust.root, NULL, &envelope, v->trust.now, 0, &by, err);
    if (!rc) {
        rc = ww_approval_read(envelope.payload.data, envelope.payload.len, request, &when,
                              err);
    }
    if (!rc && when > v->trust.now) {
        rc = WW_FAIL(err, WW_E_EXPIRED, "was given later than this clock says");
    }
    if (!rc && memcmp(request, v->request.digest, sizeof(request)) != 0) {
        rc =
            WW_FAIL(err, WW_E_UNTRUSTED,
                    "approves another request than this one; it must be asked for again");
    }
    for (size_t i = 0; i < by.n && !rc && v->approvals.n < MAX_APPROVALS; i++) {
        v->approvals.items[v->approvals.n++] = by.keys[i]->id;
    }
    if (!rc) {
        ww_sha256_of(envelope.payload.data, envelope.payload.len, digest);
        ww_hex(v->approval_sha256[v->n_approval_files++], digest, sizeof(digest));
    } else {
        ww_error_context(err, "'%s'", path);
    }
    ww_envelope_release(&envelope);
    return rc;
}

static enum ww_err read_approvals(struct ww_guard_job *job, struct ww_error *err)
{
    const size_t n = job->options->n_approvals;
    struct ww_verdict *v = job->v;
    enum ww_err rc = WW_OK;

    if (n == 0) {
        return WW_OK;
    }
    if (!job->options->request) {
        return WW_FAIL(err, WW_E_USAGE,
                       "approvals name a request: give it with --request");
    }
    v->approvals.items = ww_calloc(MAX_APPROVALS, sizeof(*v->approvals.items));
    v->approval_sha256 = ww_calloc(n, sizeof(*v->approval_sha256));
    if (!v->approvals.items || !v->approval_sha256) {
        return WW_FAIL_MEMORY(err, "approvals");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = read_approval(job, job->options->approvals[i], err);
    }
    return rc;
}

enum ww_err ww_guard_ask(struct ww_guard_job *job, struct ww_error *err)
{
    enum ww_err rc =
        job->options->request ? given_request(job, err) : own_request(job, err);

    return rc ? rc : read_approvals(job, err);
}
