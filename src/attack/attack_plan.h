/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The plan of an attack: the locked model's files again, every tensor through the inverse
 * of what was found, and scored on the way against the anchor and the truth.
 */
#ifndef WW_ATTACK_ATTACK_PLAN_H
#define WW_ATTACK_ATTACK_PLAN_H

#include "attack/pair.h"
#include "lock/dense_kernel.h"
#include "lock/lock_kernel.h"

/** Sums over one tensor. */
struct ww_score {
    double anchor; /* squared norms */
    double before;
    double after;
    double to_truth;
    double task;
    uint64_t bytes;
    uint64_t identical;
};

struct ww_attack_job {
    const struct ww_pair *pair;
    const struct ww_model *truth; /* NULL: not scored against it */
    const int *given; /* the locked model's files as they are; NULL: those of the model */
    struct ww_lock_job lock;
    struct ww_dense_job dense;
    struct ww_dense_job partner_dense; /* of the anchor, where pair->blend */
    struct ww_score *scores; /* by output tensor; bytes 0: not scored; NULL: none is */
};

/** How the locked bytes of a tensor are undone. */
enum ww_undo { WW_UNDO_NOTHING, WW_UNDO_MOVES, WW_UNDO_DENSE };

/** params of the kernel. */
struct ww_attack_piece {
    const struct ww_attack_job *job;
    uint32_t output; /* tensor that is written */
    struct ww_lock_piece lock;
    struct ww_dense_piece dense;
    enum ww_undo undo;
    const struct ww_kernel *inner; /* NULL: the bytes stay */
    const void *params;
};

extern const struct ww_kernel ww_attack_kernel;

/** Does a tensor of the pair's locked model have an axis that matrices mix? */
bool ww_attack_mixes(const struct ww_pair *pair, uint32_t tensor);

/** How locked tensor t becomes tensor `output`. rows: n_rows and row_bytes are set as the
 *  kernel sees the tensor. */
enum ww_err ww_attack_piece_init(const struct ww_attack_job *job, uint32_t t,
                                 uint32_t output, struct ww_attack_piece *kernel,
                                 struct ww_piece *rows, struct ww_error *err) WW_MUST_USE;

struct ww_attack_plan {
    struct ww_plan plan;
    const struct ww_model *model;
    struct ww_attack_piece *kernels; /* by output tensor */
    struct ww_piece_source *sources;
    struct ww_piece *pieces;
    const struct ww_reader **readers; /* by input: of weights that lie in no file */
    int *side_fds;
    uint32_t n_sides;
};

/** job is borrowed. writes: side files too, for a run that makes a folder. */
enum ww_err ww_attack_plan_init(struct ww_attack_plan *plan,
                                const struct ww_attack_job *job, bool writes,
                                struct ww_error *err) WW_MUST_USE;
void ww_attack_plan_release(struct ww_attack_plan *plan);

#endif
