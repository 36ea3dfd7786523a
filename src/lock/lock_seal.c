/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lock says of itself, written when the weights are all there: the manifest, the
 * tensor tree that it travels in, the record for chains, the signature; then whoever
 * keeps a record of copies is told, and the folder gets its name.
 */
#include <stdlib.h>
#include <string.h>

#include "lock/handout.h"
#include "lock/lock_record.h"
#include "lock/lock_run.h"
#include "lock/manifest.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct ww_lock_file *)a)->path,
                  ((const struct ww_lock_file *)b)->path);
}

/* Digests of the source: weight files were hashed as they were read, side files as they
 * were copied. */
static enum ww_err list_files(const struct ww_lock_run *run, struct ww_manifest *m,
                              struct ww_error *err)
{
    const uint32_t n_files = run->model->n_files;

    m->n_source = (size_t)n_files + run->plan.n_sides + run->late_files.n;
    m->source = ww_calloc(m->n_source, sizeof(*m->source));
    m->locked = ww_calloc(n_files, sizeof(*m->locked));
    if (!m->source || !m->locked) {
        return WW_FAIL_MEMORY(err, "a manifest");
    }
    for (uint32_t f = 0; f < n_files; f++) {
        const struct ww_weight_file *file = &run->model->files[f];
        m->source[f] = m->locked[f] =
            (struct ww_lock_file){file->name, file->size_bytes, {0}};
        memcpy(m->source[f].sha256, run->result.input_sha256[f], WW_SHA256_BYTES);
        memcpy(m->locked[f].sha256, run->result.output_sha256[f], WW_SHA256_BYTES);
    }
    for (uint32_t i = 0; i < run->plan.n_sides; i++) {
        const struct ww_side_copy *side = &run->plan.sides[i];
        m->source[n_files + i] = (struct ww_lock_file){side->from, side->size_bytes, {0}};
        memcpy(m->source[n_files + i].sha256, run->result.output_sha256[n_files + i],
               WW_SHA256_BYTES);
    }
    for (size_t i = 0; i < run->late_files.n; i++) {
        m->source[n_files + run->plan.n_sides + i] = run->late_files.files[i];
    }
    m->n_locked = n_files;
    qsort(m->source, m->n_source, sizeof(*m->source), by_path);
    return WW_OK;
}

static enum ww_err source_oms_root(const struct ww_lock_run *run, char root[65],
                                   struct ww_error *err)
{
    bool is_signed = ww_strlist_has(&run->late_files.names, WW_SIGNATURE_FILE);
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    root[0] = '\0';
    ww_buf_init(&text, ww_json_limits_bundle.max_bytes);
    for (uint32_t i = 0; i < run->plan.n_sides; i++) {
        is_signed = is_signed || strcmp(run->plan.sides[i].from, WW_SIGNATURE_FILE) == 0;
    }
    if (is_signed) {
        rc = ww_file_read_at(run->model->dirfd, WW_SIGNATURE_FILE, WW_LINKS_HUB, &text,
                             err);
    }
    if (is_signed && !rc) {
        ww_manifest_oms_root(&text, root);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err make_manifest(struct ww_lock_run *run, struct ww_buf *out,
                                 struct ww_error *err)
{
    const struct ww_handout *handout = run->options->handout;
    struct ww_manifest m = {.scale = run->scale,
                            .descriptor = run->layout->descriptor,
                            .source_name = run->model->name,
                            .blocks = run->report->blocks,
                            .n_blocks = run->report->n_blocks,
                            .check = run->report->check,
                            .attack = run->report->attack,
                            .dense = run->report->dense};
    char root[65];
    enum ww_err rc = list_files(run, &m, err);

    memcpy(m.descriptor_sha256, run->layout->descriptor_sha256, WW_SHA256_BYTES);
    memcpy(m.residual_sha256, run->residual_sha256, WW_SHA256_BYTES);
    if (handout) {
        m.recipient = handout->name;
        memcpy(m.nonce, handout->nonce, sizeof(m.nonce));
        memcpy(run->report->recipient, handout->name, strlen(handout->name) + 1);
    }
    if (!rc) {
        rc = source_oms_root(run, root, err);
    }
    if (!rc) {
        m.oms_root = root[0] ? root : NULL;
        rc = ww_manifest_id(&m, run->gauge.prk, err);
    }
    if (!rc) {
        memcpy(run->lock_id, m.lock_id, WW_SHA256_BYTES);
        ww_hex(run->report->lock_id, m.lock_id, WW_SHA256_BYTES);
        rc = ww_manifest_write(&m, run->options->secret, run->prk, out, err);
    }
    ww_manifest_release(&m);
    return rc;
}

/* Signed when there is a signer, else the bare statement under a name of its own. */
static enum ww_err add_statement(const struct ww_lock_run *run,
                                 const struct ww_buf *payload, struct ww_error *err)
{
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    if (!run->options->signer) {
        return ww_out_add(run->out, WW_TENSORS_PLAIN_FILE, payload->data, payload->len,
                          err);
    }
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_bundle_sign(run->options->signer, payload->data, payload->len, &bundle, err);
    if (!rc) {
        rc = ww_out_add(run->out, WW_TENSORS_FILE, bundle.data, bundle.len, err);
    }
    ww_buf_release(&bundle);
    return rc;
}

static enum ww_err write_tensors(struct ww_lock_run *run, const char *lock_json,
                                 struct ww_error *err)
{
    const uint32_t n = run->model->n_tensors;
    const struct ww_tensor **by_name = ww_calloc(n, sizeof(*by_name));
    struct ww_buf payload;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    if (!by_name) {
        rc = WW_FAIL_MEMORY(err, "a statement");
        goto out;
    }
    for (uint32_t k = 0; k < n; k++) {
        by_name[k] = &run->model->tensors[run->plan.order[k]];
    }
    const struct ww_rooted_tensors tensors = {
        .by_name = by_name,
        .roots = (const uint8_t(*)[WW_SHA256_BYTES])run->result.tensor_root,
        .n = n};
    rc = ww_tensors_statement(run->out_name, &tensors, lock_json, &payload, run->root,
                              err);
    if (rc) {
        goto out;
    }
    ww_hex(run->report->tensor_root, run->root, WW_SHA256_BYTES);
    rc = add_statement(run, &payload, err);
out:
    ww_free(by_name);
    ww_buf_release(&payload);
    return rc;
}

/* Whoever keeps a record of copies writes it now: a record without a folder harms nobody,
 * a folder without a record could not be traced. */
static enum ww_err tell(const struct ww_lock_run *run, struct ww_error *err)
{
    const struct ww_lock_facts facts = {
        .layout = run->layout,
        .source_sha256 = (const uint8_t(*)[WW_SHA256_BYTES])run->result.input_sha256,
        .lock_id = run->lock_id,
        .tensor_root = run->root,
        .scale = run->scale,
    };
    const struct ww_lock_options *options = run->options;

    return options->before_commit
               ? options->before_commit(options->before_commit_payload, &facts, err)
               : WW_OK;
}

static enum ww_err write_record(const struct ww_lock_run *run, struct ww_error *err)
{
    const struct ww_lock_record record = {.name = run->out_name,
                                          .model = run->model,
                                          .plan = &run->plan,
                                          .result = &run->result,
                                          .tree = run->root,
                                          .lock_id = run->lock_id,
                                          .level =
                                              run->options->dense ? "dense" : "exact",
                                          .scale = run->scale,
                                          .descriptor = run->layout->descriptor,
                                          .signer = run->options->signer};

    return ww_lock_record_add(&record, run->out, err);
}

enum ww_err ww_lock_seal(struct ww_lock_run *run, const char *out_path,
                         struct ww_error *err)
{
    struct ww_buf manifest;
    enum ww_err rc = ww_path_last(out_path, &run->out_name, err);

    ww_buf_init(&manifest, ww_json_limits_bundle.max_bytes);
    if (!rc && run->late) {
        rc = ww_lock_late_take(run->late, &run->plan, &run->result, run->out,
                               &run->late_files, err);
    }
    if (!rc) {
        rc = make_manifest(run, &manifest, err);
    }
    if (!rc) {
        rc = write_tensors(run, ww_buf_cstr(&manifest), err);
    }
    if (!rc) {
        rc = write_record(run, err);
    }
    if (!rc && run->options->signer) {
        rc = ww_sign_outputs(run->options->signer, run->out_name, &run->plan.plan,
                             &run->result, run->out, run->report->root_sha256, err);
    }
    if (!rc) {
        rc = tell(run, err);
    }
    if (!rc) {
        rc = ww_out_commit(run->out, err);
    }
    ww_buf_release(&manifest);
    return rc;
}
