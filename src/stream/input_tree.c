/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of a merge names its sources by their tensor trees. Their bytes pass in file
 * order for the digest of the file, so the leaves are hashed from the same buffers and no
 * source is read for its tree alone. The tree follows the file's digest at a distance of
 * its own: two chains, which go through a processor's SHA unit side by side.
 *
 * Room for the leaves of the largest tensor is taken before the first byte, so nothing
 * but a name that is too long can fail on the way.
 */
#include "stream/input_tree.h"

#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

static uint64_t leaves_of(const struct ww_tensor *tensor)
{
    return ww_max_u64(1, ww_div_up(tensor->n_bytes, WW_TREE_CHUNK));
}

enum ww_err ww_input_walk_init(struct ww_input_walk *walk,
                               const struct ww_input_tree *tree, bool fast,
                               struct ww_error *err)
{
    uint64_t most = 1;
    enum ww_err rc = ww_sha256_new(&walk->h, err);

    for (uint32_t i = 0; i < tree->n_tensors; i++) {
        most = ww_max_u64(most, leaves_of(&tree->tensors[i]));
    }
    if (!rc) {
        rc = ww_sha_init(&walk->leaf, fast, err);
    }
    if (rc) {
        return rc;
    }
    walk->leaves = ww_calloc(most, sizeof(*walk->leaves));
    if (!walk->leaves) {
        return WW_FAIL_MEMORY(err, "the tree of an input");
    }
    walk->tree = tree;
    return WW_OK;
}

void ww_input_walk_release(struct ww_input_walk *walk)
{
    ww_sha256_free(walk->h);
    ww_sha_release(&walk->leaf);
    ww_free(walk->leaves);
    *walk = (struct ww_input_walk){0};
}

static void begin_leaf(struct ww_input_walk *walk)
{
    uint8_t prefix[WW_TREE_PREFIX];

    ww_tree_leaf_prefix(walk->tree->ranks[walk->tensor], walk->done, prefix);
    ww_sha_reset(&walk->leaf);
    ww_sha_update(&walk->leaf, prefix, sizeof(prefix));
}

static void end_leaf(struct ww_input_walk *walk)
{
    ww_sha_final(&walk->leaf, walk->leaves[walk->n_leaves]);
    walk->n_leaves++;
}

static void end_tensor(struct ww_input_walk *walk)
{
    uint8_t folded[WW_SHA256_BYTES];
    struct ww_error err = {0};

    ww_tree_fold(walk->h, walk->leaves, walk->n_leaves, folded);
    enum ww_err rc = ww_tree_tensor_root(walk->h, &walk->tree->tensors[walk->tensor],
                                         folded, walk->tree->roots[walk->tensor], &err);
    if (rc && !walk->failed) {
        walk->failed = rc;
        walk->error = err;
    }
    walk->n_leaves = 0;
    walk->done = 0;
    walk->tensor++;
}

/* The run given last was hashed: it may end a leaf, and that its tensor. */
static void account(struct ww_input_walk *walk)
{
    const struct ww_tensor *t = &walk->tree->tensors[walk->tensor];

    walk->done += walk->run;
    walk->run = 0;
    if (walk->done % WW_TREE_CHUNK == 0 || walk->done == t->n_bytes) {
        end_leaf(walk);
    }
    if (walk->done == t->n_bytes) {
        end_tensor(walk);
    }
}

bool ww_input_walk_next(struct ww_input_walk *walk, const uint8_t *data, uint64_t offset,
                        uint64_t n_bytes, const uint8_t **run, uint64_t *run_bytes)
{
    const uint64_t end = offset + n_bytes;

    if (walk->run > 0) {
        account(walk);
    }
    while (walk->tensor < walk->tree->n_tensors) {
        const struct ww_tensor *t = &walk->tree->tensors[walk->tensor];
        const uint64_t at = t->offset + walk->done;
        if (t->n_bytes == 0) {
            begin_leaf(walk);
            end_leaf(walk);
            end_tensor(walk);
            continue;
        }
        if (at >= end) {
            return false;
        }
        if (walk->done % WW_TREE_CHUNK == 0) {
            begin_leaf(walk);
        }
        walk->run = ww_min_u64(WW_TREE_CHUNK - walk->done % WW_TREE_CHUNK,
                               ww_min_u64(t->n_bytes - walk->done, end - at));
        *run = data + (at - offset);
        *run_bytes = walk->run;
        return true;
    }
    return false;
}

enum ww_err ww_input_walk_end(struct ww_input_walk *walk, struct ww_error *err)
{
    if (!walk->failed && walk->tensor < walk->tree->n_tensors) {
        return WW_FAIL(err, WW_E_INTERNAL, "tensor '%.200s' was not hashed to its end",
                       walk->tree->tensors[walk->tensor].name);
    }
    if (walk->failed && err) {
        *err = walk->error;
    }
    return walk->failed;
}
