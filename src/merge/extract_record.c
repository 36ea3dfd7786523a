/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence of an adapter: its tensor statement, from roots of the pass that wrote it, and
 * its provenance: the two models whose difference it is, by their weights. Both are read
 * once more for it, with their tensor trees; the extraction itself reads tensor by tensor
 * and sees no file whole.
 */
#include <string.h>

#include "evidence/ancestors.h"
#include "merge/extract_write.h"
#include "merge/merge_work.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct ww_extracting *x = payload;

    ww_jw_kdecimal(w, "rank", x->rank);
    ww_jw_kdouble(w, "energy", x->energy);
    ww_jw_kbool(w, "portable", x->portable);
}

/* What is kept of one model until the statement is written. */
struct side {
    struct ww_resource *files;
    uint64_t *sizes;
    uint8_t tree[WW_SHA256_BYTES];
};

static void release(struct side *s)
{
    ww_free(s->files);
    ww_free(s->sizes);
}

static enum ww_err digest(const struct ww_model *model, struct side *s,
                          const struct ww_run_options *run, struct ww_error *err)
{
    uint8_t(*files)[WW_SHA256_BYTES] = ww_calloc(model->n_files, sizeof(*files));
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(model->n_tensors, sizeof(*roots));
    struct ww_sha256 *h = NULL;
    enum ww_err rc =
        files && roots ? WW_OK : WW_FAIL_MEMORY(err, "the record of an adapter");

    s->files = ww_calloc(model->n_files, sizeof(*s->files));
    s->sizes = ww_calloc(model->n_files, sizeof(*s->sizes));
    if (!s->files || !s->sizes) {
        rc = WW_FAIL_MEMORY(err, "the record of an adapter");
    }
    if (!rc) {
        rc = ww_merge_digest_model(model, NULL, files, roots, run, err);
    }
    if (!rc) {
        rc = ww_sha256_new(&h, err);
    }
    if (!rc) {
        ww_tree_fold(h, roots, model->n_tensors, s->tree);
        ww_sha256_free(h);
        for (uint32_t f = 0; f < model->n_files; f++) {
            s->files[f].name = model->files[f].name;
            memcpy(s->files[f].sha256, files[f], WW_SHA256_BYTES);
            s->sizes[f] = model->files[f].size_bytes;
        }
    }
    ww_free(files);
    ww_free(roots);
    return rc;
}

static enum ww_err make(const struct ww_extracting *x, const struct ww_plan *plan,
                        const struct ww_stream_result *result, const char *name,
                        const struct ww_provenance_source *sources,
                        struct ww_buf *payload, struct ww_error *err)
{
    struct ww_resource *files = NULL;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_provenance p = {.build_type = WW_EXTRACT_BUILD_TYPE,
                              .name = name,
                              .root = root,
                              .tree = x->tree,
                              .external = write_external,
                              .payload = x,
                              .sources = sources,
                              .n_sources = 2};
    struct ww_buf unused;
    enum ww_err rc = ww_output_resources(plan, result, &files, &p.n_files, err);

    p.files = files;
    ww_buf_init(&unused, ww_json_limits_bundle.max_bytes);
    if (!rc) {
        rc = ww_oms_statement(name, files, p.n_files, &unused, root, err);
    }
    if (!rc) {
        rc = ww_provenance_write(&p, payload, err);
    }
    ww_buf_release(&unused);
    ww_free(files);
    return rc;
}

enum ww_err ww_extract_tensors(struct ww_extracting *x,
                               const struct ww_stream_result *result, const char *name,
                               const struct ww_signer *signer, struct ww_out *out,
                               struct ww_error *err)
{
    const struct ww_model made = {.tensors = x->tensors, .n_tensors = x->n_tensors};
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_tensors_statement_of(name, &made,
                                 (const uint8_t(*)[WW_SHA256_BYTES])result->tensor_root,
                                 NULL, &payload, x->tree, err);
    if (!rc && signer) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        const struct ww_buf *text = signer ? &bundle : &payload;
        rc = ww_out_add(out, signer ? WW_TENSORS_FILE : WW_TENSORS_PLAIN_FILE, text->data,
                        text->len, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&bundle);
    return rc;
}

static enum ww_err put(const struct ww_signer *signer, const struct ww_buf *payload,
                       const struct ww_ancestors *ancestors, struct ww_out *out,
                       struct ww_error *err)
{
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    rc = ww_bundle_sign(signer, payload->data, payload->len, &bundle, err);
    if (!rc) {
        rc = ww_out_add(out, WW_PROVENANCE_FILE, bundle.data, bundle.len, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(ancestors, ww_ancestor_into_out, out, err);
    }
    ww_buf_release(&bundle);
    return rc;
}

enum ww_err ww_extract_record(const struct ww_extracting *x, const struct ww_plan *plan,
                              const struct ww_stream_result *result, const char *name,
                              const struct ww_signer *signer, struct ww_out *out,
                              struct ww_error *err)
{
    struct side sides[2] = {{0}, {0}};
    struct ww_provenance_source sources[2] = {{0}, {0}};
    struct ww_ancestors ancestors = {0};
    struct ww_buf payload = {0};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < 2 && !rc; i++) {
        const struct ww_model *model = x->models[i];
        rc = digest(model, &sides[i], x->run, err);
        sources[i] = (struct ww_provenance_source){.name = model->name,
                                                   .files = sides[i].files,
                                                   .sizes = sides[i].sizes,
                                                   .n_files = model->n_files,
                                                   .tree = sides[i].tree};
        if (!rc) {
            rc = ww_ancestors_gather(&ancestors, model->dirfd, &sources[i].evidence, err);
        }
    }
    if (!rc) {
        rc = make(x, plan, result, name, sources, &payload, err);
    }
    if (!rc) {
        rc = put(signer, &payload, &ancestors, out, err);
    }
    ww_buf_release(&payload);
    ww_ancestors_release(&ancestors);
    release(&sides[0]);
    release(&sides[1]);
    return rc;
}
