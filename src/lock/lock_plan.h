/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The plan of a lock or an unlock: every weight file with its header byte for byte and
 * each tensor copied or through the kernel, and every side file copied to its place.
 */
#ifndef WW_LOCK_LOCK_PLAN_H
#define WW_LOCK_LOCK_PLAN_H

#include "lock/dense_kernel.h"
#include "lock/lock_kernel.h"
#include "util/str.h"

/** A side file: where it lies in the source folder, where it goes. */
struct ww_side_copy {
    char *from;
    char *to;
    uint64_t size_bytes;
};

struct ww_lock_plan {
    struct ww_plan plan;
    const struct ww_layout *layout;
    struct ww_lock_piece *kernels;   /* one per tensor, by output tensor */
    struct ww_dense_piece *mixers;   /* the same, used where cells are */
    struct ww_piece_source *sources; /* headers, tensors, side files, in that order */
    struct ww_piece *pieces;
    const struct ww_reader **readers; /* of inputs whose bytes lie in no file */
    const struct ww_input_tree *
        *trees; /* of inputs whose tensors' roots are wanted; NULL */
    struct ww_side_copy *sides;
    uint32_t n_sides;
    int *side_fds;   /* n_sides */
    uint32_t *order; /* tensors by name, and ranks: with a tree */
    uint32_t *rank;
    uint64_t n_changed; /* tensors that differ from the source */
};

/** Inputs and outputs 0 .. model->n_files-1 are the weight files, then come the side
 * files in the given order (owned by the plan from now on, also on failure). with_tree:
 * roots of the output's tensors, slot k the k-th by name. job is borrowed. */
enum ww_err ww_lock_plan_init(struct ww_lock_plan *plan, const struct ww_lock_job *job,
                              const char *title, bool with_tree,
                              struct ww_side_copy *sides, uint32_t n_sides,
                              struct ww_error *err) WW_MUST_USE;
void ww_lock_plan_release(struct ww_lock_plan *plan);

void ww_side_copies_free(struct ww_side_copy *sides, uint32_t n_sides);

#endif
