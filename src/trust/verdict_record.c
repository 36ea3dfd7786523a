/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision as a SLSA verification summary (https://slsa.dev/verification_summary/v1)
 * in a signed bundle, for a permit and for a denial alike. Subjects are the sources by
 * their tensor roots, and for a permit the folder that was made. What the summary type
 * has no field for (reason, rules, duties) is in an extension member, which other readers
 * pass over.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sign/oms.h"
#include "sign/statement.h"
#include "trust/verdict.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "util/utc.h"

#define PREDICATE "https://slsa.dev/verification_summary/v1"
#define VERIFIER "urn:weightward:policy-guard:1"
/* A folder that is the source again has that of the source. */
#define UNLOCK_FILE WW_ATTESTATIONS_DIR "/unlock-decision.sigstore.json"
#define UNPACK_FILE WW_ATTESTATIONS_DIR "/unpack-decision.sigstore.json"
#define MAX_BYTES ((size_t)4 << 20)

static void write_subject(struct ww_jw *w, const char *name, const char *hex)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", name);
    ww_jw_key(w, "digest");
    ww_jw_object(w);
    ww_jw_kstr(w, "sha256", hex);
    ww_jw_close(w);
    ww_jw_close(w);
}

/* {uri, digest} as the summary wants inputs and policies. */
static void write_resource(struct ww_jw *w, const char *kind, const char *name,
                           const char *hex)
{
    char uri[WW_POLICY_MAX_NAME + 40];

    snprintf(uri, sizeof(uri), "urn:weightward:%s:%s", kind, name);
    ww_jw_object(w);
    ww_jw_kstr(w, "uri", uri);
    ww_jw_key(w, "digest");
    ww_jw_object(w);
    ww_jw_kstr(w, "sha256", hex);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_inputs(struct ww_jw *w, const struct ww_verdict *v)
{
    char hex[2 * WW_SHA256_BYTES + 1];

    ww_jw_key(w, "inputAttestations");
    ww_jw_array(w);
    for (size_t i = 0; i < v->trust.root.n_policies; i++) {
        const struct ww_root_policy *p = &v->trust.root.policies[i];
        ww_hex(hex, p->sha256, sizeof(p->sha256));
        write_resource(w, "policy", p->id, hex);
    }
    if (v->request.n_sources > 0) {
        ww_hex(hex, v->request.digest, sizeof(v->request.digest));
        write_resource(w, "request", hex, hex);
    }
    for (size_t i = 0; i < v->n_approval_files; i++) {
        write_resource(w, "approval", v->approval_sha256[i], v->approval_sha256[i]);
    }
    ww_jw_close(w);
}

/* Which model a denial was about. */
static void write_decider(struct ww_jw *w, const struct ww_verdict *v)
{
    const struct ww_model_facts *model = v->decision.model;

    if (model && !v->decision.permit) {
        ww_jw_key(w, "model");
        ww_jw_object(w);
        ww_jw_kstr(w, "name", v->ancestor[0] ? v->ancestor : ww_path_base(v->model_path));
        ww_jw_khex(w, "tensor_root", model->root, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
}

/* With versions, so that nobody is asked under older ones later. */
static void write_policies(struct ww_jw *w, const struct ww_verdict *v)
{
    ww_jw_key(w, "policies");
    ww_jw_array(w);
    for (size_t i = 0; i < v->trust.n_policies; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "id", v->trust.policies[i].id);
        ww_jw_kdecimal(w, "version", v->trust.policies[i].version);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_decision(struct ww_jw *w, const struct ww_verdict *v)
{
    const struct ww_decision *d = &v->decision;

    ww_jw_key(w, "weightward_decision");
    ww_jw_object(w);
    ww_jw_kstr(w, "action", v->action);
    ww_jw_kstr(w, "requester", v->requester);
    ww_jw_kstr(w, "reason", ww_reason_name(d->reason));
    write_decider(w, v);
    ww_jw_key(w, "rules");
    ww_jw_array(w);
    for (size_t i = 0; i < d->n_rules; i++) {
        ww_jw_str(w, v->rules[i]);
    }
    ww_jw_close(w);
    if (d->failed) {
        ww_jw_kstr(w, "failed", d->failed);
    }
    write_policies(w, v);
    ww_jw_kbool(w, "must_lock", d->must_lock);
    if (d->must_license) {
        ww_jw_kstr(w, "must_license", d->must_license);
    }
    ww_jw_close(w);
}

static void write_predicate(struct ww_jw *w, const struct ww_verdict *v)
{
    char hex[2 * WW_SHA256_BYTES + 1];
    char uri[WW_POLICY_MAX_NAME + 100];
    char text[WW_UTC_BYTES];

    ww_jw_key(w, "predicate");
    ww_jw_object(w);
    ww_jw_key(w, "verifier");
    ww_jw_object(w);
    ww_jw_kstr(w, "id", VERIFIER);
    ww_jw_close(w);
    ww_utc_text(v->trust.now, text);
    ww_jw_kstr(w, "timeVerified", text);
    ww_hex(hex, v->request.digest, sizeof(v->request.digest));
    snprintf(uri, sizeof(uri), "urn:weightward:request:%s",
             v->request.n_sources ? hex : "none");
    ww_jw_kstr(w, "resourceUri", uri);
    ww_jw_key(w, "policy");
    ww_hex(hex, v->trust.root.sha256, sizeof(v->trust.root.sha256));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)v->trust.root.version);
    write_resource(w, "root", text, hex);
    write_inputs(w, v);
    ww_jw_kstr(w, "verificationResult", v->decision.permit ? "PASSED" : "FAILED");
    ww_jw_key(w, "verifiedLevels");
    ww_jw_array(w);
    if (v->decision.permit) {
        ww_jw_str(w, "WEIGHTWARD_POLICY");
    }
    ww_jw_close(w);
    write_decision(w, v);
    ww_jw_close(w);
}

/* out_root: "" for none. */
static enum ww_err write_statement(const struct ww_verdict *v, const char *out_root,
                                   struct ww_buf *out, struct ww_error *err)
{
    char hex[2 * WW_SHA256_BYTES + 1];
    struct ww_jw w;

    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "_type", WW_STATEMENT_TYPE);
    ww_jw_key(&w, "subject");
    ww_jw_array(&w);
    if (out_root[0]) {
        write_subject(&w, v->output_name ? v->output_name : "output", out_root);
    }
    for (size_t i = 0; i < v->n_sources; i++) {
        ww_hex(hex, v->facts[i].model.root, WW_SHA256_BYTES);
        write_subject(&w, ww_path_base(v->paths[i]), hex);
    }
    ww_jw_close(&w);
    ww_jw_kstr(&w, "predicateType", PREDICATE);
    write_predicate(&w, v);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static enum ww_err sign_statement(const struct ww_verdict *v, const char *out_root,
                                  struct ww_signkey *key, struct ww_buf *bundle,
                                  struct ww_error *err)
{
    const struct ww_signer signer = {.key = key};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, MAX_BYTES);
    rc = write_statement(v, out_root, &text, err);
    if (!rc) {
        rc = ww_bundle_sign(&signer, text.data, text.len, bundle, err);
    }
    ww_buf_release(&text);
    return rc;
}

/* The tensor root that the folder's own statement has; what has none is named by nothing.
 */
static void root_of_output(const char *folder, char out[2 * WW_SHA256_BYTES + 1])
{
    uint8_t root[WW_SHA256_BYTES];

    out[0] = '\0';
    if (ww_facts_root_of(folder, root, NULL) == WW_OK) {
        ww_hex(out, root, sizeof(root));
    }
}

static enum ww_err check_sources(const struct ww_verdict *v, struct ww_error *err)
{
    uint8_t state[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < v->n_sources && v->decision.permit && !rc; i++) {
        if (!v->facts[i].has_state) {
            continue;
        }
        rc = ww_facts_folder_state(v->paths[i], state, err);
        if (!rc && memcmp(state, v->facts[i].state, sizeof(state)) != 0) {
            rc = WW_FAIL(err, WW_E_CHANGED,
                         "'%s' changed after policies were asked about it: remove what "
                         "was made of it",
                         v->paths[i]);
        }
    }
    return rc;
}

enum ww_err ww_verdict_record(const struct ww_verdict *v, const char *folder,
                              const char *path, struct ww_signkey *key,
                              struct ww_error *err)
{
    char root[2 * WW_SHA256_BYTES + 1] = "";
    struct ww_buf bundle;
    int fd = -1;
    enum ww_err rc = WW_OK;

    if (!key) {
        return WW_FAIL(err, WW_E_USAGE, "a decision is signed: give --as KEY");
    }
    ww_buf_init(&bundle, WW_ENVELOPE_MAX_BYTES);
    if (folder) {
        root_of_output(folder, root);
    }
    rc = check_sources(v, err);
    if (!rc) {
        rc = sign_statement(v, root, key, &bundle, err);
    }
    if (!rc && path) {
        rc = ww_file_write(path, bundle.data, bundle.len, 0644, false, err);
    }
    if (!rc && folder) {
        rc = ww_dir_open(folder, &fd, err);
        if (!rc) {
            rc = ww_mkdirs_at(fd, WW_ATTESTATIONS_DIR, err);
        }
        if (!rc) {
            const char *file = !v->restores                       ? WW_DECISION_FILE
                               : strcmp(v->action, "unlock") == 0 ? UNLOCK_FILE
                                                                  : UNPACK_FILE;
            rc = ww_file_write_at(fd, file, bundle.data, bundle.len, 0644, v->restores,
                                  err);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    ww_buf_release(&bundle);
    return rc;
}
