/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one source of a sealed folder is the model that lies in it. Its digests come from
 * the pass that encrypted it. They are readable, and so is the evidence of what it was
 * made of: a chain that only recipients could walk would be no evidence for anybody else.
 */
#include "seal/seal_record.h"

#include <string.h>

#include "crypto/aead.h"
#include "seal/seal_manifest.h"
#include "util/alloc.h"
#include "util/fail.h"

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct ww_seal_record *r = payload;

    ww_jw_kstr(w, "level", "sealed");
    ww_jw_kstr(w, "cipher", ww_aead_name(r->spec->cipher));
}

static void write_internal(struct ww_jw *w, const void *payload)
{
    const struct ww_seal_record *r = payload;

    ww_jw_khex(w, "seal_id", r->spec->seal_id, WW_SEAL_ID_BYTES);
}

/* What a signature of the source would cover; weight files stand first. */
static void list_source(const struct ww_seal_record *r, struct ww_resource *files,
                        uint64_t *sizes, size_t *n)
{
    for (size_t i = 0; i < r->items->n; i++) {
        const struct ww_seal_item *item = r->items->items[i];
        const uint8_t *digest = item->action == WW_SEAL_COPY ? r->result->output_sha256[i]
                                                             : r->result->input_sha256[i];
        if (ww_is_evidence(item->from) || ww_oms_leaves_out(item->from)) {
            continue;
        }
        files[*n].name = item->from;
        memcpy(files[*n].sha256, digest, WW_SHA256_BYTES);
        sizes[(*n)++] = item->size_bytes;
    }
}

static enum ww_err sign(const struct ww_seal_record *r,
                        const struct ww_provenance_source *source, struct ww_out *out,
                        struct ww_error *err)
{
    const struct ww_provenance p = {.build_type = WW_SEAL_BUILD_TYPE,
                                    .name = r->name,
                                    .root = r->root,
                                    .files = r->files,
                                    .n_files = r->n_files,
                                    .external = write_external,
                                    .internal = write_internal,
                                    .payload = r,
                                    .sources = source,
                                    .n_sources = 1};
    struct ww_buf payload = {0};
    struct ww_buf bundle;
    enum ww_err rc = ww_provenance_write(&p, &payload, err);

    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    if (!rc) {
        rc = ww_bundle_sign(r->signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        rc = ww_out_add(out, WW_PROVENANCE_FILE, bundle.data, bundle.len, err);
    }
    ww_buf_release(&bundle);
    ww_buf_release(&payload);
    return rc;
}

enum ww_err ww_seal_record_add(const struct ww_seal_record *r, struct ww_out *out,
                               struct ww_error *err)
{
    struct ww_resource *files = ww_calloc(r->items->n, sizeof(*files));
    uint64_t *sizes = ww_calloc(r->items->n, sizeof(*sizes));
    struct ww_provenance_source source = {
        .name = r->model->name, .files = files, .sizes = sizes};
    struct ww_ancestors ancestors = {0};
    uint8_t tree[WW_SHA256_BYTES];
    enum ww_err rc =
        files && sizes ? WW_OK : WW_FAIL_MEMORY(err, "%zu files", r->items->n);

    if (!rc) {
        list_source(r, files, sizes, &source.n_files);
        rc = ww_ancestors_gather(&ancestors, r->model->dirfd, &source.evidence, err);
    }
    if (!rc &&
        ww_ancestors_tree(&ancestors, &source.evidence, files, r->model->n_files, tree)) {
        source.tree = tree;
    }
    if (!rc) {
        rc = sign(r, &source, out, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(&ancestors, ww_ancestor_into_out, out, err);
    }
    ww_ancestors_release(&ancestors);
    ww_free(files);
    ww_free(sizes);
    return rc;
}
