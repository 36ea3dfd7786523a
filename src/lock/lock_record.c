/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one source of a lock is the model that was locked, by the digests that were made
 * while it streamed past. The key is in none of this; the lock id is public.
 */
#include "lock/lock_record.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct ww_lock_record *r = payload;

    ww_jw_kstr(w, "level", r->level);
    ww_jw_kbool(w, "scale", r->scale);
}

static void write_internal(struct ww_jw *w, const void *payload)
{
    const struct ww_lock_record *r = payload;

    ww_jw_khex(w, "lock_id", r->lock_id, WW_SHA256_BYTES);
    ww_jw_kstr(w, "descriptor", r->descriptor);
}

/* Weight files and the side files that a model signature would cover. */
static void list_source(const struct ww_lock_record *r, struct ww_resource *files,
                        uint64_t *sizes, size_t *n)
{
    const uint32_t n_files = r->model->n_files;

    for (uint32_t f = 0; f < n_files; f++) {
        files[*n].name = r->model->files[f].name;
        memcpy(files[*n].sha256, r->result->input_sha256[f], WW_SHA256_BYTES);
        sizes[(*n)++] = r->model->files[f].size_bytes;
    }
    for (uint32_t i = 0; i < r->plan->n_sides; i++) {
        const struct ww_side_copy *side = &r->plan->sides[i];
        if (ww_is_evidence(side->from) || ww_oms_leaves_out(side->from)) {
            continue;
        }
        files[*n].name = side->from;
        memcpy(files[*n].sha256, r->result->output_sha256[n_files + i], WW_SHA256_BYTES);
        sizes[(*n)++] = side->size_bytes;
    }
}

/* The locked folder's own files and their root. */
static enum ww_err list_outputs(const struct ww_lock_record *r, struct ww_resource **out,
                                size_t *n, uint8_t root[WW_SHA256_BYTES],
                                struct ww_error *err)
{
    struct ww_buf unused;
    enum ww_err rc = ww_output_resources(&r->plan->plan, r->result, out, n, err);

    ww_buf_init(&unused, ww_json_limits_bundle.max_bytes);
    if (!rc) {
        rc = ww_oms_statement(r->name, *out, *n, &unused, root, err);
    }
    ww_buf_release(&unused);
    return rc;
}

static enum ww_err make(const struct ww_lock_record *r,
                        const struct ww_provenance_source *source, struct ww_buf *payload,
                        struct ww_error *err)
{
    struct ww_resource *outputs = NULL;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_provenance p = {.build_type = WW_LOCK_BUILD_TYPE,
                              .name = r->name,
                              .root = root,
                              .tree = r->tree,
                              .external = write_external,
                              .internal = write_internal,
                              .payload = r,
                              .sources = source,
                              .n_sources = 1};
    enum ww_err rc = list_outputs(r, &outputs, &p.n_files, root, err);

    p.files = outputs;
    if (!rc) {
        rc = ww_provenance_write(&p, payload, err);
    }
    ww_free(outputs);
    return rc;
}

static enum ww_err put(const struct ww_lock_record *r, const struct ww_buf *payload,
                       struct ww_out *out, struct ww_error *err)
{
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    if (!r->signer) {
        return ww_out_add(out, WW_PROVENANCE_PLAIN_FILE, payload->data, payload->len,
                          err);
    }
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_bundle_sign(r->signer, payload->data, payload->len, &bundle, err);
    if (!rc) {
        rc = ww_out_add(out, WW_PROVENANCE_FILE, bundle.data, bundle.len, err);
    }
    ww_buf_release(&bundle);
    return rc;
}

enum ww_err ww_lock_record_add(const struct ww_lock_record *r, struct ww_out *out,
                               struct ww_error *err)
{
    const size_t most = (size_t)r->model->n_files + r->plan->n_sides;
    struct ww_resource *files = ww_calloc(most, sizeof(*files));
    uint64_t *sizes = ww_calloc(most, sizeof(*sizes));
    struct ww_provenance_source source = {
        .name = r->model->name, .files = files, .sizes = sizes};
    struct ww_ancestors ancestors = {0};
    struct ww_buf payload = {0};
    uint8_t tree[WW_SHA256_BYTES];
    enum ww_err rc = files && sizes ? WW_OK : WW_FAIL_MEMORY(err, "%zu files", most);

    if (!rc) {
        list_source(r, files, sizes, &source.n_files);
        rc = ww_ancestors_gather(&ancestors, r->model->dirfd, &source.evidence, err);
    }
    if (!rc &&
        ww_ancestors_tree(&ancestors, &source.evidence, files, r->model->n_files, tree)) {
        source.tree = tree;
    }
    if (!rc) {
        rc = make(r, &source, &payload, err);
    }
    if (!rc) {
        rc = put(r, &payload, out, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(&ancestors, ww_ancestor_into_out, out, err);
    }
    ww_buf_release(&payload);
    ww_ancestors_release(&ancestors);
    ww_free(files);
    ww_free(sizes);
    return rc;
}
