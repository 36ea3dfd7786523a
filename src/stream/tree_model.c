/* SPDX-License-Identifier: Apache-2.0 */
/* The model root of a model that nobody reads for something else at the time. */
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_tree_model_read(const struct ww_model *model,
                               uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(model->n_tensors, sizeof(*roots));
    uint8_t *room = ww_calloc(1, WW_TREE_CHUNK);
    struct ww_tree_tensor *tree = NULL;
    struct ww_sha256 *h = NULL;
    uint32_t *order = NULL;
    uint32_t *rank = NULL;
    enum ww_err rc = ww_tree_order(model, &order, &rank, err);

    if (!rc && (!roots || !room)) {
        rc = WW_FAIL_MEMORY(err, "the digests of a model");
    }
    if (!rc) {
        rc = ww_tree_tensor_new(&tree, err);
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = ww_tree_tensor_read(tree, model, t, rank[t], room, roots[rank[t]], err);
    }
    if (!rc) {
        rc = ww_sha256_new(&h, err);
    }
    if (!rc) {
        ww_tree_fold(h, roots, model->n_tensors, root);
    }
    ww_sha256_free(h);
    ww_tree_tensor_free(tree);
    ww_free(order);
    ww_free(rank);
    ww_free(roots);
    ww_free(room);
    return rc;
}
