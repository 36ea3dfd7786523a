/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor roots of an input, from its bytes in file order. */
#ifndef WW_STREAM_INPUT_TREE_H
#define WW_STREAM_INPUT_TREE_H

#include "crypto/sha.h"
#include "stream/stream.h"

/** How far the hashing of one input's tensors is. All-zero may be released. */
struct ww_input_walk {
    const struct ww_input_tree *tree; /* NULL: nobody wants roots of this input */
    uint32_t tensor;                  /* the one at hand */
    uint64_t done;                    /* bytes of it */
    uint64_t run;                     /* bytes given out and not yet accounted for */
    struct ww_sha leaf;
    uint8_t (*leaves)[WW_SHA256_BYTES]; /* room for the largest tensor */
    size_t n_leaves;
    struct ww_sha256 *h;
    enum ww_err failed; /* told by ww_input_walk_end */
    struct ww_error error;
};

enum ww_err ww_input_walk_init(struct ww_input_walk *walk,
                               const struct ww_input_tree *tree, bool fast,
                               struct ww_error *err) WW_MUST_USE;
void ww_input_walk_release(struct ww_input_walk *walk);
/** The next run to be added to walk->leaf, out of n_bytes at `offset` of the input, which
 *  follow what was given before; the run before has been added. False: none is left. */
bool ww_input_walk_next(struct ww_input_walk *walk, const uint8_t *data, uint64_t offset,
                        uint64_t n_bytes, const uint8_t **run, uint64_t *run_bytes);
/** All bytes were given. */
enum ww_err ww_input_walk_end(struct ww_input_walk *walk,
                              struct ww_error *err) WW_MUST_USE;

#endif
