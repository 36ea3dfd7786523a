/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Merkle tree over a model's tensors, in the shape of RFC 6962 (Certificate
 * Transparency): domain bytes keep leaves, nodes and tensor roots apart, nothing is
 * padded, so no two different trees share a root. Leaves of 1 MiB let one tensor be
 * checked alone and let workers hash in any order.
 *
 * The fold is RFC 6962's split computed from below: pairing neighbours level by level and
 * carrying an odd last one up unchanged puts the split at the largest power of two.
 */
#include "stream/tree.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/fs.h"

struct ww_tree_tensor {
    struct ww_sha256 *h;
    uint64_t index;
    uint64_t n_bytes; /* fed so far */
    bool leaf_open;
    uint8_t (*leaves)[WW_SHA256_BYTES];
    size_t n_leaves;
    size_t capacity;
};

void ww_tree_leaf_prefix(uint64_t index, uint64_t offset, uint8_t out[WW_TREE_PREFIX])
{
    out[0] = 0x00;
    ww_put_u64le(out + 1, index);
    ww_put_u64le(out + 9, offset);
}

static void leaf_begin(struct ww_sha256 *h, uint64_t index, uint64_t offset)
{
    uint8_t prefix[WW_TREE_PREFIX];
    ww_tree_leaf_prefix(index, offset, prefix);
    ww_sha256_reset(h);
    ww_sha256_update(h, prefix, sizeof(prefix));
}

void ww_tree_leaf(struct ww_sha256 *h, uint64_t index, uint64_t offset, const void *chunk,
                  size_t len, uint8_t out[WW_SHA256_BYTES])
{
    leaf_begin(h, index, offset);
    ww_sha256_update(h, chunk, len);
    ww_sha256_final(h, out);
}

static void node(struct ww_sha256 *h, const uint8_t *left, const uint8_t *right,
                 uint8_t out[WW_SHA256_BYTES])
{
    uint8_t message[1 + 2 * WW_SHA256_BYTES] = {0x01};
    memcpy(message + 1, left, WW_SHA256_BYTES);
    memcpy(message + 1 + WW_SHA256_BYTES, right, WW_SHA256_BYTES);
    ww_sha256_reset(h);
    ww_sha256_update(h, message, sizeof(message));
    ww_sha256_final(h, out);
}

void ww_tree_fold(struct ww_sha256 *h, uint8_t (*digests)[WW_SHA256_BYTES], size_t n,
                  uint8_t out[WW_SHA256_BYTES])
{
    WW_INVARIANT(n >= 1);
    while (n > 1) {
        for (size_t i = 0; i < n / 2; i++) {
            node(h, digests[2 * i], digests[2 * i + 1], digests[i]);
        }
        if (n % 2) {
            memmove(digests[n / 2], digests[n - 1], WW_SHA256_BYTES);
        }
        n = n / 2 + n % 2;
    }
    memcpy(out, digests[0], WW_SHA256_BYTES);
}

static void add_text(struct ww_sha256 *h, const char *s, size_t len)
{
    ww_sha256_u32le(h, (uint32_t)len);
    ww_sha256_update(h, s, len);
}

enum ww_err ww_tree_tensor_root(struct ww_sha256 *h, const struct ww_tensor *tensor,
                                const uint8_t tree_root[WW_SHA256_BYTES],
                                uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    size_t name_len = strlen(tensor->name);
    const char *dtype = ww_dtype_name(tensor->dtype);

    if (name_len > UINT32_MAX || tensor->rank > WW_MAX_RANK) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.60s': a name of %zu bytes or a rank of %u has no place "
                       "in the tensor tree",
                       tensor->name, name_len, tensor->rank);
    }
    ww_sha256_reset(h);
    ww_sha256_update(h, "\x02", 1);
    add_text(h, tensor->name, name_len);
    add_text(h, dtype, strlen(dtype));
    ww_sha256_u32le(h, tensor->rank);
    for (unsigned d = 0; d < tensor->rank; d++) {
        ww_sha256_u64le(h, tensor->shape[d]);
    }
    ww_sha256_u64le(h, tensor->n_bytes);
    ww_sha256_update(h, tree_root, WW_SHA256_BYTES);
    ww_sha256_final(h, out);
    return WW_OK;
}

enum ww_err ww_tree_tensor_new(struct ww_tree_tensor **out, struct ww_error *err)
{
    *out = NULL;
    struct ww_tree_tensor *tree = ww_calloc(1, sizeof(*tree));
    if (!tree) {
        return WW_FAIL_MEMORY(err, "a tensor tree");
    }
    enum ww_err rc = ww_sha256_new(&tree->h, err);
    if (rc) {
        ww_free(tree);
        return rc;
    }
    *out = tree;
    return WW_OK;
}

void ww_tree_tensor_free(struct ww_tree_tensor *tree)
{
    if (tree) {
        ww_sha256_free(tree->h);
        ww_free(tree->leaves);
        ww_free(tree);
    }
}

void ww_tree_tensor_begin(struct ww_tree_tensor *tree, uint64_t index)
{
    tree->index = index;
    tree->n_bytes = 0;
    tree->leaf_open = false;
    tree->n_leaves = 0;
}

static enum ww_err leaf_start(struct ww_tree_tensor *tree, struct ww_error *err)
{
    if (tree->n_leaves == tree->capacity) {
        size_t capacity = tree->capacity ? 2 * tree->capacity : 64;
        void *grown = ww_realloc_array(tree->leaves, capacity, WW_SHA256_BYTES);
        if (!grown) {
            return WW_FAIL_MEMORY(err, "a tensor tree");
        }
        tree->leaves = grown;
        tree->capacity = capacity;
    }
    leaf_begin(tree->h, tree->index, tree->n_bytes);
    tree->leaf_open = true;
    return WW_OK;
}

static void leaf_finish(struct ww_tree_tensor *tree)
{
    ww_sha256_final(tree->h, tree->leaves[tree->n_leaves]);
    tree->n_leaves++;
    tree->leaf_open = false;
}

enum ww_err ww_tree_tensor_update(struct ww_tree_tensor *tree, const void *bytes,
                                  size_t len, struct ww_error *err)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        if (!tree->leaf_open) {
            enum ww_err rc = leaf_start(tree, err);
            if (rc) {
                return rc;
            }
        }
        uint64_t room = WW_TREE_CHUNK - tree->n_bytes % WW_TREE_CHUNK;
        size_t step = (size_t)ww_min_u64(room, len);
        ww_sha256_update(tree->h, p, step);
        tree->n_bytes += step;
        p += step;
        len -= step;
        if (tree->n_bytes % WW_TREE_CHUNK == 0) {
            leaf_finish(tree);
        }
    }
    return WW_OK;
}

enum ww_err ww_tree_tensor_end(struct ww_tree_tensor *tree,
                               const struct ww_tensor *tensor,
                               uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t folded[WW_SHA256_BYTES];

    if (tree->n_bytes != tensor->n_bytes) {
        return WW_FAIL(err, WW_E_USAGE,
                       "tensor '%.60s': %llu bytes were hashed, it has %llu",
                       tensor->name, (unsigned long long)tree->n_bytes,
                       (unsigned long long)tensor->n_bytes);
    }
    if (tree->n_bytes == 0) {
        enum ww_err rc = leaf_start(tree, err);
        if (rc) {
            return rc;
        }
    }
    if (tree->leaf_open) {
        leaf_finish(tree);
    }
    ww_tree_fold(tree->h, tree->leaves, tree->n_leaves, folded);
    return ww_tree_tensor_root(tree->h, tensor, folded, root, err);
}

enum ww_err ww_tree_tensor_read(struct ww_tree_tensor *tree, const struct ww_model *model,
                                uint32_t tensor, uint32_t rank, uint8_t *room,
                                uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const struct ww_weight_file *file = &model->files[t->file];
    enum ww_err rc = WW_OK;

    ww_tree_tensor_begin(tree, rank);
    for (uint64_t at = 0; at < t->n_bytes && !rc; at += WW_TREE_CHUNK) {
        const size_t n = (size_t)ww_min_u64(t->n_bytes - at, WW_TREE_CHUNK);
        rc = ww_pread_full(file->fd, room, n, t->offset + at, file->name, err);
        if (!rc) {
            rc = ww_tree_tensor_update(tree, room, n, err);
        }
    }
    return rc ? rc : ww_tree_tensor_end(tree, t, root, err);
}
