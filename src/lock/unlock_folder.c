/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing a lock. Key, manifest and weights must belong together, and each way in which
 * they can fail to has its own name: the key check and the MAC come first, then names,
 * shapes and sizes, then the digests of what was read and of what was made of it. The
 * folder appears only when every byte of it is the source's.
 */
#include <string.h>
#include <unistd.h>

#include "lock/group.h"
#include "lock/lock_paths.h"
#include "lock/unlock_open.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/evidence.h"
#include "weightward/guard.h"
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

/* Without it no policy would be asked that the source asks for. */
static bool must_come(const char *path)
{
    return strcmp(path, WW_POLICY_REFERENCE) == 0;
}

/* A file beside the weights is not the one that was locked: without it the folder does
 * not come back, and whoever kept it finds it by its digest. */
static enum ww_err put_back(const char *path, const char *what,
                            const struct ww_lock_file *file, struct ww_error *err)
{
    char hex[2 * WW_SHA256_BYTES + 1];

    ww_hex(hex, file->sha256, WW_SHA256_BYTES);
    return WW_FAIL(err, WW_E_DAMAGED,
                   "file '%s' %s; put the one back that has %llu bytes and SHA-256 %s%s",
                   path, what, (unsigned long long)file->size_bytes, hex,
                   must_come(path) ? "" : ", or restore the weights alone");
}

/* What is wrong with a file beside the weights, by looking at its size; NULL: nothing. */
static const char *wrong_size(const struct unlock_run *run,
                              const struct ww_lock_file *file, const char *from)
{
    const struct ww_side_file *side = find_side(run->u.model, from);

    if (!side) {
        return "of the locked model is missing";
    }
    return side->size_bytes == file->size_bytes
               ? NULL
               : "has another size than when it was locked";
}

static enum ww_err read_digest(const struct unlock_run *run,
                               const struct ww_lock_file *file, const char *from,
                               uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_hash_job job = {.fd = -1, .name = from, .size_bytes = file->size_bytes};
    enum ww_err rc =
        ww_file_open_at(run->u.model->dirfd, from, WW_LINKS_HUB, &job.fd, NULL, err);

    if (!rc) {
        rc = ww_hash_files(&job, 1, "sha256", "unlock", &run->u.options->run, err);
    }
    if (job.fd >= 0) {
        close(job.fd);
    }
    memcpy(out, job.digest, WW_SHA256_BYTES);
    return rc;
}

/* Weights alone were asked for: is this file beside them left out? */
static enum ww_err leave_out(const struct unlock_run *run,
                             const struct ww_lock_file *file, const char *from, bool *out,
                             struct ww_error *err)
{
    const char *what = wrong_size(run, file, from);
    uint8_t sha256[WW_SHA256_BYTES];
    enum ww_err rc = what ? WW_OK : read_digest(run, file, from, sha256, err);

    if (rc) {
        return rc;
    }
    if (!what && memcmp(sha256, file->sha256, sizeof(sha256)) != 0) {
        what = "was changed after the lock";
    }
    *out = what != NULL;
    if (what && must_come(from)) {
        return put_back(from, what, file, err);
    }
    return what ? ww_lines_add(&run->u.report->warnings, &run->u.report->n_warnings, err,
                               "file '%s' %s and is not restored", from, what)
                : WW_OK;
}

/* *take is false where the file is left out. */
static enum ww_err plan_side(const struct unlock_run *run,
                             const struct ww_lock_file *file, struct ww_side_copy *out,
                             bool *take, struct ww_error *err)
{
    const char *folder = ww_is_evidence(file->path) ? WW_SET_ASIDE_DIR : "";
    const char *what = NULL;
    bool left_out = false;
    enum ww_err rc = WW_OK;

    *out = (struct ww_side_copy){ww_asprintf("%s%s", folder, file->path),
                                 ww_strdup(file->path), file->size_bytes};
    if (!out->from || !out->to) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    if (run->u.options->weights_only) {
        rc = leave_out(run, file, out->from, &left_out, err);
        *take = !left_out;
        return rc;
    }
    what = wrong_size(run, file, out->from);
    *take = true;
    return what ? put_back(out->from, what, file, err) : WW_OK;
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
        bool take = true;
        if (is_weight_file(run->u.model, m->source[i].path)) {
            continue;
        }
        rc = plan_side(run, &m->source[i], &sides[*n], &take, err);
        if (!take) {
            ww_free(sides[*n].from);
            ww_free(sides[*n].to);
            sides[*n] = (struct ww_side_copy){0};
        }
        *n += take;
    }
    if (rc) {
        ww_side_copies_free(sides, *n);
        return rc;
    }
    *out = sides;
    return WW_OK;
}

static bool of_the_source(const struct unlock_run *run, const char *path)
{
    const char *to =
        ww_str_starts(path, WW_SET_ASIDE_DIR) ? path + strlen(WW_SET_ASIDE_DIR) : path;

    return ww_lock_file_find(run->u.manifest.source, run->u.manifest.n_source, to) !=
           NULL;
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
        bool known = (ww_is_evidence(path) && !ww_str_starts(path, WW_SET_ASIDE_DIR)) ||
                     (run->u.options->weights_only && of_the_source(run, path));
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

/* A config.json that is lost or another one shows in what cannot be found of it; the one
 * to put back is what helps. */
static enum ww_err blame_config(const struct unlock_run *run, enum ww_err rc,
                                const struct ww_error *why, struct ww_error *err)
{
    const struct ww_manifest *m = &run->u.manifest;
    const struct ww_lock_file *file =
        ww_lock_file_find(m->source, m->n_source, "config.json");
    const char *what = file ? wrong_size(run, file, file->path) : NULL;

    if (rc == WW_E_WRONG_MODEL || rc == WW_E_NOMEM || !what) {
        return WW_FAIL(err, rc, "%s", why->text);
    }
    if (!run->u.options->weights_only) {
        return put_back(file->path, what, file, err);
    }
    return WW_FAIL(err, rc,
                   "%s; for the weights alone any config.json of the same architecture "
                   "and sizes will do, as its base's",
                   why->text);
}

static enum ww_err prepare(struct unlock_run *run, struct ww_error *err)
{
    struct ww_side_copy *sides = NULL;
    struct ww_error why = {0};
    uint32_t n_sides = 0;
    enum ww_err rc = ww_unlock_prepare(&run->u, &why);

    if (rc) {
        return blame_config(run, rc, &why, err);
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
