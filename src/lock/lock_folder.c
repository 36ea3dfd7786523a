/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a folder. The order is what makes it safe: everything that can be refused is
 * refused before the first byte; the cores are checked before, the linear maps while the
 * weights stream past; the manifest and the signature are written last, from digests of
 * what was written; then the folder appears under its name.
 */
#include <string.h>

#include "lock/check_core.h"
#include "lock/draw.h"
#include "lock/handout.h"
#include "lock/key_binding.h"
#include "lock/lock_paths.h"
#include "lock/lock_run.h"
#include "lock/manifest.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define EVIDENCE_BYTES (UINT64_C(1) << 20)
#define EVIDENCE_BYTES_PER_TENSOR 1024

static void release(struct ww_lock_run *run, bool keep)
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

static enum ww_err refuse_locked(const struct ww_lock_run *run, struct ww_error *err)
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

static enum ww_err check_source(struct ww_lock_run *run, struct ww_error *err)
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
static enum ww_err draw_gauge(struct ww_lock_run *run, struct ww_secret *secret,
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

static enum ww_err derive(struct ww_lock_run *run, struct ww_error *err)
{
    struct ww_secret *secret = run->options->secret;
    enum ww_err rc = ww_draw_root(secret, &run->prk, err);

    if (!rc) {
        rc = ww_handout_secret(secret, run->options->handout, &run->copy, err);
    }
    return rc ? rc : draw_gauge(run, run->copy ? run->copy : secret, err);
}

/* Level dense: matrices on top of the exact element, if any block allows them. */
static enum ww_err add_matrices(struct ww_lock_run *run, struct ww_error *err)
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

static enum ww_err find_moves(struct ww_lock_run *run, struct ww_error *err)
{
    if (run->options->dense) {
        return add_matrices(run, err);
    }
    return ww_lock_moves(run->layout, run->scale, &run->report->blocks,
                         &run->report->n_blocks, err);
}

static enum ww_err prepare(struct ww_lock_run *run, struct ww_error *err)
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

static enum ww_err begin_residual(struct ww_lock_run *run, struct ww_error *err)
{
    if (!run->options->dense) {
        return WW_OK;
    }
    return ww_residual_sink_new(ww_out_dirfd(run->out), run->gauge.prk,
                                run->dense.n_sections, &run->dense.sink, err);
}

static enum ww_err end_residual(struct ww_lock_run *run, struct ww_error *err)
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

static enum ww_err stream(struct ww_lock_run *run, const char *out_path,
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

/* The weights are all there, in the folder that has no name yet. */
static enum ww_err measure(struct ww_lock_run *run, const char *out_path,
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

enum ww_err ww_lock_model(struct ww_model *model, const char *out_path,
                          const struct ww_lock_options *options,
                          const struct ww_lock_late *late, struct ww_lock_report *report,
                          struct ww_error *err)
{
    struct ww_lock_run run = {
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
        rc = ww_lock_seal(&run, out_path, err);
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
