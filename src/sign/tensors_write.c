/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the tensor statement. Its root does not depend on shards or headers, so it is
 * what names a model across re-sharding; the count is signed beside it, since a tree of
 * one tensor has that tensor's root.
 */
#include <string.h>

#include "sign/oms.h"
#include "sign/tensors.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err fold_roots(const uint8_t (*roots)[WW_SHA256_BYTES], size_t n,
                              uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t(*copy)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*copy));
    struct ww_sha256 *h = NULL;
    enum ww_err rc = WW_OK;

    if (!copy) {
        rc = WW_FAIL_MEMORY(err, "%zu digests", n);
        goto out;
    }
    rc = ww_sha256_new(&h, err);
    if (rc) {
        goto out;
    }
    memcpy(copy, roots, n * sizeof(*copy));
    ww_tree_fold(h, copy, n, out);
out:
    ww_sha256_free(h);
    ww_free(copy);
    return rc;
}

static void write_item(struct ww_jw *w, const struct ww_tensor *tensor,
                       const uint8_t root[WW_SHA256_BYTES])
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", tensor->name);
    ww_jw_kstr(w, "dtype", ww_dtype_name(tensor->dtype));
    ww_jw_key(w, "shape");
    ww_jw_array(w);
    for (unsigned i = 0; i < tensor->rank; i++) {
        ww_jw_u64(w, tensor->shape[i]);
    }
    ww_jw_close(w);
    ww_jw_ku64(w, "bytes", tensor->n_bytes);
    ww_jw_khex(w, "root", root, WW_SHA256_BYTES);
    ww_jw_close(w);
}

static void write_predicate(struct ww_jw *w, const struct ww_rooted_tensors *tensors,
                            const uint8_t model_root[WW_SHA256_BYTES],
                            const char *lock_json)
{
    ww_jw_object(w);
    ww_jw_key(w, "tensors");
    ww_jw_object(w);
    ww_jw_kstr(w, "algorithm", WW_TENSORS_ALGORITHM);
    ww_jw_ku64(w, "chunk", WW_TREE_CHUNK);
    ww_jw_ku64(w, "count", tensors->n);
    ww_jw_khex(w, "root", model_root, WW_SHA256_BYTES);
    ww_jw_key(w, "items");
    ww_jw_array(w);
    for (size_t i = 0; i < tensors->n; i++) {
        write_item(w, tensors->by_name[i], tensors->roots[i]);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    if (lock_json) {
        ww_jw_key(w, "lock");
        ww_jw_raw(w, lock_json);
    }
    ww_jw_close(w);
}

enum ww_err ww_tensors_statement(const char *model_name,
                                 const struct ww_rooted_tensors *tensors,
                                 const char *lock_json, struct ww_buf *payload,
                                 uint8_t model_root[WW_SHA256_BYTES],
                                 struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    if (tensors->n == 0) {
        return WW_FAIL(err, WW_E_TENSOR, "model '%s' has no tensor", model_name);
    }
    for (size_t i = 1; i < tensors->n; i++) {
        const char *name = tensors->by_name[i]->name;
        if (strcmp(tensors->by_name[i - 1]->name, name) >= 0) {
            return WW_FAIL(err, WW_E_USAGE, "tensor '%s' is out of order", name);
        }
    }
    rc = fold_roots(tensors->roots, tensors->n, model_root, err);
    if (rc) {
        return rc;
    }
    ww_buf_clear(payload);
    ww_jw_init(&w, payload, 0);
    ww_statement_begin(&w, model_name, model_root, WW_TENSORS_PREDICATE);
    write_predicate(&w, tensors, model_root, lock_json);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

enum ww_err ww_tensors_statement_of(const char *model_name, const struct ww_model *model,
                                    const uint8_t (*tensor_root)[WW_SHA256_BYTES],
                                    const char *lock_json, struct ww_buf *payload,
                                    uint8_t model_root[WW_SHA256_BYTES],
                                    struct ww_error *err)
{
    const uint32_t n = model->n_tensors;
    const struct ww_tensor **by_name = ww_calloc(n, sizeof(*by_name));
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*roots));
    uint32_t *order = NULL;
    uint32_t *rank = NULL;
    enum ww_err rc = by_name && roots ? ww_tree_order(model, &order, &rank, err)
                                      : WW_FAIL_MEMORY(err, "%u tensors", n);

    for (uint32_t k = 0; k < n && !rc; k++) {
        by_name[k] = &model->tensors[order[k]];
        memcpy(roots[k], tensor_root[order[k]], WW_SHA256_BYTES);
    }
    if (!rc) {
        const struct ww_rooted_tensors tensors = {
            .by_name = by_name,
            .roots = (const uint8_t(*)[WW_SHA256_BYTES])roots,
            .n = n};
        rc = ww_tensors_statement(model_name, &tensors, lock_json, payload, model_root,
                                  err);
    }
    ww_free(order);
    ww_free(rank);
    ww_free(by_name);
    ww_free(roots);
    return rc;
}
