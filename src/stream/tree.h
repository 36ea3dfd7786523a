/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The tensor tree: an identity of a model's weights that does not depend on shards.
 *
 *   leaf(i, offset, chunk) = H(0x00 | u64le tensor index | u64le offset | chunk <= 1 MiB)
 *   node(l, r)             = H(0x01 | l | r), RFC 6962 shape: split at the largest power
 *                            of two below n, no padding
 *   tensor root            = H(0x02 | u32le len, name | u32le len, dtype | u32le rank |
 *                            u64le dims... | u64le byte length | tree root)
 *   model root             = tree of the tensor roots in bytewise name order
 *
 * H is SHA-256; the index is the rank in bytewise name order; an empty tensor has one
 * leaf with an empty chunk. Signed beside the tensor count.
 */
#ifndef WW_STREAM_TREE_H
#define WW_STREAM_TREE_H

#include "crypto/hash.h"
#include "weightward/model.h"

#define WW_TREE_CHUNK (UINT64_C(1) << 20)

/** Leaves of one tensor, fed with its bytes in order. */
struct ww_tree_tensor;
enum ww_err ww_tree_tensor_new(struct ww_tree_tensor **out,
                               struct ww_error *err) WW_MUST_USE;
void ww_tree_tensor_free(struct ww_tree_tensor *tree);
/** Start a tensor; index is its rank by name. */
void ww_tree_tensor_begin(struct ww_tree_tensor *tree, uint64_t index);
enum ww_err ww_tree_tensor_update(struct ww_tree_tensor *tree, const void *bytes,
                                  size_t len, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_tree_tensor_end(struct ww_tree_tensor *tree,
                               const struct ww_tensor *tensor,
                               uint8_t root[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

/** Root of a tensor of an opened model, read through room, which has WW_TREE_CHUNK
 *  bytes; rank is the tensor's by name. */
enum ww_err ww_tree_tensor_read(struct ww_tree_tensor *tree, const struct ww_model *model,
                                uint32_t tensor, uint32_t rank, uint8_t *room,
                                uint8_t root[WW_SHA256_BYTES],
                                struct ww_error *err) WW_MUST_USE;

/** The model root of an opened model, which is read once, by the calling thread. */
enum ww_err ww_tree_model_read(const struct ww_model *model,
                               uint8_t root[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

/** One leaf on its own: what workers compute in any order. */
void ww_tree_leaf(struct ww_sha256 *h, uint64_t index, uint64_t offset, const void *chunk,
                  size_t len, uint8_t out[WW_SHA256_BYTES]);
/** What is hashed before a leaf's chunk. */
#define WW_TREE_PREFIX 17
void ww_tree_leaf_prefix(uint64_t index, uint64_t offset, uint8_t out[WW_TREE_PREFIX]);
/** Root over n >= 1 digests (leaves, or tensor roots), which are overwritten. */
void ww_tree_fold(struct ww_sha256 *h, uint8_t (*digests)[WW_SHA256_BYTES], size_t n,
                  uint8_t out[WW_SHA256_BYTES]);
/** H(0x02 | ...) around a tensor's tree root. */
enum ww_err ww_tree_tensor_root(struct ww_sha256 *h, const struct ww_tensor *tensor,
                                const uint8_t tree_root[WW_SHA256_BYTES],
                                uint8_t out[WW_SHA256_BYTES],
                                struct ww_error *err) WW_MUST_USE;

/** order[k] is the index in model->tensors of the k-th tensor by name, rank the inverse;
 *  arrays of model->n_tensors, free with ww_free. */
enum ww_err ww_tree_order(const struct ww_model *model, uint32_t **order, uint32_t **rank,
                          struct ww_error *err) WW_MUST_USE;

#endif
