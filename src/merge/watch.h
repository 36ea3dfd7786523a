/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Who watches a merge while it is computed. The engine has the bytes of the sources and
 * of the output in memory side by side; what is made of both needs no reading of its own.
 */
#ifndef WW_MERGE_WATCH_H
#define WW_MERGE_WATCH_H

#include "crypto/hash.h"
#include "merge/plan.h"

/** Bytes [at, at + n) of an output tensor and the same of its inputs, all of them as wide
 *  as the output; borrowed for the call. */
struct ww_merge_seen {
    uint32_t tensor; /* of the plan */
    uint64_t at;
    uint64_t n;
    const uint8_t *out;
    const struct ww_merge_source *const *inputs; /* the base too */
    const uint8_t *const *in;
    uint32_t n_in;
};

struct ww_merge_watch {
    /** Before the first byte. The plan lives until after end. */
    enum ww_err (*begin)(void *payload, const struct ww_merge_plan *plan,
                         struct ww_error *err);
    /** A tile of a tensor is computed: from many threads at once, each tile once, in no
     *  order. Tensors that are copied or whose inputs are not read in tiles are not told
     *  of. What it fails with the merge fails with. */
    enum ww_err (*tile)(void *payload, const struct ww_merge_seen *seen,
                        struct ww_error *err);
    /** All bytes have passed, the sources are what they were, and the folder has no name
     *  yet. trees: [plan->n_models] roots, zeroes where none was taken. */
    enum ww_err (*end)(void *payload, const struct ww_merge_plan *plan,
                       const struct ww_merge_result *result,
                       const uint8_t (*trees)[WW_SHA256_BYTES], struct ww_error *err);
    void *payload;
};

#endif
