/* SPDX-License-Identifier: Apache-2.0 */
/* What a merge says of itself: roots of its tensors, its record, the evidence of its
 * sources, and the signature over all files. */
#include <string.h>

#include "merge/merge_folder.h"
#include "util/alloc.h"
#include "util/fail.h"

/* A small file of the merge. */
static enum ww_err put(const struct ww_merge_folder_run *run, const char *name,
                       const void *bytes, size_t len, struct ww_error *err)
{
    return run->locking ? ww_merge_locking_add(run->locking, name, bytes, len, err)
                        : ww_out_add(run->out, name, bytes, len, err);
}

/* Signed when there is a signer, else plain under a name of its own. */
static enum ww_err add_statement(const struct ww_merge_folder_run *run,
                                 const struct ww_buf *payload, const char *signed_name,
                                 const char *plain_name, struct ww_error *err)
{
    const struct ww_signer *signer = run->work->options->signer;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    if (!signer) {
        return put(run, plain_name, payload->data, payload->len, err);
    }
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_bundle_sign(signer, payload->data, payload->len, &bundle, err);
    if (!rc) {
        rc = put(run, signed_name, bundle.data, bundle.len, err);
    }
    ww_buf_release(&bundle);
    return rc;
}

void ww_merge_tensor_describe(const struct ww_merge_tensor *t, struct ww_tensor *out)
{
    *out = (struct ww_tensor){
        .name = t->name, .dtype = t->dtype, .rank = t->rank, .n_elements = 1};
    for (unsigned a = 0; a < t->rank; a++) {
        out->shape[a] = t->shape[a];
        out->n_elements *= t->shape[a];
    }
    out->n_bytes = out->n_elements * (ww_dtype_bits(t->dtype) / 8);
}

static enum ww_err write_tensors(struct ww_merge_folder_run *run, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &run->work->plan;
    const char *lock = ((const struct ww_plan_impl *)plan->impl)->lock_json;
    struct ww_tensor *tensors = ww_calloc(plan->n_tensors, sizeof(*tensors));
    const struct ww_model model = {.tensors = tensors, .n_tensors = plan->n_tensors};
    struct ww_buf payload;
    enum ww_err rc = tensors ? WW_OK : WW_FAIL_MEMORY(err, "a merge");

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    for (uint32_t i = 0; i < plan->n_tensors && !rc; i++) {
        ww_merge_tensor_describe(&plan->tensors[i], &tensors[i]);
    }
    if (!rc) {
        rc = ww_tensors_statement_of(
            run->out_name, &model,
            (const uint8_t(*)[WW_SHA256_BYTES])run->result.tensor_root, lock, &payload,
            run->tree, err);
    }
    if (!rc) {
        rc = add_statement(run, &payload, WW_TENSORS_FILE, WW_TENSORS_PLAIN_FILE, err);
    }
    ww_free(tensors);
    ww_buf_release(&payload);
    return rc;
}

/* The OMS root over all files; its statement is what the signature signs. */
static enum ww_err make_oms(struct ww_merge_folder_run *run, struct ww_buf *payload,
                            struct ww_error *err)
{
    const struct ww_merge_plan *plan = &run->work->plan;

    run->files = ww_calloc(plan->n_files, sizeof(*run->files));
    if (!run->files) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    for (uint32_t i = 0; i < plan->n_files; i++) {
        run->files[i].name = plan->files[i].name;
        memcpy(run->files[i].sha256, run->result.output_sha256[i], WW_SHA256_BYTES);
    }
    return ww_oms_statement(run->out_name, run->files, plan->n_files, payload, run->root,
                            err);
}

static enum ww_err put_ancestor(void *run, const char *path, const void *bytes,
                                size_t len, struct ww_error *err)
{
    return put(run, path, bytes, len, err);
}

static enum ww_err write_record(struct ww_merge_folder_run *run, struct ww_error *err)
{
    const struct ww_record record = {.out_name = run->out_name,
                                     .files = run->files,
                                     .n_files = run->work->plan.n_files,
                                     .root = run->root,
                                     .tree = run->tree};
    struct ww_buf payload = {0};
    enum ww_err rc = ww_record_write(run->work, &record, &payload, err);

    if (!rc) {
        rc = add_statement(run, &payload, WW_PROVENANCE_FILE, WW_PROVENANCE_PLAIN_FILE,
                           err);
    }
    if (!rc) {
        rc = ww_ancestors_put(&run->work->ancestors, put_ancestor, run, err);
    }
    ww_buf_release(&payload);
    return rc;
}

enum ww_err ww_merge_write_evidence(struct ww_merge_folder_run *run, struct ww_error *err)
{
    const struct ww_signer *signer = run->work->options->signer;
    struct ww_buf oms;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&oms, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = write_tensors(run, err);
    if (!rc) {
        rc = make_oms(run, &oms, err);
    }
    if (!rc) {
        rc = write_record(run, err);
    }
    if (!rc && signer) {
        rc = ww_bundle_sign(signer, oms.data, oms.len, &bundle, err);
    }
    if (!rc && signer) {
        rc = put(run, WW_SIGNATURE_FILE, bundle.data, bundle.len, err);
        ww_hex(run->work->report->root_sha256, run->root, WW_SHA256_BYTES);
    }
    ww_buf_release(&oms);
    ww_buf_release(&bundle);
    return rc;
}
