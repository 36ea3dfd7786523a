/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock sets the evidence of the open model aside, the record of the merge with it. Both
 * the record and the weights are read from there as they were: files as they lie are
 * compared with the lock's manifest, so nothing that the lock did not write goes unseen.
 */
#include "merge/merged_folder.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "merge/build.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* The record of the merge that was locked. */
static enum ww_err read_set_aside(struct ww_merged *m, struct ww_error *err)
{
    const int fd = openat(m->model->dirfd, WW_SET_ASIDE_DIR,
                          O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    enum ww_err rc = WW_OK;

    if (fd < 0) {
        return WW_FAIL(err, WW_E_NOTFOUND,
                       "locked folder '%s' holds no record of a merge: no '%s'",
                       m->model->path, WW_SET_ASIDE_DIR);
    }
    rc = ww_record_read(fd, &m->record, err);
    close(fd);
    return rc;
}

static enum ww_err open_locked(struct ww_merged *m,
                               const struct ww_merge_options *options,
                               struct ww_error *err)
{
    enum ww_err rc = read_set_aside(m, err);

    if (!rc && options->n_unlock == 0) {
        rc = WW_FAIL(err, WW_E_KEY, "merge '%s' is locked; give its key by --unlock-with",
                     m->model->path);
    }
    if (!rc) {
        rc = ww_unlock_by_keys(m->model, m->model->path, options, &m->view, err);
    }
    for (uint32_t f = 0; !rc && f < m->model->n_files; f++) {
        m->model->files[f].reader = ww_unlock_view_reader(m->view, f);
    }
    return rc;
}

enum ww_err ww_merged_open(const char *path, const struct ww_merge_options *options,
                           struct ww_merged *out, struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_model_open(path, &out->model, err);
    if (rc) {
        return rc;
    }
    rc = ww_record_read(out->model->dirfd, &out->record, &local);
    if (rc == WW_E_VERSION && ww_model_is_locked(out->model)) {
        return open_locked(out, options, err); /* what lies there is the lock's record */
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

void ww_merged_close(struct ww_merged *merged)
{
    ww_unlock_view_free(merged->view);
    ww_record_release(&merged->record);
    ww_model_close(merged->model);
    memset(merged, 0, sizeof(*merged));
}

/* Files as they lie there. */
static enum ww_err hash_files(const struct ww_merged *m, const struct ww_merge_plan *plan,
                              const struct ww_run_options *run,
                              uint8_t (*sha256)[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_hash_job *jobs = ww_calloc(plan->n_files, sizeof(*jobs));
    uint32_t n = 0;
    enum ww_err rc = jobs ? WW_OK : WW_FAIL_MEMORY(err, "the digests of a merge");

    while (n < plan->n_files && !rc) {
        struct stat st;
        const char *name = plan->files[n].name;
        rc = ww_file_open_at(m->model->dirfd, name, WW_LINKS_REFUSE, &jobs[n].fd, &st,
                             err);
        if (!rc) {
            jobs[n].name = name;
            jobs[n].size_bytes = (uint64_t)st.st_size;
            n++;
        }
    }
    if (!rc) {
        rc = ww_hash_files(jobs, n, "sha256", "compare", run, err);
    }
    for (uint32_t f = 0; jobs && f < n; f++) {
        memcpy(sha256[f], jobs[f].digest, WW_SHA256_BYTES);
        close(jobs[f].fd);
    }
    ww_free(jobs);
    return rc;
}

/* The plan's file of each weight file, WW_NONE. */
static uint32_t find_file(const struct ww_merge_plan *plan, const char *name)
{
    for (uint32_t f = 0; f < plan->n_files; f++) {
        if (strcmp(plan->files[f].name, name) == 0) {
            return f;
        }
    }
    return WW_NONE;
}

/* Digests of weight files: first checked as they lie there, then replaced by the open
 * ones. */
static enum ww_err open_digests(const struct ww_merged *m,
                                const struct ww_merge_plan *plan,
                                const struct ww_run_options *run,
                                uint8_t (*sha256)[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_model *model = m->model;
    uint8_t(*files)[WW_SHA256_BYTES] = ww_calloc(model->n_files, sizeof(*files));
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(model->n_tensors, sizeof(*roots));
    enum ww_err rc =
        files && roots ? WW_OK : WW_FAIL_MEMORY(err, "the digests of a merge");

    for (uint32_t i = 0; i < model->n_files && !rc; i++) {
        const uint32_t f = find_file(plan, model->files[i].name);
        if (f == WW_NONE) {
            rc = WW_FAIL(err, WW_E_DIFFERS, "file '%s' is none that the recipe gives",
                         model->files[i].name);
        } else {
            memcpy(files[i], sha256[f], WW_SHA256_BYTES);
        }
    }
    if (!rc) {
        rc = ww_unlock_view_check(m->view, (const uint8_t(*)[WW_SHA256_BYTES])files, err);
    }
    if (!rc) {
        rc = ww_merge_digest_model(model, NULL, files, roots, run, err);
    }
    for (uint32_t i = 0; i < model->n_files && !rc; i++) {
        memcpy(sha256[find_file(plan, model->files[i].name)], files[i], WW_SHA256_BYTES);
    }
    ww_free(files);
    ww_free(roots);
    return rc;
}

enum ww_err ww_merged_digests(const struct ww_merged *merged,
                              const struct ww_merge_plan *plan,
                              const struct ww_run_options *run,
                              uint8_t (*sha256)[WW_SHA256_BYTES], struct ww_error *err)
{
    enum ww_err rc = hash_files(merged, plan, run, sha256, err);

    return rc || !merged->view ? rc : open_digests(merged, plan, run, sha256, err);
}
