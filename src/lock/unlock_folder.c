/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing a lock. Key, manifest and weights must belong together, and each way in which
 * they can fail to has its own name: the key check and the MAC come first, then names,
 * shapes and sizes, then the digests of what was read and of what was made of it. The
 * folder appears only when every byte of it is the source's.
 */
#include <stdlib.h>
#include <string.h>

#include "lock/group.h"
#include "lock/lock_paths.h"
#include "lock/unlock_open.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/evidence.h"
#include "weightward/lock.h"

struct unlock_run {
    struct ww_unlock u;
    struct ww_out *out;
    struct ww_stream_result result;
};

static void release(struct unlock_run *run, bool keep)
{
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, keep);
    ww_unlock_release(&run->u);
    ww_model_close(run->u.model);
}

static bool is_weight_file(const struct ww_model *model, const char *path)
{
    for (uint32_t f = 0; f < model->n_files; f++) {
        if (strcmp(model->files[f].name, path) == 0) {
            return true;
        }
    }
    return false;
}

static const struct ww_side_file *find_side(const struct ww_model *model,
                                            const char *path)
{
    for (uint32_t i = 0; i < model->n_side; i++) {
        if (strcmp(model->side[i].path, path) == 0) {
            return &model->side[i];
        }
    }
    return NULL;
}

/* A file beside the weights is not the one that was locked: without it the folder does
 * not come back, and whoever kept it finds it by its digest. */
static enum ww_err put_back(const char *path, const char *what,
                            const struct ww_lock_file *file, struct ww_error *err)
{
    char hex[2 * WW_SHA256_BYTES + 1];

    ww_hex(hex, file->sha256, WW_SHA256_BYTES);
    return WW_FAIL(err, WW_E_DAMAGED,
                   "file '%s' %s; put the one back that has %llu bytes and SHA-256 %s",
                   path, what, (unsigned long long)file->size_bytes, hex);
}

static enum ww_err plan_side(const struct unlock_run *run,
                             const struct ww_lock_file *file, struct ww_side_copy *out,
                             struct ww_error *err)
{
    const char *folder = ww_is_evidence(file->path) ? WW_SET_ASIDE_DIR : "";
    const struct ww_side_file *side = NULL;

    *out = (struct ww_side_copy){ww_asprintf("%s%s", folder, file->path),
                                 ww_strdup(file->path), file->size_bytes};
    if (!out->from || !out->to) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    side = find_side(run->u.model, out->from);
    if (!side) {
        return put_back(out->from, "of the locked model is missing", file, err);
    }
    return side->size_bytes == file->size_bytes
               ? WW_OK
               : put_back(out->from, "has another size than when it was locked", file,
                          err);
}

static enum ww_err list_sides(const struct unlock_run *run, struct ww_side_copy **out,
                              uint32_t *n, struct ww_error *err)
{
    const struct ww_manifest *m = &run->u.manifest;
    struct ww_side_copy *sides = ww_calloc(m->n_source, sizeof(*sides));
    enum ww_err rc = WW_OK;

    *n = 0;
    *out = NULL;
    if (!sides) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    for (size_t i = 0; i < m->n_source && !rc; i++) {
        if (!is_weight_file(run->u.model, m->source[i].path)) {
            rc = plan_side(run, &m->source[i], &sides[(*n)++], err);
        }
    }
    if (rc) {
        ww_side_copies_free(sides, *n);
        return rc;
    }
    *out = sides;
    return WW_OK;
}

/* Files that came into the locked folder later stay behind; say so. Its own evidence does
 * too, which is no loss: the source's lies aside. */
static enum ww_err warn_extra(const struct unlock_run *run,
                              const struct ww_side_copy *sides, uint32_t n_sides,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < run->u.model->n_side && !rc; i++) {
        const char *path = run->u.model->side[i].path;
        bool known = ww_is_evidence(path) && !ww_str_starts(path, WW_SET_ASIDE_DIR);
        for (uint32_t s = 0; s < n_sides && !known; s++) {
            known = strcmp(sides[s].from, path) == 0;
        }
        if (!known) {
            rc = ww_lines_add(&run->u.report->warnings, &run->u.report->n_warnings, err,
                              "file '%s' was added after the lock and is not restored",
                              path);
        }
    }
    return rc;
}

static enum ww_err prepare(struct unlock_run *run, struct ww_error *err)
{
    struct ww_side_copy *sides = NULL;
    uint32_t n_sides = 0;
    enum ww_err rc = ww_unlock_prepare(&run->u, err);

    if (rc) {
        return rc;
    }
    if (run->u.manifest.recipient) {
        memcpy(run->u.report->recipient, run->u.manifest.recipient,
               strlen(run->u.manifest.recipient) + 1);
    }
    rc = list_sides(run, &sides, &n_sides, err);
    if (!rc) {
        rc = ww_lock_plan_init(&run->u.plan, &run->u.job, "unlock", false, sides, n_sides,
                               err);
    }
    return rc ? rc : warn_extra(run, sides, n_sides, err);
}

static enum ww_err compare_digests(const struct unlock_run *run, struct ww_error *err)
{
    const struct ww_manifest *m = &run->u.manifest;
    enum ww_err rc = ww_unlock_check_locked(
        &run->u, (const uint8_t(*)[WW_SHA256_BYTES])run->result.input_sha256, err);

    for (uint32_t i = 0; i < run->u.plan.plan.n_outputs && !rc; i++) {
        const char *path = run->u.plan.plan.outputs[i].path;
        const struct ww_lock_file *source =
            ww_lock_file_find(m->source, m->n_source, path);
        if (memcmp(source->sha256, run->result.output_sha256[i], WW_SHA256_BYTES) != 0) {
            rc = i < run->u.model->n_files
                     ? WW_FAIL(err, WW_E_DAMAGED,
                               "file '%s' does not come back as it was: the layout "
                               "differs from the one that it was locked with",
                               path)
                     : put_back(path, "was changed after the lock", source, err);
        }
    }
    return rc;
}

static enum ww_err stream(struct unlock_run *run, const char *out_path,
                          struct ww_error *err)
{
    const struct ww_run_options *options = &run->u.options->run;
    enum ww_err rc =
        ww_out_begin(out_path, &run->u.plan.plan, 0, options, &run->out, err);

    if (!rc) {
        rc = ww_stream_run(&run->u.plan.plan, run->out, options, &run->result, err);
    }
    if (!rc) {
        rc = ww_model_unchanged(run->u.model, err);
    }
    if (!rc) {
        rc = compare_digests(run, err);
    }
    if (!rc) {
        rc = ww_out_commit(run->out, err);
    }
    return rc;
}

enum ww_err ww_unlock_folder(const char *path, const char *out_path,
                             const struct ww_lock_options *options,
                             struct ww_lock_report *report, struct ww_error *err)
{
    struct unlock_run run = {.u = {.options = options, .report = report}};
    enum ww_err rc = WW_OK;

    bool is_merge = false;

    memset(report, 0, sizeof(*report));
    rc = ww_lock_check_paths(path, out_path, err);
    if (!rc) {
        rc = ww_lock_is_merge(path, &is_merge, err);
    }
    if (!rc && is_merge) {
        return ww_unlock_merge(path, out_path, options, report, err);
    }
    if (!rc) {
        rc = ww_model_open(path, &run.u.model, err);
    }
    if (!rc) {
        rc = ww_unlock_open(&run.u, err);
    }
    if (!rc) {
        ww_hex(report->lock_id, run.u.manifest.lock_id, WW_SHA256_BYTES);
        rc = prepare(&run, err);
    }
    if (!rc) {
        rc = stream(&run, out_path, err);
    }
    ww_lock_report_end(report, &run.u.plan, &run.result, rc);
    release(&run, rc == WW_E_CANCELLED);
    return rc;
}
