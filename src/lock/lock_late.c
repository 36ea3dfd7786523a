/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The weights of such a model are read once, by the lock; the digests of the open files
 * and the roots of the open tensors come from that reading, and so does what is said
 * about them. Nothing that is covered by the lock's signature has to wait: evidence of
 * the open model is set aside, and named in the manifest, which is written last anyway.
 */
#include "lock/lock_late.h"

#include <string.h>

#include "json/json.h"
#include "sign/statement.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

enum ww_err ww_lock_late_plan(const struct ww_lock_late *late, struct ww_lock_plan *plan,
                              struct ww_error *err)
{
    const uint32_t n = plan->plan.n_inputs;
    const size_t all = (size_t)n + late->n_inputs;
    void *inputs = ww_realloc_array(plan->plan.inputs, all, sizeof(*plan->plan.inputs));

    if (!inputs) {
        return WW_FAIL_MEMORY(err, "the evidence of a model");
    }
    plan->plan.inputs = inputs;
    void *readers = ww_realloc_array(plan->readers, all, sizeof(*plan->readers));
    if (!readers) {
        return WW_FAIL_MEMORY(err, "the evidence of a model");
    }
    plan->readers = readers;
    plan->plan.readers = plan->readers;
    plan->trees = ww_calloc(all, sizeof(*plan->trees));
    if (!plan->trees) {
        return WW_FAIL_MEMORY(err, "the evidence of a model");
    }
    plan->plan.input_trees = plan->trees;
    for (uint32_t f = 0; f < plan->layout->model->n_files; f++) {
        plan->trees[f] = late->model_trees[f];
    }
    for (uint32_t i = 0; i < late->n_inputs; i++) {
        plan->plan.inputs[n + i] = late->inputs[i];
        plan->readers[n + i] = late->readers[i];
        plan->trees[n + i] = late->trees[i];
    }
    plan->plan.n_inputs = (uint32_t)all;
    return WW_OK;
}

/* One file of the model's folder into the output, beside its other evidence. */
static enum ww_err set_aside(int dirfd, const char *name, struct ww_out *out,
                             struct ww_lock_file *file, struct ww_error *err)
{
    char *to = ww_asprintf("%s%s", WW_SET_ASIDE_DIR, name);
    struct ww_buf bytes;
    enum ww_err rc = to ? WW_OK : WW_FAIL_MEMORY(err, "the evidence of a model");

    ww_buf_init(&bytes, ww_json_limits_bundle.max_bytes);
    if (!rc && !ww_is_evidence(name)) {
        rc = WW_FAIL(err, WW_E_INTERNAL, "file '%s' came late and is no evidence", name);
    }
    if (!rc) {
        rc = ww_file_read_at(dirfd, name, WW_LINKS_REFUSE, &bytes, err);
    }
    if (!rc) {
        rc = ww_out_add(out, to, bytes.data, bytes.len, err);
    }
    if (!rc) {
        *file = (struct ww_lock_file){name, bytes.len, {0}};
        ww_sha256_of(bytes.data, bytes.len, file->sha256);
    }
    ww_buf_release(&bytes);
    ww_free(to);
    return rc;
}

enum ww_err ww_lock_late_take(const struct ww_lock_late *late,
                              const struct ww_lock_plan *plan,
                              const struct ww_stream_result *result, struct ww_out *out,
                              struct ww_late_files *files, struct ww_error *err)
{
    const struct ww_model *model = plan->layout->model;
    const uint32_t own = plan->plan.n_inputs - late->n_inputs;
    enum ww_err rc =
        late->make(late->payload, (const uint8_t(*)[WW_SHA256_BYTES])result->input_sha256,
                   (const uint8_t(*)[WW_SHA256_BYTES])result->input_sha256 + own,
                   &files->names, err);

    if (rc) {
        return rc;
    }
    files->files = ww_calloc(files->names.n, sizeof(*files->files));
    if (!files->files) {
        return WW_FAIL_MEMORY(err, "the evidence of a model");
    }
    for (; files->n < files->names.n && !rc; files->n++) {
        rc = set_aside(model->dirfd, files->names.items[files->n], out,
                       &files->files[files->n], err);
    }
    return rc;
}

void ww_late_files_release(struct ww_late_files *files)
{
    ww_strlist_release(&files->names);
    ww_free(files->files);
    memset(files, 0, sizeof(*files));
}
