/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole attack. What the lock did is found by reading both models; whether the anchor
 * is one at all is decided from what was compared, before the first byte is written; then
 * the locked model streams through the inverse of what was found.
 */
#include <string.h>
#include <unistd.h>

#include "attack/attack_report.h"
#include "attack/drift.h"
#include "attack/rotation.h"
#include "attack/search.h"
#include "la/la.h"
#include "lock/lock_paths.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/fs.h"

struct attack_run {
    const struct ww_attack_options *options;
    struct ww_attack_report *report;
    struct ww_model *models[3]; /* locked, anchor, truth */
    struct ww_layout *layouts[2];
    int *given; /* the locked model's own descriptors, while others stand in for them */
    struct ww_pair pair;
    bool paired;
    struct ww_pair partner; /* mode invariant */
    bool partnered;
    struct ww_blend blend;
    struct ww_attack_job job;
    struct ww_attack_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
};

/* Files with a rotation undone stand in for the locked model's, or cease to. */
static void swap_files(struct attack_run *run)
{
    for (uint32_t f = 0; f < run->models[0]->n_files; f++) {
        const int fd = run->models[0]->files[f].fd;
        run->models[0]->files[f].fd = run->given[f];
        run->given[f] = fd;
    }
}

static void release_files(struct attack_run *run)
{
    if (!run->given) {
        return;
    }
    swap_files(run);
    for (uint32_t f = 0; f < run->models[0]->n_files; f++) {
        close(run->given[f]);
    }
    ww_free(run->given);
}

static void release(struct attack_run *run)
{
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, false);
    ww_attack_plan_release(&run->plan);
    ww_free(run->job.scores);
    if (run->paired) {
        ww_pair_release(&run->pair);
    }
    if (run->partnered) {
        ww_pair_release(&run->partner);
    }
    release_files(run);
    for (size_t i = 0; i < WW_LEN(run->layouts); i++) {
        ww_layout_free(run->layouts[i]);
    }
    for (size_t i = 0; i < WW_LEN(run->models); i++) {
        ww_model_close(run->models[i]);
    }
}

static enum ww_err check_truth(const struct attack_run *run, struct ww_error *err)
{
    const struct ww_model *model = run->models[0];

    for (uint32_t t = 0; run->models[2] && t < model->n_tensors; t++) {
        const uint32_t at = ww_model_find(run->models[2], model->tensors[t].name);
        const struct ww_tensor *own = &model->tensors[t];
        if (run->layouts[0]->bindings[t].ignored) {
            continue;
        }
        if (at == WW_NONE || run->models[2]->tensors[at].n_elements != own->n_elements ||
            !ww_dtype_is_plain_float(run->models[2]->tensors[at].dtype)) {
            return WW_FAIL(
                err, WW_E_UNRELATED,
                "tensor '%s' is not in the truth with the same shape; the truth "
                "is the model before its lock",
                own->name);
        }
    }
    return WW_OK;
}

static enum ww_err open_models(struct attack_run *run, const char *path,
                               struct ww_error *err)
{
    const char *paths[3] = {path, run->options->anchor, run->options->truth};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(paths) && !rc; i++) {
        if (paths[i]) {
            rc = ww_model_open(paths[i], &run->models[i], err);
        }
        if (!rc && i < WW_LEN(run->layouts)) {
            rc = ww_layout_resolve(run->models[i], &run->options->layout,
                                   &run->layouts[i], err);
        }
        if (rc && i > 0) {
            ww_error_context(err, "%s '%s'", i == 1 ? "anchor" : "truth", paths[i]);
        }
    }
    if (!rc) {
        rc = ww_pair_init(&run->pair, run->layouts[0], run->layouts[1], err);
        run->paired = !rc;
    }
    return rc ? rc : check_truth(run, err);
}

static enum ww_err undo_rotation(struct attack_run *run, const char *out_path,
                                 struct ww_error *err)
{
    struct ww_rotation rotation = {0};
    char *folder = out_path ? ww_path_folder(out_path) : NULL;
    int *fds = NULL;
    enum ww_err rc = ww_rotation_find(&run->pair, &rotation, err);

    if (rc || !rotation.r) {
        goto out;
    }
    fds = ww_calloc(run->models[0]->n_files, sizeof(*fds));
    if (!fds) {
        rc = WW_FAIL_MEMORY(err, "an attack");
        goto out;
    }
    rc = ww_rotation_undo(&run->pair, &rotation, folder, fds, err);
    if (rc) {
        goto out;
    }
    run->pair.found.residual_rotated = rotation.n;
    run->given = fds;
    fds = NULL;
    swap_files(run);
out:
    ww_free(fds);
    ww_free(folder);
    ww_rotation_release(&rotation);
    return rc;
}

static double weight_of(const struct ww_attack_options *options)
{
    return options->weight == 0 ? 0.5 : options->weight;
}

/* The anchor beside itself carries the matrices that its own rows go through. */
static enum ww_err begin_blend(struct attack_run *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (run->pair.found.rows_alone > 0) {
        return WW_FAIL(
            err, WW_E_UNRELATED,
            "tables of the locked model have %llu rows that the anchor's lack, "
            "and mode invariant merges every row with its own; use mode joint",
            (unsigned long long)run->pair.found.rows_alone);
    }
    rc = ww_pair_init(&run->partner, run->layouts[1], run->layouts[1], err);

    run->partnered = !rc;
    run->blend = (struct ww_blend){&run->partner, weight_of(run->options), 0, 0};
    run->pair.blend = &run->blend;
    return rc;
}

static enum ww_err find_lock(struct attack_run *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (run->options->mode == WW_ATTACK_INVARIANT) {
        rc = begin_blend(run, err);
    }
    return rc ? rc : ww_attack_search(&run->pair, run->options->mode, err);
}

static enum ww_err stream(struct attack_run *run, const char *out_path,
                          struct ww_error *err)
{
    const struct ww_run_options *options = &run->options->run;
    enum ww_err rc = WW_OK;

    run->job = ww_attack_job_of(&run->pair);
    run->job.scores =
        ww_calloc(run->pair.locked->model->n_tensors, sizeof(*run->job.scores));
    if (!run->job.scores) {
        return WW_FAIL_MEMORY(err, "an attack");
    }
    run->job.truth = run->models[2];
    run->job.given = run->given;
    run->job.partner_dense = (struct ww_dense_job){
        .gauge = &run->partner.gauge, .source = &run->partner.source, .inverse = true};
    rc = ww_attack_plan_init(&run->plan, &run->job, out_path != NULL, err);
    if (!rc && out_path) {
        rc = ww_out_begin(out_path, &run->plan.plan, 0, options, &run->out, err);
    }
    if (!rc) {
        rc = ww_stream_run(&run->plan.plan, run->out, options, &run->result, err);
    }
    for (size_t i = 0; i < WW_LEN(run->models) && !rc; i++) {
        if (run->models[i]) {
            rc = ww_model_unchanged(run->models[i], err);
        }
    }
    if (!rc && run->options->mode != WW_ATTACK_NAIVE) {
        rc = ww_attack_drift(&run->job, &run->report->drift_known,
                             &run->report->function_drift, err);
    }
    if (!rc) {
        rc = ww_attack_report_fill(&run->job, run->report, err);
        run->report->run = run->result.report;
    }
    return rc;
}

static enum ww_err finish(struct attack_run *run, const char *out_path,
                          struct ww_error *err)
{
    char *name = NULL;
    enum ww_err rc = ww_path_last(out_path, &name, err);

    if (!rc && run->options->signer) {
        rc = ww_sign_outputs(run->options->signer, name, &run->plan.plan, &run->result,
                             run->out, run->report->root_sha256, err);
    }
    if (!rc) {
        rc = ww_out_commit(run->out, err);
    }
    ww_free(name);
    return rc;
}

static enum ww_err refuse(const struct attack_run *run, struct ww_error *err)
{
    const struct ww_kinship kinship = ww_attack_kinship(&run->pair);

    return WW_FAIL(err, WW_E_UNRELATED,
                   "'%s' and the anchor '%s' are not related: their distance is %.2f of "
                   "the anchor's norm, %.2f after alignment; the cosine of their %s is "
                   "%.2f then, expected at least %.1f; an anchor is the base model or a "
                   "sibling",
                   run->models[0]->path, run->models[1]->path,
                   run->report->distance_before, run->report->distance_after,
                   kinship.what, kinship.cosine, kinship.least);
}

static enum ww_err attack(struct attack_run *run, const char *path, const char *out_path,
                          struct ww_error *err)
{
    const bool aligned = ww_attack_aligns(run->options->mode);
    enum ww_err rc = WW_OK;

    if (!run->options->anchor) {
        return WW_FAIL(err, WW_E_USAGE,
                       "an attack needs an anchor: a model that the locked one descends "
                       "from, or a sibling");
    }
    if (!(weight_of(run->options) > 0 && weight_of(run->options) < 1)) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "a weight of %g for the locked model, expected more than 0 and less than 1",
            run->options->weight);
    }
    if (out_path) {
        rc = ww_lock_check_paths(path, out_path, err);
    }
    if (!rc) {
        rc = open_models(run, path, err);
    }
    run->pair.run = &run->options->run;
    if (!rc && aligned) {
        rc = undo_rotation(run, out_path, err);
    }
    if (!rc) {
        rc = find_lock(run, err);
    }
    if (rc) {
        return rc;
    }
    if (aligned && !ww_attack_related(&run->pair)) {
        rc = stream(run, NULL, err);
        return rc ? rc : refuse(run, err);
    }
    rc = stream(run, out_path, err);
    return rc || !out_path ? rc : finish(run, out_path, err);
}

enum ww_err ww_attack_folder(const char *path, const char *out_path,
                             const struct ww_attack_options *options,
                             struct ww_attack_report *report, struct ww_error *err)
{
    struct attack_run run = {.options = options, .report = report};
    const double started = ww_now();
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    report->mode = options->mode;
    ww_la_threads(ww_threads_wanted(&options->run));
    rc = attack(&run, path, options->mode == WW_ATTACK_NAIVE ? NULL : out_path, err);
    report->seconds = ww_now() - started;
    release(&run);
    ww_la_threads(1);
    if (rc) {
        ww_attack_report_release(report);
    }
    return rc;
}
