/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold before a locked model is read as the open one: key check and MAC first,
 * then names, shapes and sizes; and afterwards the digests of what was read.
 */
#include "lock/unlock_open.h"

#include <string.h>

#include "lock/draw.h"
#include "lock/key_binding.h"
#include "lock/lock_paths.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

void ww_unlock_release(struct ww_unlock *run)
{
    ww_lock_plan_release(&run->plan);
    ww_dense_run_release(&run->dense);
    ww_gauge_release(&run->gauge);
    ww_layout_free(run->layout);
    ww_manifest_release(&run->manifest);
    ww_secret_free(run->copy);
    ww_secret_free(run->prk);
    ww_tensors_release(&run->statement);
}

enum ww_err ww_unlock_read(struct ww_unlock *run, struct ww_error *err)
{
    bool found = false;
    enum ww_err rc = ww_lock_statement(run->model, &run->statement, &found, err);

    if (rc || !run->statement.lock) {
        return rc;
    }
    rc = ww_draw_root(run->options->secret, &run->prk, err);
    if (!rc) {
        rc = ww_manifest_read(run->statement.lock, run->options->secret, run->prk,
                              &run->manifest, err);
    }
    if (!rc) {
        rc = ww_binding_allows_unlock(run->options->binding, &run->manifest, err);
    }
    return rc;
}

enum ww_err ww_unlock_open(struct ww_unlock *run, struct ww_error *err)
{
    const enum ww_err rc = ww_unlock_read(run, err);

    if (!rc && !run->statement.lock) {
        return WW_FAIL(err, WW_E_MANIFEST,
                       "model '%s' is not locked: it carries no lock "
                       "manifest",
                       run->model->path);
    }
    return rc;
}

const struct ww_lock_file *ww_lock_file_find(const struct ww_lock_file *files, size_t n,
                                             const char *path)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(files[i].path, path) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

static bool same_tensor(const struct ww_tensor *t, const struct ww_tensor_item *item)
{
    return strcmp(ww_dtype_name(t->dtype), item->dtype) == 0 && t->rank == item->rank &&
           memcmp(t->shape, item->shape, t->rank * sizeof(t->shape[0])) == 0;
}

static enum ww_err match_tensors(const struct ww_unlock *run, struct ww_error *err)
{
    const struct ww_tensor_statement *statement = &run->statement;

    if (statement->n_items != run->model->n_tensors) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "the lock manifest lists %zu tensors, the model "
                       "has %u",
                       statement->n_items, run->model->n_tensors);
    }
    for (size_t i = 0; i < statement->n_items; i++) {
        const struct ww_tensor_item *item = &statement->items[i];
        const uint32_t t = ww_model_find(run->model, item->name);
        if (t == WW_NONE || !same_tensor(&run->model->tensors[t], item)) {
            return WW_FAIL(err, WW_E_WRONG_MODEL,
                           "tensor '%s' of the lock manifest %s in the model", item->name,
                           t == WW_NONE ? "is not" : "has another shape or dtype");
        }
    }
    return WW_OK;
}

/* Weight files by name and size, here and in the source. */
static enum ww_err match_files(const struct ww_unlock *run, struct ww_error *err)
{
    const struct ww_manifest *m = &run->manifest;

    if (m->n_locked != run->model->n_files) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "the lock manifest lists %zu weight files, the "
                       "model has %u",
                       m->n_locked, run->model->n_files);
    }
    for (uint32_t f = 0; f < run->model->n_files; f++) {
        const struct ww_weight_file *file = &run->model->files[f];
        const struct ww_lock_file *locked =
            ww_lock_file_find(m->locked, m->n_locked, file->name);
        const struct ww_lock_file *source =
            ww_lock_file_find(m->source, m->n_source, file->name);
        if (!locked || !source || locked->size_bytes != file->size_bytes ||
            source->size_bytes != file->size_bytes) {
            return WW_FAIL(err, WW_E_WRONG_MODEL,
                           "weight file '%s' of %llu bytes is not in the lock manifest",
                           file->name, (unsigned long long)file->size_bytes);
        }
    }
    return WW_OK;
}

static enum ww_err resolve(struct ww_unlock *run, struct ww_error *err)
{
    const struct ww_manifest *m = &run->manifest;
    struct ww_layout_options layout = run->options->layout;
    enum ww_err rc = WW_OK;

    if (!layout.descriptor) {
        layout.descriptor = m->descriptor;
    }
    rc = ww_layout_resolve(run->model, &layout, &run->layout, err);
    if (!rc && memcmp(run->layout->descriptor_sha256, m->descriptor_sha256,
                      WW_SHA256_BYTES) != 0) {
        rc = ww_lines_add(
            &run->report->warnings, &run->report->n_warnings, err,
            "descriptor '%s' is not the one that the model was locked with; the "
            "digests will tell whether it still fits",
            run->layout->descriptor);
    }
    return rc;
}

/* Level dense: the matrices, and the residual, which must be the one of this lock. */
static enum ww_err add_matrices(struct ww_unlock *run, struct ww_error *err)
{
    const struct ww_manifest *m = &run->manifest;
    enum ww_err rc =
        ww_dense_run_init(&run->dense, &run->gauge, m->dense.condition, true, err);

    if (!rc) {
        rc = ww_residual_source_open(run->model->dirfd, run->gauge.prk,
                                     m->dense.residual_bytes, m->residual_sha256,
                                     &run->dense.source, err);
    }
    if (!rc && ww_residual_source_sections(run->dense.source) != run->dense.n_sections) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                     "the residual is of %u tensors, the model has %u that a dense lock "
                     "mixes",
                     ww_residual_source_sections(run->dense.source),
                     run->dense.n_sections);
    }
    if (!rc) {
        run->report->dense = m->dense;
        rc = ww_dense_block_moves(run->layout, m->scale, &run->report->blocks,
                                  &run->report->n_blocks, err);
    }
    return rc;
}

static enum ww_err find_moves(struct ww_unlock *run, struct ww_error *err)
{
    if (run->manifest.dense.used) {
        return add_matrices(run, err);
    }
    return ww_lock_moves(run->layout, run->manifest.scale, &run->report->blocks,
                         &run->report->n_blocks, err);
}

enum ww_err ww_unlock_gauge(struct ww_unlock *run, struct ww_error *err)
{
    const enum ww_err rc = resolve(run, err);

    return rc ? rc
              : ww_manifest_gauge(&run->manifest, run->layout, run->options->secret,
                                  &run->copy, &run->gauge, err);
}

enum ww_err ww_unlock_prepare(struct ww_unlock *run, struct ww_error *err)
{
    enum ww_err rc = match_tensors(run, err);

    if (!rc) {
        rc = match_files(run, err);
    }
    if (!rc) {
        rc = ww_unlock_gauge(run, err);
    }
    if (!rc) {
        rc = find_moves(run, err);
    }
    run->job =
        (struct ww_lock_job){.gauge = &run->gauge,
                             .inverse = true,
                             .dense = run->manifest.dense.used ? &run->dense.job : NULL,
                             .dense_condition = run->manifest.dense.condition};
    return rc;
}

/* Tree root of a tensor as it lies in the locked file. */
/* A weight file that is not as locked: which tensors differ? All of them: it is another
 * model's. Reads the file once more, on this way out only. */
static enum ww_err blame_tensor(const struct ww_unlock *run, uint32_t f,
                                struct ww_error *err)
{
    const struct ww_weight_file *file = &run->model->files[f];
    uint8_t *buffer = ww_calloc(1, WW_TREE_CHUNK);
    struct ww_tree_tensor *tree = NULL;
    const char *first = NULL;
    uint32_t n_differ = 0;
    uint32_t n_here = 0;
    enum ww_err rc = WW_OK;

    if (!buffer) {
        return WW_FAIL_MEMORY(err, "a comparison");
    }
    rc = ww_tree_tensor_new(&tree, err);
    for (uint32_t k = 0; k < run->statement.n_items && !rc; k++) {
        const struct ww_tensor_item *item = &run->statement.items[k];
        const uint32_t t = ww_model_find(run->model, item->name);
        uint8_t root[WW_SHA256_BYTES];
        if (run->model->tensors[t].file != f) {
            continue;
        }
        rc = ww_tree_tensor_read(tree, run->model, t, k, buffer, root, err);
        n_here++;
        if (!rc && memcmp(root, item->root, sizeof(root)) != 0) {
            first = first ? first : item->name;
            n_differ++;
        }
    }
    ww_tree_tensor_free(tree);
    ww_free(buffer);
    if (rc) {
        return rc;
    }
    if (n_differ == n_here && n_here > 1) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "no tensor of '%s' is the one in the lock "
                       "manifest: it belongs to other weights",
                       file->name);
    }
    return WW_FAIL(err, WW_E_DAMAGED, "file '%s' is not as it was locked: %s%s%s",
                   file->name, first ? "tensor '" : "its header", first ? first : "",
                   first ? "' was changed" : " was changed");
}

enum ww_err ww_unlock_check_locked(const struct ww_unlock *run,
                                   const uint8_t (*sha256)[WW_SHA256_BYTES],
                                   struct ww_error *err)
{
    const struct ww_manifest *m = &run->manifest;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < run->model->n_files && !rc; f++) {
        const struct ww_lock_file *locked =
            ww_lock_file_find(m->locked, m->n_locked, run->model->files[f].name);
        if (memcmp(locked->sha256, sha256[f], WW_SHA256_BYTES) != 0) {
            rc = blame_tensor(run, f, err);
        }
    }
    return rc;
}
