/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge is computed once, as the lock reads it. Digests of the open files, roots of
 * the open tensors and digests of the sources come from that run, so the evidence of the
 * open model is written when the weights are locked, and the lock sets it aside then.
 */
#include "merge/merge_lock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lock/lock_model.h"
#include "merge/engine.h"
#include "stream/cpus.h"
#include "stream/made.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "weightward/evidence.h"

#define OPEN_DIR "open"
#define COPY_BLOCK ((size_t)64 << 10)

struct ww_merge_locking {
    struct ww_work *work;
    const char *out_path;
    char *path; /* the open folder */
    int dirfd;
    struct ww_merge_engine engine;
    struct ww_made *made;
    struct ww_model *model;              /* the open folder */
    struct ww_input_tree *trees;         /* per weight file of model */
    const struct ww_input_tree **wanted; /* the same, as the lock takes them */
    uint32_t *order;                     /* of model's tensors by name, and ranks */
    uint32_t *ranks;
    uint8_t (*roots)[WW_SHA256_BYTES];
    struct ww_strlist *added; /* evidence so far, while it is made */
    struct ww_merge_result *result;
    const struct ww_merge_evidence *evidence;
};

static enum ww_err check_key(const struct ww_work *work, struct ww_error *err)
{
    static const uint8_t none[WW_SHA256_BYTES];
    const struct ww_key_binding *binding = work->options->lock->binding;

    if (work->plan.locked) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
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

/* The folder that a file of this path lies in. */
static enum ww_err make_parent(int dirfd, const char *path, struct ww_error *err)
{
    const char *base = ww_path_base(path);
    char *folder = NULL;
    enum ww_err rc = WW_OK;

    if (base == path) {
        return WW_OK;
    }
    folder = ww_strndup(path, (size_t)(base - path) - 1);
    rc =
        folder ? ww_mkdirs_at(dirfd, folder, err) : WW_FAIL_MEMORY(err, "a locked merge");
    ww_free(folder);
    return rc;
}

/* A file that goes along as it is. */
static enum ww_err copy_file(const struct ww_merge_locking *l,
                             const struct ww_merge_file *file, int fd,
                             struct ww_error *err)
{
    const struct ww_merge_plan *plan = &l->work->plan;
    const uint64_t n = plan->inputs[file->copied].size_bytes;
    uint8_t block[COPY_BLOCK];
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += sizeof(block)) {
        const size_t len = (size_t)ww_min_u64(sizeof(block), n - at);
        rc = ww_merge_input_read(plan, file->copied, block, len, at, err);
        if (!rc) {
            rc = ww_pwrite_full(fd, block, len, at, file->name, err);
        }
    }
    return rc;
}

/* A weight file of the full size, of which only the header is there; a file beside the
 * weights is all header, or copied. */
static enum ww_err hollow_file(const struct ww_merge_locking *l,
                               const struct ww_merge_file *file, struct ww_error *err)
{
    uint64_t size = file->header_bytes;
    enum ww_err rc = make_parent(l->dirfd, file->name, err);
    int fd = -1;

    if (!rc) {
        rc = ww_file_write_at(l->dirfd, file->name, file->header, file->header_bytes,
                              0644, false, err);
    }
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const struct ww_merge_tensor *t = &l->work->plan.tensors[file->first_tensor + i];
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
    if (!rc && file->copied_sha256) {
        rc = copy_file(l, file, fd, err);
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
        rc = WW_FAIL_MEMORY(err, "a locked merge");
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
    enum ww_err rc = l ? check_key(work, err) : WW_FAIL_MEMORY(err, "a locked merge");

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
    ww_model_close(l->model);
    ww_free(l->trees);
    ww_free(l->wanted);
    ww_free(l->order);
    ww_free(l->ranks);
    ww_free(l->roots);
    if (l->dirfd >= 0) {
        close(l->dirfd);
    }
    ww_free(l->path);
    ww_free(l);
}

enum ww_err ww_merge_locking_add(struct ww_merge_locking *l, const char *path,
                                 const void *bytes, size_t len, struct ww_error *err)
{
    enum ww_err rc = make_parent(l->dirfd, path, err);

    if (!rc) {
        rc = ww_file_write_at(l->dirfd, path, bytes, len, 0644, true, err);
    }
    if (!rc) {
        rc = ww_strlist_add(l->added, path, err);
    }
    return rc;
}

/* Weight files of the opened folder are computed when they are read. */
static enum ww_err fill(struct ww_merge_locking *l, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &l->work->plan;
    const struct ww_run_options *run = &l->work->options->run;
    struct ww_model *model = l->model;
    enum ww_err rc = ww_merge_check(plan, err);

    if (rc) {
        return rc;
    }
    l->engine = (struct ww_merge_engine){.plan = plan,
                                         .threads = ww_threads_wanted(run),
                                         .memory = run->memory_bytes ? run->memory_bytes
                                                                     : WW_DEFAULT_MEMORY};
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

/* Roots of the open tensors, for the statement about them. */
static enum ww_err want_roots(struct ww_merge_locking *l, struct ww_error *err)
{
    const struct ww_model *model = l->model;
    enum ww_err rc = ww_tree_order(model, &l->order, &l->ranks, err);

    l->roots = ww_calloc(model->n_tensors, sizeof(*l->roots));
    l->trees = ww_calloc(model->n_files, sizeof(*l->trees));
    l->wanted = ww_calloc(model->n_files, sizeof(*l->wanted));
    if (rc || !l->roots || !l->trees || !l->wanted) {
        return rc ? rc : WW_FAIL_MEMORY(err, "a locked merge");
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        const struct ww_weight_file *file = &model->files[f];
        l->trees[f] = (struct ww_input_tree){
            &model->tensors[file->first_tensor], l->ranks + file->first_tensor,
            file->n_tensors, l->roots + file->first_tensor};
        l->wanted[f] = &l->trees[f];
    }
    return WW_OK;
}

/* What a run of the plan would have said. */
static enum ww_err take_result(struct ww_merge_locking *l,
                               const uint8_t (*model_sha256)[WW_SHA256_BYTES],
                               const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                               struct ww_error *err)
{
    const struct ww_merge_plan *plan = &l->work->plan;
    struct ww_merge_result *r = l->result;

    r->output_sha256 = ww_calloc(plan->n_files, WW_SHA256_BYTES);
    r->input_sha256 = ww_calloc(plan->n_inputs, WW_SHA256_BYTES);
    r->tensor_root = ww_calloc(plan->n_tensors, WW_SHA256_BYTES);
    if (!r->output_sha256 || !r->input_sha256 || !r->tensor_root) {
        return WW_FAIL_MEMORY(err, "a locked merge");
    }
    memcpy(r->input_sha256, input_sha256, plan->n_inputs * (size_t)WW_SHA256_BYTES);
    enum ww_err rc = ww_merge_check_copied(plan, input_sha256, err);
    if (rc) {
        return rc;
    }
    for (uint32_t f = 0; f < plan->n_files; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        if (file->copied_sha256) {
            memcpy(r->output_sha256[f], file->copied_sha256, WW_SHA256_BYTES);
        } else {
            ww_sha256_of(file->header, file->header_bytes, r->output_sha256[f]);
        }
        for (uint32_t i = 0; i < l->model->n_files; i++) {
            if (strcmp(l->model->files[i].name, file->name) == 0) {
                memcpy(r->output_sha256[f], model_sha256[i], WW_SHA256_BYTES);
            }
        }
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const uint32_t at = ww_model_find(l->model, plan->tensors[t].name);
        if (at == WW_NONE) {
            return WW_FAIL(err, WW_E_INTERNAL, "tensor '%.200s' is not in its own merge",
                           plan->tensors[t].name);
        }
        memcpy(r->tensor_root[t], l->roots[at], WW_SHA256_BYTES);
    }
    return WW_OK;
}

/* Bill of materials of the open merge, which the lock sets aside with the rest. As with
 * any other, what is in the way is said and fails nothing. */
static enum ww_err add_bill(struct ww_merge_locking *l, struct ww_error *err)
{
    const struct ww_signer *signer = l->work->options->signer;
    struct ww_error why = {0};
    enum ww_err rc = WW_OK;

    if (!signer) {
        return WW_OK;
    }
    if (ww_bom_attach(l->path, signer, &why)) {
        char *text = ww_asprintf("no bill of materials of the open merge: %s", why.text);
        rc = text ? ww_strlist_add(&l->work->warnings, text, err)
                  : WW_FAIL_MEMORY(err, "a locked merge");
        ww_free(text);
        return rc;
    }
    rc = ww_strlist_add(l->added, WW_BOM_FILE, err);
    return rc ? rc : ww_strlist_add(l->added, WW_BOM_SIGNED_FILE, err);
}

static enum ww_err make_evidence(void *payload,
                                 const uint8_t (*model_sha256)[WW_SHA256_BYTES],
                                 const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                 struct ww_strlist *paths, struct ww_error *err)
{
    struct ww_merge_locking *l = payload;
    enum ww_err rc = take_result(l, model_sha256, input_sha256, err);

    l->added = paths;
    if (!rc) {
        rc = l->evidence->make(l->evidence->payload, err);
    }
    return rc ? rc : add_bill(l, err);
}

static enum ww_err lock(struct ww_merge_locking *l, struct ww_error *err)
{
    const struct ww_merge_options *options = l->work->options;
    struct ww_merge_report *told = l->work->report;
    const struct ww_lock_options how = {.secret = options->lock->secret,
                                        .binding = options->lock->binding,
                                        .signer = options->signer,
                                        .scale_if_room = true, /* as 'lock' by itself */
                                        .run = options->run};
    /* The sources as the merge's own run would hash them: the first inputs of its plan.
     */
    const struct ww_lock_late late = {.model_trees = l->wanted,
                                      .inputs = l->engine.stream.inputs,
                                      .readers = l->engine.readers,
                                      .trees = l->engine.trees,
                                      .n_inputs = l->work->plan.n_inputs,
                                      .make = make_evidence,
                                      .payload = l};
    struct ww_lock_report report = {0};
    enum ww_err rc = ww_lock_model(l->model, l->out_path, &how, &late, &report, err);

    if (!rc) {
        memcpy(told->root_sha256, report.root_sha256, sizeof(told->root_sha256));
        memcpy(told->lock_id, report.lock_id, sizeof(told->lock_id));
        told->run = report.run;
    }
    ww_lock_report_release(&report);
    return rc;
}

enum ww_err ww_merge_locking_run(struct ww_merge_locking *l,
                                 const struct ww_merge_evidence *evidence,
                                 struct ww_merge_result *result, struct ww_error *err)
{
    enum ww_err rc = ww_model_open(l->path, &l->model, err);

    l->evidence = evidence;
    l->result = result;
    if (!rc) {
        rc = fill(l, err);
    }
    if (!rc) {
        rc = want_roots(l, err);
    }
    return rc ? rc : lock(l, err);
}
