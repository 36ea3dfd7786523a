/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter that follows its base into a lock is locked as the base is, and says of what
 * it was made in the same way: its one source is the adapter before, by the digests of
 * the pass that carried it. Roots of its tensors are from that pass too.
 */
#include "lock/carry_record.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static void write_external(struct ww_jw *w, const void *payload)
{
    (void)payload;
    ww_jw_kstr(w, "level", "exact");
    ww_jw_kbool(w, "adapter", true);
}

static void write_internal(struct ww_jw *w, const void *payload)
{
    const struct ww_carry_record *r = payload;

    ww_jw_khex(w, "lock_id", r->lock_id, WW_SHA256_BYTES);
    ww_jw_khex(w, "base", r->base, WW_SHA256_BYTES);
}

static enum ww_err sign(const struct ww_carry_record *r, const struct ww_buf *payload,
                        const char *path, struct ww_out *out, struct ww_error *err)
{
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_bundle_sign(r->signer, payload->data, payload->len, &bundle, err);
    if (!rc) {
        rc = ww_out_add(out, path, bundle.data, bundle.len, err);
    }
    ww_buf_release(&bundle);
    return rc;
}

static enum ww_err write_tensors(const struct ww_carry_record *r, struct ww_out *out,
                                 uint8_t tree[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_model made = {.tensors = r->adapter->tensors,
                                  .n_tensors = r->adapter->n_tensors};
    struct ww_buf payload;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    rc = ww_tensors_statement_of(
        r->name, &made, (const uint8_t(*)[WW_SHA256_BYTES])r->result->tensor_root, NULL,
        &payload, tree, err);
    if (!rc) {
        rc = sign(r, &payload, WW_TENSORS_FILE, out, err);
    }
    ww_buf_release(&payload);
    return rc;
}

/* The side files of the adapter are the same in both folders. */
static void list_source(const struct ww_carry_record *r, struct ww_resource *files,
                        uint64_t *sizes, size_t *n)
{
    for (uint32_t i = 0; i < r->plan->n_outputs; i++) {
        const char *path = r->plan->outputs[i].path;
        if (ww_is_evidence(path) || ww_oms_leaves_out(path)) {
            continue;
        }
        files[*n].name = path;
        memcpy(files[*n].sha256,
               i == 0 ? r->result->input_sha256[0] : r->result->output_sha256[i],
               WW_SHA256_BYTES);
        sizes[(*n)++] = r->plan->outputs[i].size_bytes;
    }
}

static enum ww_err write_provenance(const struct ww_carry_record *r,
                                    const struct ww_provenance_source *source,
                                    const uint8_t *tree, struct ww_out *out,
                                    struct ww_error *err)
{
    struct ww_resource *files = NULL;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_provenance p = {.build_type = WW_LOCK_BUILD_TYPE,
                              .name = r->name,
                              .root = root,
                              .tree = tree,
                              .external = write_external,
                              .internal = write_internal,
                              .payload = r,
                              .sources = source,
                              .n_sources = 1};
    struct ww_buf payload = {0};
    struct ww_buf unused;
    enum ww_err rc = ww_output_resources(r->plan, r->result, &files, &p.n_files, err);

    ww_buf_init(&unused, ww_json_limits_bundle.max_bytes);
    p.files = files;
    if (!rc) {
        rc = ww_oms_statement(r->name, files, p.n_files, &unused, root, err);
    }
    if (!rc) {
        rc = ww_provenance_write(&p, &payload, err);
    }
    if (!rc) {
        rc = sign(r, &payload, WW_PROVENANCE_FILE, out, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&unused);
    ww_free(files);
    return rc;
}

enum ww_err ww_carry_record_add(const struct ww_carry_record *r, struct ww_out *out,
                                struct ww_error *err)
{
    struct ww_resource *files = ww_calloc(r->plan->n_outputs, sizeof(*files));
    uint64_t *sizes = ww_calloc(r->plan->n_outputs, sizeof(*sizes));
    char *name = NULL;
    struct ww_provenance_source source = {.files = files, .sizes = sizes};
    struct ww_ancestors ancestors = {0};
    uint8_t before[WW_SHA256_BYTES];
    uint8_t tree[WW_SHA256_BYTES];
    enum ww_err rc = files && sizes ? ww_path_last(r->adapter->path, &name, err)
                                    : WW_FAIL_MEMORY(err, "files");

    if (!rc) {
        source.name = name;
        list_source(r, files, sizes, &source.n_files);
        rc = ww_ancestors_gather(&ancestors, r->adapter->dirfd, &source.evidence, err);
    }
    if (!rc && ww_ancestors_tree(&ancestors, &source.evidence, files, 1, before)) {
        source.tree = before;
    }
    if (!rc) {
        rc = write_tensors(r, out, tree, err);
    }
    if (!rc) {
        rc = write_provenance(r, &source, tree, out, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(&ancestors, ww_ancestor_into_out, out, err);
    }
    ww_ancestors_release(&ancestors);
    ww_free(name);
    ww_free(files);
    ww_free(sizes);
    return rc;
}
