/* SPDX-License-Identifier: Apache-2.0 */
/* A merge as a plan of the executor: one piece for each tensor, one kernel for them all.
 */
#ifndef WW_MERGE_ENGINE_H
#define WW_MERGE_ENGINE_H

#include "merge/whole.h"
#include "stream/stream.h"

struct ww_merge_engine;
struct ww_ahead;

/** What the kernel gets for a tensor. */
struct ww_merge_piece {
    struct ww_merge_engine *engine;
    struct ww_merge_item item;
    bool reads; /* inputs of several widths or with row maps: the kernel reads them */
    struct ww_piece_source *sources; /* own */
};

struct ww_merge_engine {
    const struct ww_merge_plan *plan;
    unsigned threads;
    uint64_t memory;
    struct ww_merge_piece *pieces; /* [n_tensors] */
    struct ww_wholes wholes;
    struct ww_ahead *ahead; /* NULL: passes run when a tensor is opened */
    struct ww_plan stream;
    uint32_t *opened; /* per input: the stream's input that has its open bytes */
    const struct ww_reader **readers;
    const struct ww_input_tree **trees;
    struct ww_piece *all_pieces;
    struct ww_piece_source *copies; /* [n_files] */
    struct ww_tensor *tensors;      /* of the output, for the tree */
    uint32_t *order;
    uint32_t *rank;
};

extern const struct ww_kernel ww_merge_kernel;      /* a method */
extern const struct ww_kernel ww_merge_copy_kernel; /* whole numbers, equal everywhere */

/** For the passes of a piece: all bytes of its inputs, or NULL. */
void ww_merge_lend(const void *params, const uint8_t *const *sources);

/** Make engine->stream for the plan; engine is zeroed but for plan, threads, memory. */
enum ww_err ww_merge_engine_plan(struct ww_merge_engine *engine,
                                 struct ww_error *err) WW_MUST_USE;
void ww_merge_engine_release(struct ww_merge_engine *engine);
/** What decides the bytes of a tensor beside the stream plan. */
enum ww_err ww_merge_digest(const struct ww_merge_plan *plan, uint32_t tensor,
                            uint8_t out[WW_SHA256_BYTES],
                            struct ww_error *err) WW_MUST_USE;

/** The word of a tensor's method on its parameters and shape: WW_E_RECIPE and the like.
 */
enum ww_err ww_merge_ask_method(const struct ww_merge_plan *plan, uint32_t tensor,
                                struct ww_error *err) WW_MUST_USE;

#endif
