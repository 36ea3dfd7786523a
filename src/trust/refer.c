/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy reference for a model folder: written before the folder is signed, so that the
 * signature covers it and nobody can take it out unseen.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sign/statement.h"
#include "sign/tensors_sign.h"
#include "stream/tree.h"
#include "trust/facts.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/guard.h"

#define REFERENCE_MAX_BYTES ((size_t)1 << 20)
#define STATEMENT_MAX_BYTES ((size_t)64 << 20)

struct digests {
    uint32_t *order;
    uint32_t *rank;
    uint8_t (*files)[WW_SHA256_BYTES];
    uint8_t (*roots)[WW_SHA256_BYTES];
    uint8_t (*sorted)[WW_SHA256_BYTES];
    const struct ww_tensor **by_name;
};

static enum ww_err digest_model(const struct ww_model *model,
                                const struct ww_run_options *run, struct digests *d,
                                uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    const size_t n = model->n_tensors;
    struct ww_buf payload;
    enum ww_err rc = ww_tree_order(model, &d->order, &d->rank, err);

    ww_buf_init(&payload, STATEMENT_MAX_BYTES);
    if (rc) {
        return rc;
    }
    d->files = ww_calloc(model->n_files, sizeof(*d->files));
    d->roots = ww_calloc(n, sizeof(*d->roots));
    d->sorted = ww_calloc(n, sizeof(*d->sorted));
    d->by_name = ww_calloc(n, sizeof(*d->by_name));
    if (!d->files || !d->roots || !d->sorted || !d->by_name) {
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for digests");
    }
    rc = ww_model_digests(model, d->files, d->roots, run, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        d->by_name[d->rank[i]] = &model->tensors[i];
        memcpy(d->sorted[d->rank[i]], d->roots[i], WW_SHA256_BYTES);
    }
    rc = ww_tensors_statement("model", d->by_name,
                              (const uint8_t(*)[WW_SHA256_BYTES])d->sorted, n, NULL,
                              &payload, root, err);
    ww_buf_release(&payload);
    return rc;
}

static enum ww_err root_of_bytes(const char *path, const struct ww_run_options *run,
                                 uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_model *model = NULL;
    struct digests d = {0};
    enum ww_err rc = ww_model_open(path, &model, err);

    if (!rc) {
        rc = digest_model(model, run, &d, root, err);
    }
    ww_free(d.order);
    ww_free(d.rank);
    ww_free(d.files);
    ww_free(d.roots);
    ww_free(d.sorted);
    ww_free(d.by_name);
    ww_model_close(model);
    return rc;
}

static enum ww_err write_need(struct ww_jw *w, const char *path, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_policy policy = {0};
    char version[24];
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_POLICY, &envelope, err);

    if (!rc) {
        rc = ww_policy_read(envelope.payload.data, envelope.payload.len, &policy, err);
    }
    if (!rc) {
        snprintf(version, sizeof(version), "%llu", (unsigned long long)policy.version);
        ww_jw_object(w);
        ww_jw_kstr(w, "id", policy.id);
        ww_jw_kstr(w, "version", version);
        ww_jw_close(w);
    }
    ww_policy_release(&policy);
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_policy_refer(const char *model, bool origin, const char *const *policies,
                            size_t n_policies, const struct ww_run_options *run,
                            struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES];
    struct ww_buf text;
    struct ww_jw w;
    int fd = -1;
    enum ww_err rc = origin ? root_of_bytes(model, run, root, err) : WW_OK;

    ww_buf_init(&text, REFERENCE_MAX_BYTES);
    if (rc) {
        goto out;
    }
    ww_jw_init(&w, &text, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", "weightward.policy-reference/1");
    if (origin) {
        ww_jw_khex(&w, "origin", root, sizeof(root));
    }
    ww_jw_key(&w, "policies");
    ww_jw_array(&w);
    for (size_t i = 0; i < n_policies && !rc; i++) {
        rc = write_need(&w, policies[i], err);
    }
    if (rc) {
        goto out;
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_dir_open(model, &fd, err);
    }
    if (!rc) {
        rc = ww_file_write_at(fd, WW_POLICY_REFERENCE, text.data, text.len, 0644, false,
                              err);
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    ww_buf_release(&text);
    return rc;
}
