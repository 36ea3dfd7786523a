/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge into a folder: plan, run, then the evidence from digests of what was written,
 * the signature last.
 */
#include "merge/merge_folder.h"

#include <string.h>

#include "merge/changes.h"
#include "merge/lora_job.h"
#include "merge/parts.h"
#include "merge/watch.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define EVIDENCE_BYTES (UINT64_C(1) << 20)
#define EVIDENCE_BYTES_PER_TENSOR 1024

/* A source must stay as it is whatever happens, so the output may not lie in one. */
static enum ww_err check_outside(const struct ww_work *work, const char *out_path,
                                 struct ww_error *err)
{
    const struct ww_plan_impl *impl = work->plan.impl;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < work->plan.n_models && !rc; i++) {
        rc = ww_path_check_output(work->plan.models[i]->path, out_path, err);
    }
    for (uint32_t i = 0; i < work->plan.n_models && !rc && work->digests.path; i++) {
        rc = ww_path_check_outside(work->plan.models[i]->path, work->digests.path, err);
    }
    for (uint32_t i = 0; i < impl->n_adapters && !rc; i++) {
        const struct ww_adapter *adapter = impl->adapters[i].adapter;
        rc = adapter ? ww_path_check_output(adapter->path, out_path, err) : WW_OK;
    }
    return rc;
}

static enum ww_err report_sources(struct ww_work *work, struct ww_error *err)
{
    struct ww_merge_report *report = work->report;

    report->sources = ww_calloc(work->n_sources, sizeof(*report->sources));
    if (!report->sources) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    for (size_t i = 0; i < work->n_sources; i++) {
        report->sources[i].name = ww_strdup(work->sources[i].name);
        report->n_sources = i + 1;
        if (!report->sources[i].name) {
            return WW_FAIL_MEMORY(err, "a merge");
        }
        if (work->sources[i].has_tree) {
            ww_hex(report->sources[i].sha256_tree, work->sources[i].tree,
                   WW_SHA256_BYTES);
        }
    }
    return WW_OK;
}

static enum ww_err report_changes(const struct ww_merge_folder_run *run,
                                  struct ww_error *err)
{
    const struct ww_work *work = run->work;
    const struct ww_recipe *recipe = &work->file.recipes[work->file.last];
    const char **names = NULL;
    enum ww_err rc = WW_OK;

    if (!run->changes) {
        return WW_OK;
    }
    names = ww_calloc(recipe->n_models, sizeof(*names));
    if (!names) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    for (uint32_t i = 0; i < recipe->n_models; i++) {
        names[i] = recipe->models[i].text;
    }
    rc = ww_changes_report(run->changes, names, work->report, err);
    ww_free(names);
    return rc;
}

static enum ww_err stream(struct ww_merge_folder_run *run, const char *out_path,
                          struct ww_error *err)
{
    struct ww_work *work = run->work;
    const uint64_t extra =
        EVIDENCE_BYTES + work->plan.n_tensors * (uint64_t)EVIDENCE_BYTES_PER_TENSOR;

    const struct ww_merge_into into = {
        .path = out_path, .extra_bytes = extra, .keep = true};

    return work->options->n_parts
               ? ww_merge_join(work, out_path, work->options->n_parts, extra, &run->out,
                               &run->result, err)
               : ww_merge_run(&work->plan, run->locking ? NULL : &into,
                              &work->options->run, &run->out, &run->result, err);
}

/* Blocks are noted as they are computed. A locked merge is computed in another order, and
 * some of it twice, so there it is a run of its own. */
static enum ww_err measure(struct ww_merge_folder_run *run, struct ww_error *err)
{
    struct ww_work *work = run->work;
    enum ww_err rc = WW_OK;

    if (!work->options->measure || work->options->n_parts) {
        return WW_OK;
    }
    rc = ww_changes_new(&work->plan, &run->changes, err);
    work->plan.changes = run->changes;
    if (!rc && run->locking) {
        rc = stream(run, NULL, err);
        ww_merge_result_release(&run->result);
        work->plan.changes = NULL;
    }
    return rc;
}

static enum ww_err tell_watch(const struct ww_merge_folder_run *run, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &run->work->plan;
    const struct ww_plan_impl *impl = plan->impl;
    uint8_t(*trees)[WW_SHA256_BYTES] = NULL;
    enum ww_err rc = WW_OK;

    if (!plan->watch) {
        return WW_OK;
    }
    trees = ww_calloc(plan->n_models, sizeof(*trees));
    if (!trees) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (uint32_t i = 0; impl->roots && i < plan->n_models && !rc; i++) {
        const uint8_t *known = ww_source_digests_tree(plan, i);
        if (known) {
            memcpy(trees[i], known, WW_SHA256_BYTES);
        } else if (impl->roots[i].order) {
            rc = ww_plan_roots_fold(&impl->roots[i], plan->models[i]->n_tensors, trees[i],
                                    err);
        }
    }
    if (!rc) {
        rc = plan->watch->end(plan->watch->payload, plan, &run->result,
                              (const uint8_t(*)[WW_SHA256_BYTES])trees, err);
    }
    ww_free(trees);
    return rc;
}

/* All bytes have passed. */
static enum ww_err finish(void *payload, struct ww_error *err)
{
    struct ww_merge_folder_run *run = payload;
    struct ww_work *work = run->work;
    enum ww_err rc = ww_work_sources_read(work, &work->plan, &run->result, err);

    if (!rc) {
        rc = ww_merge_check_views(
            &work->plan, (const uint8_t(*)[WW_SHA256_BYTES])run->result.input_sha256,
            err);
    }
    if (!rc) {
        rc = ww_work_add_sources(work, work->file.last, &work->plan, &run->result,
                                 !work->options->no_source_trees, err);
    }
    if (!rc) {
        rc = report_sources(work, err);
    }
    if (!rc) {
        rc = report_changes(run, err);
    }
    if (!rc) {
        rc = tell_watch(run, err);
    }
    work->state = run->result.state;
    rc = rc ? rc : ww_merge_write_evidence(run, err);
    work->state = NULL;
    return rc;
}

static enum ww_err make_folder(struct ww_merge_folder_run *run, const char *out_path,
                               struct ww_error *err)
{
    const struct ww_merge_evidence evidence = {finish, run};
    enum ww_err rc = WW_OK;

    if (run->locking) {
        return ww_merge_locking_run(run->locking, &evidence, &run->result, err);
    }
    rc = stream(run, out_path, err);
    if (!rc) {
        run->work->report->run = run->result.run;
        rc = finish(run, err);
    }
    return rc ? rc : ww_out_commit(run->out, err);
}

/* Digests of intermediate results and a lock's own plan are of one run. */
static enum ww_err check_parts(const struct ww_work *work, struct ww_error *err)
{
    const struct ww_merge_options *options = work->options;

    if (options->n_parts > WW_MAX_PARTS || options->part > options->n_parts) {
        return WW_FAIL(err, WW_E_USAGE, "part %u of %u, expected 1 of 1 to %u of %u",
                       options->part, options->n_parts, WW_MAX_PARTS, WW_MAX_PARTS);
    }
    if (options->n_parts && (options->lock || work->file.n_recipes > 1)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "parts are of a merge by one recipe that is not locked as it is "
                       "made; %s",
                       options->lock ? "join them, then lock"
                                     : "merge the recipes of the file one by one");
    }
    return WW_OK;
}

/* The merge is there: a cache that cannot be written takes nothing from it. */
static enum ww_err keep_digests(struct ww_merge_folder_run *run, struct ww_error *err)
{
    struct ww_work *work = run->work;
    struct ww_error local = {0};
    char *warning = NULL;
    enum ww_err rc = WW_OK;

    if (!work->digests.path) {
        return WW_OK;
    }
    work->report->cached = work->digests.hits;
    if (ww_source_digests_save(&work->digests, run->out_name, run->root, &local) ==
        WW_OK) {
        return WW_OK;
    }
    warning = ww_asprintf("digest cache '%s' was not written: %s", work->digests.path,
                          local.text);
    if (!warning) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    rc = ww_strlist_add(&work->warnings, warning, err);
    ww_free(warning);
    return rc;
}

static enum ww_err open_digests(struct ww_work *work, struct ww_error *err)
{
    const struct ww_merge_options *options = work->options;

    if (options->digest_cache && (options->lock || options->n_parts)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "digest cache '%s': a merge that is locked as it is made, or made "
                       "in parts, hashes its sources; leave it out",
                       options->digest_cache);
    }
    return ww_source_digests_open(&work->digests, options->digest_cache,
                                  options->signer ? options->signer->key : NULL,
                                  !options->no_source_trees, err);
}

/* All that follows once the recipe is read. */
static enum ww_err merge_models(struct ww_merge_folder_run *run, const char *out_path,
                                struct ww_error *err)
{
    struct ww_work *work = run->work;
    const struct ww_merge_options *options = work->options;
    enum ww_err rc = check_parts(work, err);

    if (!rc) {
        rc = open_digests(work, err);
    }
    if (!rc) {
        rc = ww_work_prepare(work, out_path, err);
    }
    if (!rc) {
        rc = check_outside(work, out_path, err);
    }
    if (!rc && options->part) {
        return ww_merge_part(work, out_path, options->part, options->n_parts, err);
    }
    if (!rc && options->lock) {
        rc = ww_merge_locking_new(work, out_path, &run->locking, err);
    }
    if (!rc) {
        rc = ww_source_digests_ask(&work->digests, &work->plan, err);
    }
    if (!rc && !options->no_source_trees && !options->n_parts) {
        rc = ww_work_want_trees(work, work->file.last, &work->plan, err);
    }
    /* Of a merge that is computed here, once, tile by tile. */
    if (!options->lock && !options->n_parts) {
        work->plan.watch = options->watch;
    }
    if (!rc) {
        rc = ww_doubts_watch(work, &run->moved, err);
    }
    if (!rc) {
        rc = measure(run, err);
    }
    if (!rc) {
        rc = make_folder(run, out_path, err);
    }
    if (!rc) {
        ww_hex(work->report->output_sha256_tree, run->tree, WW_SHA256_BYTES);
        rc = keep_digests(run, err);
    }
    return rc ? rc : ww_doubts_tell(work, &run->moved, err);
}

enum ww_err ww_merge_folder(const char *recipe_path, const char *out_path,
                            const struct ww_merge_options *options,
                            struct ww_merge_report *report, struct ww_error *err)
{
    struct ww_work work = {0};
    struct ww_merge_folder_run run = {.work = &work};
    bool adapters = false;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_path_check_new(out_path, err);
    if (!rc) {
        rc = ww_work_open_file(&work, recipe_path, options, report, err);
    }
    if (!rc) {
        rc = ww_path_last(out_path, &run.out_name, err);
    }
    if (!rc) {
        rc = ww_lora_wanted(&work, &adapters, err);
    }
    if (!rc && adapters && (options->lock || options->n_parts)) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "a merge of adapters is an adapter: it has no parts, and a lock is of a "
            "model; carry adapters over with 'lock --base'");
    } else if (!rc && adapters && options->digest_cache) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "digest cache '%s': adapters are small and always hashed; leave it "
                     "out",
                     options->digest_cache);
    } else if (!rc && adapters) {
        rc = ww_lora_merge(&work, out_path, out_path, NULL, NULL, err);
        rc = rc ? rc : report_sources(&work, err);
    } else if (!rc) {
        rc = merge_models(&run, out_path, err);
    }
    ww_out_close(run.out, rc == WW_E_CANCELLED);
    ww_merge_locking_free(run.locking);
    ww_changes_free(run.changes);
    ww_merge_result_release(&run.result);
    ww_free(run.files);
    ww_free(run.out_name);
    ww_doubts_release(&run.moved);
    ww_work_close(&work);
    return rc;
}

void ww_merge_report_release(struct ww_merge_report *report)
{
    struct ww_strlist warnings = {report->warnings, report->n_warnings,
                                  report->n_warnings};

    ww_free(report->method);
    for (size_t i = 0; i < report->n_sources; i++) {
        ww_free(report->sources[i].name);
    }
    ww_free(report->sources);
    for (size_t i = 0; i < report->n_layers; i++) {
        ww_free(report->layers[i].name);
        ww_free(report->layers[i].lengths);
        ww_free(report->layers[i].cosines);
    }
    ww_free(report->layers);
    for (uint32_t i = 0; i < report->n_models; i++) {
        ww_free(report->models[i]);
    }
    ww_free(report->models);
    ww_strlist_release(&warnings);
    memset(report, 0, sizeof(*report));
}
