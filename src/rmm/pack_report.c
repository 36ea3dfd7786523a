/* SPDX-License-Identifier: Apache-2.0 */
/* What a package says of itself, and whether its signer is whom one trusts. */
#include <stdio.h>
#include <string.h>

#include "crypto/verify.h"
#include "rmm/pack_file.h"
#include "rmm/shared.h"
#include "sign/bundle.h"
#include "sign/oms.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

const char *ww_pack_form_name(enum ww_pack_form form)
{
    static const char *const names[] = {"stored", "same", "order", "split",
                                        "own",    "few",  "dense", "klt"};

    return (unsigned)form < WW_LEN(names) ? names[form] : "?";
}

void ww_pack_report_release(struct ww_pack_report *report)
{
    for (size_t i = 0; i < report->n_members; i++) {
        for (size_t k = 0; k < report->members[i].n_needed; k++) {
            ww_free(report->members[i].needed[k].name);
        }
        ww_free(report->members[i].needed);
        ww_free(report->members[i].name);
        ww_free(report->members[i].parent);
        ww_free(report->members[i].recipients);
    }
    ww_free(report->members);
    ww_free(report->foreign);
    for (size_t i = 0; i < report->n_warnings; i++) {
        ww_free(report->warnings[i]);
    }
    ww_free(report->warnings);
    ww_free(report->base);
    memset(report, 0, sizeof(*report));
}

static enum ww_err describe_needed(const struct ww_pack_manifest_member *m,
                                   struct ww_pack_entry *out, struct ww_error *err)
{
    out->needed = ww_calloc(m->n_others, sizeof(*out->needed));
    if (!out->needed) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (; out->n_needed < m->n_others; out->n_needed++) {
        const struct ww_pack_other *other = &m->others[out->n_needed];
        struct ww_pack_needed *needed = &out->needed[out->n_needed];
        needed->weight = other->weight;
        ww_hex(needed->tensor_tree, other->tree, WW_SHA256_BYTES);
        needed->name = ww_strdup(other->name);
        if (!needed->name) {
            return WW_FAIL_MEMORY(err, "a report");
        }
    }
    return WW_OK;
}

static enum ww_err describe_member(const struct ww_pack_file *f, size_t i,
                                   struct ww_pack_entry *out, struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[i];
    const size_t n = m->sealed ? f->records[i].n_stanzas : 0;

    out->adapter = m->adapter;
    out->basis = m->basis;
    out->directions = m->directions;
    snprintf(out->codec, sizeof(out->codec), "%s",
             m->basis ? ww_shared_codec_name(m->codec) : "");
    out->shares =
        m->parent && strcmp(ww_pack_manifest_leak(&f->manifest, m), "shared") == 0;
    out->sealed = m->sealed;
    out->bounded = m->bounded;
    out->error = m->error;
    out->bytes = m->bytes;
    out->files = m->n_files;
    out->files_bytes = m->files_bytes;
    memcpy(out->coded, m->coded, sizeof(out->coded));
    ww_hex(out->commitment, m->commitment, WW_SHA256_BYTES);
    out->name = ww_strdup(m->name);
    out->parent = m->parent ? ww_strdup(m->parent) : NULL;
    out->recipients = ww_calloc(n, sizeof(*out->recipients));
    if (!out->name || !out->recipients || (m->parent && !out->parent)) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t r = 0; r < n; r++) {
        ww_hex(out->recipients[r], ww_record_recipient(&f->records[i], r),
               WW_RECORD_ID_BYTES);
    }
    out->n_recipients = n;
    return describe_needed(m, out, err);
}

enum ww_err ww_pack_describe(const struct ww_pack_file *f, struct ww_pack_report *report,
                             struct ww_error *err)
{
    const struct ww_pack_manifest *m = &f->manifest;
    enum ww_err rc = WW_OK;

    ww_hex(report->id, m->id, sizeof(m->id));
    ww_hex(report->manifest_sha256, f->head.manifest_sha256, WW_SHA256_BYTES);
    report->version = m->version;
    report->base = m->base_name ? ww_strdup(m->base_name) : NULL;
    report->base_tensors = m->n_tensors;
    report->bytes = f->bytes;
    report->is_signed = f->bundle.len > 0;
    report->members = ww_calloc(m->n_members, sizeof(*report->members));
    if (!report->members || (m->base_name && !report->base)) {
        rc = WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t i = 0; i < m->n_members && !rc; i++) {
        report->n_members = i + 1;
        rc = describe_member(f, i, &report->members[i], err);
        report->files_bytes += m->members[i].basis ? 0 : m->members[i].files_bytes;
    }
    if (rc) {
        ww_pack_report_release(report);
    }
    return rc;
}

static enum ww_err check_statement(const struct ww_pack_file *f,
                                   const struct ww_bundle *bundle, struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_statement_view view;
    enum ww_err rc = ww_json_parse(bundle->payload.data, bundle->payload.len,
                                   &ww_json_limits_small, &json, err);

    if (!rc) {
        rc = ww_statement_read(ww_json_root(json), WW_PACKAGE_PREDICATE, &view, err);
    }
    if (!rc &&
        memcmp(view.subject_sha256, f->head.manifest_sha256, WW_SHA256_BYTES) != 0) {
        rc =
            WW_FAIL(err, WW_E_TAMPERED,
                    "package '%s': its manifest is not the one that was signed", f->path);
    }
    ww_json_free(json);
    return rc;
}

enum ww_err ww_pack_check_bundle(const struct ww_pack_file *f, struct ww_bundle *bundle,
                                 const struct ww_verifier *verifier, char *signer,
                                 struct ww_error *err)
{
    const enum ww_err rc = ww_bundle_check(bundle, verifier, signer, err);

    return rc ? rc : check_statement(f, bundle, err);
}

enum ww_err ww_pack_check_signature(const struct ww_pack_file *f, const char *public_key,
                                    char *signer, struct ww_error *err)
{
    struct ww_verifier verifier = {0};
    struct ww_bundle bundle = {0};
    struct ww_pubkey *key = NULL;
    bool open = false;
    enum ww_err rc = WW_OK;

    if (f->bundle.len == 0) {
        return WW_FAIL(err, WW_E_NOT_SIGNED,
                       "package '%s' is not signed; its author signs it with --sign when "
                       "it is packed or changed",
                       f->path);
    }
    rc = ww_pubkey_load(public_key, &key, err);
    if (!rc) {
        rc = ww_verifier_of_key(key, &verifier, err);
    }
    if (!rc) {
        rc = ww_bundle_parse(f->bundle.data, f->bundle.len, &bundle, err);
        open = !rc;
    }
    if (!rc) {
        rc = ww_pack_check_bundle(f, &bundle, &verifier, signer, err);
    }
    if (open) {
        ww_bundle_release(&bundle);
    }
    ww_pubkey_free(key);
    return rc;
}
