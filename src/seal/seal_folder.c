/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing a folder. All that can be refused is refused before the first byte. The content
 * key is made for this run alone and never leaves guarded memory but inside the keys
 * file, which is written last: what a killed run leaves behind opens to no one.
 */
#include "seal/seal_job.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/aead.h"
#include "crypto/recipient.h"
#include "seal/seal_keys.h"
#include "seal/seal_manifest.h"
#include "seal/seal_record.h"
#include "seal/seal_source.h"
#include "sign/statement.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define EVIDENCE_BYTES (UINT64_C(1) << 20)

struct seal_run {
    const struct ww_seal_options *options;
    struct ww_seal_report *report;
    struct ww_model *model;
    struct ww_seal_spec spec;
    uint8_t (*recipients)[WW_X25519_BYTES];
    uint8_t (*recipient_ids)[WW_RECORD_ID_BYTES];
    struct ww_secret *content_key;
    struct ww_secret *keys_file;
    struct ww_secret *prk;
    struct ww_seal_items items;
    struct ww_seal_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
    struct ww_buf manifest;
    char *out_name;
};

static void release(struct seal_run *run)
{
    ww_free(run->out_name);
    ww_buf_release(&run->manifest);
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, false);
    ww_seal_plan_release(&run->plan);
    ww_seal_items_release(&run->items);
    ww_secret_free(run->prk);
    ww_secret_free(run->keys_file);
    ww_secret_free(run->content_key);
    ww_free(run->recipients);
    ww_free(run->recipient_ids);
    ww_model_close(run->model);
}

void ww_seal_report_release(struct ww_seal_report *report)
{
    struct ww_strlist list = {report->warnings, report->n_warnings, report->n_warnings};

    ww_strlist_release(&list);
    memset(report, 0, sizeof(*report));
}

static enum ww_err check_options(const struct ww_seal_options *options,
                                 struct ww_error *err)
{
    if (options->no_lineage && !options->signer) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "only a signed sealed model says what it was made of; leaving that "
            "out goes with a signature");
    }
    if (options->run.resume) {
        return WW_FAIL(err, WW_E_USAGE,
                       "sealing cannot be resumed: each run has a key of its own; remove "
                       "what the last one left and start anew");
    }
    if (!options->sealer.passphrase && options->sealer.n_recipients == 0) {
        return WW_FAIL(err, WW_E_USAGE,
                       "no one is named who may open the sealed model; give a "
                       "recipient's .pub file or a passphrase");
    }
    return WW_OK;
}

static uint32_t cipher_of(enum ww_seal_cipher wanted)
{
    switch (wanted) {
    case WW_SEAL_CIPHER_AES256_GCM:
        return WW_AEAD_AES256_GCM;
    case WW_SEAL_CIPHER_CHACHA20_POLY1305:
        return WW_AEAD_CHACHA20;
    case WW_SEAL_CIPHER_BEST:
        break;
    }
    return (uint32_t)ww_aead_best();
}

static enum ww_err make_keys(struct seal_run *run, const struct ww_argon2_cost *cost,
                             struct ww_error *err)
{
    const struct ww_sealer *sealer = &run->options->sealer;
    struct ww_record_plan plan = {.kind = WW_RECORD_CONTENT,
                                  .created_unix = (uint64_t)time(NULL),
                                  .passphrase = sealer->passphrase,
                                  .cost = *cost,
                                  .n_recipients = sealer->n_recipients};
    enum ww_err rc = ww_recipients_load(sealer->recipients, sealer->n_recipients,
                                        &run->recipients, err);

    run->recipient_ids = ww_calloc(sealer->n_recipients, WW_RECORD_ID_BYTES);
    if (!rc && !run->recipient_ids) {
        rc = WW_FAIL_MEMORY(err, "recipients");
    }
    if (!rc) {
        rc = ww_secret_new(WW_RECORD_SECRET_BYTES, &run->content_key, err);
    }
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < sealer->n_recipients; i++) {
        ww_recipient_id(run->recipients[i], run->recipient_ids[i]);
    }
    ww_random(ww_secret_open(run->content_key), WW_RECORD_SECRET_BYTES);
    ww_secret_close(run->content_key);
    ww_random(run->spec.seal_id, sizeof(run->spec.seal_id));
    memcpy(plan.id, run->spec.seal_id, sizeof(plan.id));
    plan.recipients = (const uint8_t(*)[WW_X25519_BYTES])run->recipients;
    rc = ww_record_make(&plan, run->content_key, &run->keys_file, err);
    return rc ? rc : ww_seal_root(run->content_key, &run->prk, err);
}

static enum ww_err open_source(struct seal_run *run, const char *path,
                               struct ww_error *err)
{
    enum ww_err rc = ww_folder_is_sealed(path)
                         ? WW_FAIL(err, WW_E_UNSUPPORTED,
                                   "'%s' is sealed already; change who can open it with "
                                   "'weightward recipients'",
                                   path)
                         : ww_model_open(path, &run->model, err);

    if (!rc) {
        rc = ww_model_check_lockable(run->model, err);
    }
    for (uint32_t i = 0; !rc && i < run->model->n_findings; i++) {
        rc = ww_lines_add(&run->report->warnings, &run->report->n_warnings, err, "%s",
                          run->model->findings[i].text);
    }
    return rc;
}

static enum ww_err stream(struct seal_run *run, const char *out_path,
                          struct ww_error *err)
{
    const struct ww_run_options *options = &run->options->run;
    enum ww_err rc =
        ww_seal_source_items(run->model, &run->spec, run->prk, &run->items, err);

    if (!rc) {
        rc = ww_seal_plan_init(&run->plan, &run->items, "seal", err);
    }
    if (!rc) {
        rc = ww_out_begin(out_path, &run->plan.plan, EVIDENCE_BYTES, options, &run->out,
                          err);
    }
    if (!rc) {
        rc = ww_stream_run(&run->plan.plan, run->out, options, &run->result, err);
    }
    return rc ? rc : ww_model_unchanged(run->model, err);
}

static enum ww_err list_item(const struct seal_run *run, size_t i,
                             struct ww_seal_manifest *m, struct ww_error *err)
{
    const struct ww_seal_item *item = run->items.items[i];
    struct ww_seal_file *file = item->action == WW_SEAL_COPY ? &m->plain[m->n_plain++]
                                                             : &m->sealed[m->n_sealed++];

    file->path = item->from;
    file->size_bytes = item->size_bytes;
    if (item->action == WW_SEAL_COPY) {
        memcpy(file->digest, run->result.output_sha256[i], WW_SHA256_BYTES);
        return WW_OK;
    }
    run->report->files++;
    run->report->bytes += item->size_bytes;
    return ww_seal_commitment(run->prk, item->from, run->result.input_sha256[i],
                              file->digest, err);
}

static enum ww_err make_manifest(struct seal_run *run, struct ww_error *err)
{
    struct ww_seal_manifest m = {.cipher = run->spec.cipher,
                                 .chunk_bytes = run->spec.chunk_bytes,
                                 .source_name = run->model->name,
                                 .n_recipients = run->options->sealer.n_recipients};
    enum ww_err rc = WW_OK;

    m.recipients = (const uint8_t(*)[WW_RECORD_ID_BYTES])run->recipient_ids;
    memcpy(m.seal_id, run->spec.seal_id, sizeof(m.seal_id));
    m.sealed = ww_calloc(run->items.n, sizeof(*m.sealed));
    m.plain = ww_calloc(run->items.n, sizeof(*m.plain));
    if (!m.sealed || !m.plain) {
        rc = WW_FAIL_MEMORY(err, "a manifest");
    }
    for (size_t i = 0; i < run->items.n && !rc; i++) {
        rc = list_item(run, i, &m, err);
    }
    if (!rc) {
        rc = ww_seal_manifest_write(&m, run->prk, &run->manifest, err);
    }
    if (!rc) {
        rc = ww_out_add(run->out, WW_SEAL_MANIFEST_FILE, run->manifest.data,
                        run->manifest.len, err);
    }
    ww_seal_manifest_release(&m);
    return rc;
}

/* Everything but attestations, by digests of the stream. */
static enum ww_err list_files(const struct seal_run *run, struct ww_resource **out,
                              size_t *n, struct ww_error *err)
{
    struct ww_resource *files = ww_calloc(run->items.n + 1, sizeof(*files));

    *out = files;
    if (!files) {
        return WW_FAIL_MEMORY(err, "a signature");
    }
    *n = 1;
    files[0].name = WW_SEAL_MANIFEST_FILE;
    ww_sha256_of(run->manifest.data, run->manifest.len, files[0].sha256);
    for (size_t i = 0; i < run->items.n; i++) {
        const char *path = run->items.items[i]->to;
        if (!ww_seal_is_evidence(path) && !ww_oms_leaves_out(path)) {
            files[*n].name = path;
            memcpy(files[(*n)++].sha256, run->result.output_sha256[i], WW_SHA256_BYTES);
        }
    }
    return WW_OK;
}

/* Provenance, unless it is to stay unknown, and the signature. */
static enum ww_err write_signature(struct seal_run *run, struct ww_error *err)
{
    struct ww_seal_record record = {.name = run->out_name,
                                    .model = run->model,
                                    .spec = &run->spec,
                                    .items = &run->items,
                                    .result = &run->result,
                                    .signer = run->options->signer};
    struct ww_resource *files = NULL;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = list_files(run, &files, &record.n_files, err);

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    if (!rc) {
        rc = ww_oms_statement(run->out_name, files, record.n_files, &payload, root, err);
    }
    if (!rc && !run->options->no_lineage) {
        record.files = files;
        record.root = root;
        rc = ww_seal_record_add(&record, run->out, err);
    }
    if (!rc) {
        rc =
            ww_bundle_sign(run->options->signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        ww_hex(run->report->root_sha256, root, WW_SHA256_BYTES);
        rc = ww_out_add(run->out, WW_SIGNATURE_FILE, bundle.data, bundle.len, err);
    }
    ww_free(files);
    ww_buf_release(&payload);
    ww_buf_release(&bundle);
    return rc;
}

static enum ww_err finish(struct seal_run *run, const char *out_path,
                          struct ww_error *err)
{
    enum ww_err rc = ww_path_last(out_path, &run->out_name, err);

    if (!rc) {
        rc = make_manifest(run, err);
    }
    if (!rc && run->options->signer) {
        rc = write_signature(run, err);
    }
    if (!rc) {
        rc = ww_out_add(run->out, WW_SEAL_KEYS_FILE, ww_secret_open(run->keys_file),
                        ww_secret_len(run->keys_file), err);
        ww_secret_close(run->keys_file);
    }
    return rc ? rc : ww_out_commit(run->out, err);
}

static void fill_report(const struct seal_run *run)
{
    struct ww_seal_report *report = run->report;

    report->chunk_bytes = run->spec.chunk_bytes;
    report->recipients = run->options->sealer.n_recipients;
    report->run = run->result.report;
    ww_hex(report->seal_id, run->spec.seal_id, sizeof(run->spec.seal_id));
    (void)snprintf(report->cipher, sizeof(report->cipher), "%s",
                   ww_aead_name(run->spec.cipher));
}

enum ww_err ww_seal_folder_at(const char *path, const char *out_path,
                              const struct ww_seal_options *options, uint32_t chunk_bytes,
                              const struct ww_argon2_cost *cost,
                              struct ww_seal_report *report, struct ww_error *err)
{
    struct seal_run run = {.options = options, .report = report};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    ww_buf_init(&run.manifest, ww_json_limits_bundle.max_bytes);
    run.spec.cipher = cipher_of(options->cipher);
    run.spec.chunk_bytes = chunk_bytes;
    rc = check_options(options, err);
    if (!rc) {
        rc = ww_path_check_output(path, out_path, err);
        if (rc == WW_E_EXISTS) {
            ww_out_tidy(out_path);
        }
    }
    if (!rc) {
        rc = open_source(&run, path, err);
    }
    if (!rc) {
        rc = make_keys(&run, cost, err);
    }
    if (!rc) {
        rc = stream(&run, out_path, err);
    }
    if (!rc) {
        rc = finish(&run, out_path, err);
    }
    if (!rc) {
        fill_report(&run);
    } else {
        ww_seal_report_release(report);
    }
    release(&run);
    return rc;
}

enum ww_err ww_seal_folder(const char *path, const char *out_path,
                           const struct ww_seal_options *options,
                           struct ww_seal_report *report, struct ww_error *err)
{
    return ww_seal_folder_at(path, out_path, options, WW_SEAL_CHUNK_BYTES,
                             &ww_argon2_strong, report, err);
}
