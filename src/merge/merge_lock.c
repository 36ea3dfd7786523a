/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge is computed twice: once for its digests, which the evidence of the open model
 * and the lock's manifest need before the first locked byte, and once under the lock. Both
 * must agree, so a source that changed in between is told.
 */
#include "merge/merge_lock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lock/lock_model.h"
#include "merge/engine.h"
#include "stream/cpus.h"
#include "stream/made.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define OPEN_DIR "open"
#define DEFAULT_MEMORY ((uint64_t)256 << 20)

struct ww_merge_locking {
    struct ww_work *work;
    const char *out_path;
    char *path; /* the open folder */
    int dirfd;
    struct ww_merge_engine engine;
    struct ww_made *made;
    const struct ww_merge_result *result;
};

static enum ww_err no_memory(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NOMEM, "out of memory for a locked merge");
}

static enum ww_err check_key(const struct ww_work *work, struct ww_error *err)
{
    static const uint8_t none[WW_SHA256_BYTES];
    const struct ww_key_binding *binding = work->options->lock->binding;

    if (work->plan.locked) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the sources are merged while locked, so the merge is locked "
                       "already; give their keys by --unlock-with to lock it with another");
    }
    if (binding && memcmp(binding->model_id, none, sizeof(none)) != 0) {
        return WW_FAIL(err, WW_E_KEY,
                       "the key is bound to the model '%s'; it may not lock a merge",
                       binding->model_name);
    }
    return WW_OK;
}

/* A weight file of the full size, of which only the header is there. */
static enum ww_err hollow_file(const struct ww_merge_locking *l,
                               const struct ww_merge_file *file, struct ww_error *err)
{
    uint64_t size = file->header_bytes;
    enum ww_err rc =
        ww_file_write_at(l->dirfd, file->name, file->header, file->header_bytes, 0644,
                         false, err);
    int fd = -1;

    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const struct ww_merge_tensor *t =
            &l->work->plan.tensors[file->first_tensor + i];
        uint64_t n = ww_dtype_bits(t->dtype) / 8;
        for (unsigned a = 0; a < t->rank; a++) {
            n *= t->shape[a];
        }
        size += n;
    }
    fd = openat(l->dirfd, file->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        rc = WW_FAIL(err, WW_E_IO, "cannot make '%s/%s'", l->path, file->name);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum ww_err make_folder(struct ww_merge_locking *l, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &l->work->plan;
    char *name = NULL;
    enum ww_err rc = ww_work_make_steps(l->work, l->out_path, err);

    if (!rc) {
        rc = ww_path_last(l->out_path, &name, err);
    }
    if (rc) {
        return rc;
    }
    char *beneath = ww_asprintf(OPEN_DIR "/%s", name);
    l->path = ww_path_join(l->work->steps, beneath ? beneath : "");
    if (!l->path || !beneath) {
        rc = no_memory(err);
    }
    int steps = -1;
    if (!rc) {
        rc = ww_dir_open(l->work->steps, &steps, err);
    }
    if (!rc) {
        rc = ww_mkdirs_at(steps, beneath, err);
    }
    if (!rc) {
        rc = ww_dir_open(l->path, &l->dirfd, err);
    }
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        rc = hollow_file(l, &plan->files[f], err);
    }
    if (steps >= 0) {
        close(steps);
    }
    ww_free(beneath);
    ww_free(name);
    return rc;
}

enum ww_err ww_merge_locking_new(struct ww_work *work, const char *out_path,
                                 struct ww_merge_locking **out, struct ww_error *err)
{
    struct ww_merge_locking *l = ww_calloc(1, sizeof(*l));
    enum ww_err rc = l ? check_key(work, err) : no_memory(err);

    *out = NULL;
    if (!l) {
        return rc;
    }
    l->work = work;
    l->out_path = out_path;
    l->dirfd = -1;
    if (!rc) {
        rc = make_folder(l, err);
    }
    if (rc) {
        ww_merge_locking_free(l);
        return rc;
    }
    *out = l;
    return WW_OK;
}

void ww_merge_locking_free(struct ww_merge_locking *l)
{
    if (!l) {
        return;
    }
    ww_made_free(l->made);
    if (l->engine.plan) {
        ww_whole_release(&l->engine.wholes);
        ww_merge_engine_release(&l->engine);
    }
    if (l->dirfd >= 0) {
        close(l->dirfd);
    }
    ww_free(l->path);
    ww_free(l);
}

enum ww_err ww_merge_locking_add(struct ww_merge_locking *l, const char *path,
                                 const void *bytes, size_t len, struct ww_error *err)
{
    const char *base = ww_path_base(path);
    char *folder = ww_strndup(path, (size_t)(base - path));
    enum ww_err rc = folder ? WW_OK : no_memory(err);

    if (!rc && base != path) {
        folder[base - path - 1] = '\0';
        rc = ww_mkdirs_at(l->dirfd, folder, err);
    }
    if (!rc) {
        rc = ww_file_write_at(l->dirfd, path, bytes, len, 0644, true, err);
    }
    ww_free(folder);
    return rc;
}

/* Weight files of the opened folder are computed when they are read. */
static enum ww_err fill(struct ww_merge_locking *l, struct ww_model *model,
                        struct ww_error *err)
{
    const struct ww_merge_plan *plan = &l->work->plan;
    const struct ww_run_options *run = &l->work->options->run;
    enum ww_err rc = WW_OK;

    l->engine = (struct ww_merge_engine){
        .plan = plan,
        .threads = ww_threads_wanted(run),
        .memory = run->memory_bytes ? run->memory_bytes : DEFAULT_MEMORY};
    rc = ww_merge_engine_plan(&l->engine, err);
    if (!rc) {
        rc = ww_whole_run(plan, l->engine.threads, l->engine.memory, &l->engine.wholes,
                          err);
    }
    if (!rc) {
        rc = ww_made_new(&l->engine.stream, &l->made, err);
    }
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        for (uint32_t i = 0; i < model->n_files; i++) {
            if (strcmp(model->files[i].name, plan->files[f].name) == 0) {
                model->files[i].reader = ww_made_reader(l->made, f);
            }
        }
    }
    return rc;
}

/* Both times the same: told just before the folder appears. */
static enum ww_err compare(void *payload, const struct ww_lock_facts *facts,
                           struct ww_error *err)
{
    const struct ww_merge_locking *l = payload;
    const struct ww_merge_plan *plan = &l->work->plan;
    const struct ww_model *model = facts->layout->model;

    for (uint32_t f = 0; f < plan->n_files; f++) {
        for (uint32_t i = 0; i < model->n_files; i++) {
            if (strcmp(model->files[i].name, plan->files[f].name) == 0 &&
                memcmp(facts->source_sha256[i], l->result->output_sha256[f],
                       WW_SHA256_BYTES) != 0) {
                return WW_FAIL(err, WW_E_CHANGED,
                               "file '%s' came out differently when it was locked; a "
                               "source changed during the merge",
                               plan->files[f].name);
            }
        }
    }
    return WW_OK;
}

enum ww_err ww_merge_locking_run(struct ww_merge_locking *l,
                                 const struct ww_merge_result *result,
                                 struct ww_error *err)
{
    const struct ww_merge_options *options = l->work->options;
    struct ww_merge_report *told = l->work->report;
    struct ww_lock_options lock = {.secret = options->lock->secret,
                                   .binding = options->lock->binding,
                                   .signer = options->signer,
                                   .scale_if_room = true, /* as 'lock' does by itself */
                                   .before_commit = compare,
                                   .before_commit_payload = l,
                                   .run = options->run};
    struct ww_lock_report report = {0};
    struct ww_model *model = NULL;
    enum ww_err rc = ww_model_open(l->path, &model, err);

    l->result = result;
    if (!rc) {
        rc = fill(l, model, err);
    }
    if (!rc) {
        rc = ww_lock_model(model, l->out_path, &lock, &report, err);
    }
    if (!rc) {
        memcpy(told->root_sha256, report.root_sha256, sizeof(told->root_sha256));
        memcpy(told->lock_id, report.lock_id, sizeof(told->lock_id));
        told->run = report.run;
    }
    ww_lock_report_release(&report);
    ww_model_close(model);
    return rc;
}
