/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a folder. The order is what makes it safe: everything that can be refused is
 * refused before the first byte; the cores are checked before, the linear maps while the
 * weights stream past; the manifest and the signature are written last, from digests of
 * what was written; then the folder appears under its name.
 */
#include <stdlib.h>
#include <string.h>

#include "lock/check_core.h"
#include "lock/dense_run.h"
#include "lock/draw.h"
#include "lock/handout.h"
#include "lock/key_binding.h"
#include "lock/lock_late.h"
#include "lock/lock_paths.h"
#include "lock/lock_record.h"
#include "lock/manifest.h"
#include "lock/probe.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/lock.h"

#define EVIDENCE_BYTES (UINT64_C(1) << 20)
#define EVIDENCE_BYTES_PER_TENSOR 1024

struct lock_run {
    const struct ww_lock_options *options;
    struct ww_lock_report *report;
    struct ww_model *model;
    const struct ww_lock_late *late; /* NULL: the model's evidence lies there */
    struct ww_late_files late_files;
    struct ww_layout *layout;
    struct ww_secret *prk;  /* of the lock key */
    struct ww_secret *copy; /* the secret of a recipient's copy, or NULL */
    struct ww_gauge gauge;
    bool scale;                /* powers of two */
    struct ww_dense_run dense; /* level dense */
    struct ww_probes *probes;
    struct ww_lock_job job;
    struct ww_lock_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
    char *out_name;
    uint8_t lock_id[WW_SHA256_BYTES];
    uint8_t root[WW_SHA256_BYTES]; /* of the locked tensors */
    uint8_t residual_sha256[WW_SHA256_BYTES];
};

static void release(struct lock_run *run, bool keep)
{
    ww_free(run->out_name);
    ww_late_files_release(&run->late_files);
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, keep);
    ww_lock_plan_release(&run->plan);
    ww_probes_free(run->probes);
    ww_dense_run_release(&run->dense);
    ww_gauge_release(&run->gauge);
    ww_secret_free(run->copy);
    ww_secret_free(run->prk);
    ww_layout_free(run->layout);
}

static enum ww_err refuse_locked(const struct lock_run *run, struct ww_error *err)
{
    struct ww_tensor_statement statement = {0};
    bool found = false;
    enum ww_err rc = ww_lock_statement(run->model, &statement, &found, err);

    if (!rc && statement.lock) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "model '%s' is locked already; unlock it first", run->model->path);
    }
    ww_tensors_release(&statement);
    return rc;
}

static enum ww_err check_source(struct lock_run *run, struct ww_error *err)
{
    enum ww_err rc = ww_model_check_lockable(run->model, err);

    if (!rc) {
        rc = refuse_locked(run, err);
    }
    if (!rc) {
        rc = ww_binding_allows_lock(run->options->binding, run->model, &run->options->run,
                                    err);
    }
    if (!rc) {
        rc = ww_layout_resolve(run->model, &run->options->layout, &run->layout, err);
    }
    for (uint32_t i = 0; !rc && i < run->model->n_findings; i++) {
        rc = ww_lines_add(&run->report->warnings, &run->report->n_warnings, err, "%s",
                          run->model->findings[i].text);
    }
    return rc;
}

/* Powers of two as asked for: always, or where no tensor is in the way. */
static enum ww_err draw_gauge(struct lock_run *run, struct ww_secret *secret,
                              struct ww_error *err)
{
    const struct ww_lock_options *options = run->options;
    struct ww_error why = {0};
    enum ww_err rc = WW_OK;

    run->scale = options->scale || options->scale_if_room;
    rc = ww_gauge_init(&run->gauge, run->layout, secret, run->scale, WW_WRONG_NONE, &why);
    if (rc == WW_E_UNSUPPORTED && !options->scale && options->scale_if_room) {
        run->scale = false;
        rc = ww_lines_add(&run->report->warnings, &run->report->n_warnings, err,
                          "no factors of two in this lock: %s", why.text);
        return rc ? rc
                  : ww_gauge_init(&run->gauge, run->layout, secret, false, WW_WRONG_NONE,
                                  err);
    }
    run->gauge.even_heads = options->dense;
    return rc ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
}

static enum ww_err derive(struct lock_run *run, struct ww_error *err)
{
    struct ww_secret *secret = run->options->secret;
    enum ww_err rc = ww_draw_root(secret, &run->prk, err);

    if (!rc) {
        rc = ww_handout_secret(secret, run->options->handout, &run->copy, err);
    }
    return rc ? rc : draw_gauge(run, run->copy ? run->copy : secret, err);
}

/* Level dense: matrices on top of the exact element, if any block allows them. */
static enum ww_err add_matrices(struct lock_run *run, struct ww_error *err)
{
    const struct ww_lock_options *options = run->options;
    struct ww_lock_report *report = run->report;
    enum ww_err rc = WW_OK;

    rc = ww_dense_block_moves(run->layout, run->scale, &report->blocks, &report->n_blocks,
                              err);

    if (!rc) {
        rc = ww_dense_run_init(&run->dense, &run->gauge, options->condition, false, err);
    }
    if (!rc && run->dense.n_sections == 0) {
        const char *reason = report->n_blocks ? report->blocks[0].reason : NULL;
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "model '%s' allows no dense lock (%s); use level exact",
                     run->model->path, reason ? reason : "it has no attention");
    }
    if (!rc) {
        report->dense.used = true;
        report->dense.condition = options->condition;
        rc = ww_dense_change(&run->gauge, &report->dense.output_change,
                             &report->dense.blocks_run, err);
    }
    return rc;
}

static enum ww_err find_moves(struct lock_run *run, struct ww_error *err)
{
    if (run->options->dense) {
        return add_matrices(run, err);
    }
    return ww_lock_moves(run->layout, run->scale, &run->report->blocks,
                         &run->report->n_blocks, err);
}

static enum ww_err prepare(struct lock_run *run, struct ww_error *err)
{
    struct ww_side_copy *sides = NULL;
    uint32_t n_sides = 0;
    enum ww_err rc = derive(run, err);

    if (!rc) {
        rc = find_moves(run, err);
    }
    if (!rc) {
        rc = ww_check_cores(&run->gauge, NULL, &run->report->check.max_relative_error,
                            err);
    }
    if (!rc) {
        rc = ww_probes_new(&run->gauge, &run->probes, err);
    }
    if (!rc) {
        rc = ww_lock_sides(run->model, &sides, &n_sides, err);
    }
    if (!rc) {
        run->job =
            (struct ww_lock_job){.gauge = &run->gauge,
                                 .probes = run->probes,
                                 .dense = run->options->dense ? &run->dense.job : NULL,
                                 .dense_condition = run->options->condition};
        run->dense.probes = run->probes;
        rc = ww_lock_plan_init(&run->plan, &run->job, "lock", true, sides, n_sides, err);
    }
    if (!rc && run->late) {
        rc = ww_lock_late_plan(run->late, &run->plan, err);
    }
    return rc;
}

static enum ww_err begin_residual(struct lock_run *run, struct ww_error *err)
{
    if (!run->options->dense) {
        return WW_OK;
    }
    return ww_residual_sink_new(ww_out_dirfd(run->out), run->gauge.prk,
                                run->dense.n_sections, &run->dense.sink, err);
}

static enum ww_err end_residual(struct lock_run *run, struct ww_error *err)
{
    struct ww_dense_report *report = &run->report->dense;

    if (!run->options->dense) {
        return WW_OK;
    }
    report->weights = run->dense.n_weights;
    report->bits_per_weight =
        8 * (double)run->dense.n_residual / (double)run->dense.n_weights;
    report->projection_error = run->dense.max_error;
    return ww_residual_sink_end(run->dense.sink, &report->residual_bytes,
                                run->residual_sha256, err);
}

static enum ww_err stream(struct lock_run *run, const char *out_path,
                          struct ww_error *err)
{
    const uint64_t extra = EVIDENCE_BYTES +
                           run->model->n_tensors * (uint64_t)EVIDENCE_BYTES_PER_TENSOR +
                           (run->options->dense ? ww_dense_room(&run->dense) : 0);
    struct ww_check_report *check = &run->report->check;
    enum ww_err rc = ww_out_begin(out_path, &run->plan.plan, extra, &run->options->run,
                                  &run->out, err);

    if (!rc) {
        rc = begin_residual(run, err);
    }
    if (!rc) {
        rc = ww_stream_run(&run->plan.plan, run->out, &run->options->run, &run->result,
                           err);
    }
    if (!rc) {
        rc = ww_model_unchanged(run->model, err);
    }
    if (!rc) {
        rc = end_residual(run, err);
    }
    if (!rc) {
        const double probed = ww_probes_max_error(run->probes);
        check->max_relative_error =
            probed > check->max_relative_error ? probed : check->max_relative_error;
        check->blocks = run->layout->n_blocks;
        check->linears = ww_probes_linears(run->probes);
    }
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct ww_lock_file *)a)->path,
                  ((const struct ww_lock_file *)b)->path);
}

/* Digests of the source: weight files were hashed as they were read, side files as they
 * were copied. */
static enum ww_err list_files(const struct lock_run *run, struct ww_manifest *m,
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

static enum ww_err source_oms_root(const struct lock_run *run, char root[65],
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

static enum ww_err make_manifest(struct lock_run *run, struct ww_buf *out,
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
static enum ww_err add_statement(const struct lock_run *run, const struct ww_buf *payload,
                                 struct ww_error *err)
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

static enum ww_err write_tensors(struct lock_run *run, const char *lock_json,
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
    rc = ww_tensors_statement(run->out_name, by_name,
                              (const uint8_t(*)[WW_SHA256_BYTES])run->result.tensor_root,
                              n, lock_json, &payload, run->root, err);
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
static enum ww_err tell(const struct lock_run *run, struct ww_error *err)
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

/* The weights are all there, in the folder that has no name yet. */
static enum ww_err measure(struct lock_run *run, const char *out_path,
                           struct ww_error *err)
{
    size_t len = strlen(out_path);
    char *partial = NULL;
    enum ww_err rc = WW_OK;

    if (!run->options->measure) {
        return WW_OK;
    }
    while (len > 1 && out_path[len - 1] == '/') {
        len--;
    }
    partial = ww_asprintf("%.*s.partial", (int)len, out_path);
    if (!partial) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = run->options->measure(run->options->measure_payload, partial, run->model->path,
                               &run->report->attack, err);
    ww_free(partial);
    return rc;
}

static enum ww_err write_record(const struct lock_run *run, struct ww_error *err)
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

static enum ww_err seal(struct lock_run *run, const char *out_path, struct ww_error *err)
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

enum ww_err ww_lock_model(struct ww_model *model, const char *out_path,
                          const struct ww_lock_options *options,
                          const struct ww_lock_late *late, struct ww_lock_report *report,
                          struct ww_error *err)
{
    struct lock_run run = {
        .options = options, .report = report, .model = model, .late = late};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = check_source(&run, err);
    if (!rc) {
        rc = prepare(&run, err);
    }
    if (!rc) {
        rc = stream(&run, out_path, err);
    }
    if (!rc) {
        rc = measure(&run, out_path, err);
    }
    if (!rc) {
        rc = seal(&run, out_path, err);
    }
    ww_lock_report_end(report, &run.plan, &run.result, rc);
    release(&run, rc == WW_E_CANCELLED);
    return rc;
}

enum ww_err ww_lock_folder(const char *path, const char *out_path,
                           const struct ww_lock_options *options,
                           struct ww_lock_report *report, struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_lock_check_paths(path, out_path, err);
    if (!rc) {
        rc = ww_model_open(path, &model, err);
    }
    if (!rc) {
        rc = ww_lock_model(model, out_path, options, NULL, report, err);
    }
    ww_model_close(model);
    return rc;
}
