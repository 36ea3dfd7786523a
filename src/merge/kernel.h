/* SPDX-License-Identifier: Apache-2.0 */
/**
 * How a method is computed: what it looks at first, then what it writes.
 *
 * A tensor is cut into tiles that depend on the plan alone, a tile into blocks that fit a
 * cache. Passes look at every tile and keep sums; a tile is seen by one thread, block
 * after block, and tiles are folded under a lock in any order, so a pass keeps what does
 * not depend on order: whole numbers, or one slot for each tile that `scanned` adds up in
 * a fixed tree. The last walk makes the output. Values are double: docs/numerics.md.
 */
#ifndef WW_MERGE_KERNEL_H
#define WW_MERGE_KERNEL_H

#include "merge/plan.h"

#define WW_MERGE_MOST_SOURCES 62 /* of a tensor, without its base */

/** One output tensor being merged. Kernels change what comes from `state` on only. */
struct ww_merge_job {
    const struct ww_merge_plan *plan;
    const struct ww_merge_tensor *tensor;
    uint32_t index;         /* of the tensor in the plan */
    uint64_t n;             /* elements */
    uint64_t n_rows;        /* n_rows * n_cols == n; rows run along the last axis, a */
    uint64_t n_cols;        /* vector is one row */
    uint64_t tile_elements; /* of every tile but the last; whole rows where wanted */
    uint64_t n_tiles;
    uint64_t max_block; /* elements of a block at most */
    bool can_narrow; /* differences fit floats as well as doubles: keys are to be had */
    uint32_t n_sources;
    uint32_t n_x; /* sources, then imported statistics */
    const struct ww_method_ops
        *ops;     /* the method's, or those of its whole-model passes */
    void *shared; /* what the method found out about the whole model: ww_whole_ops;
                     NULL without, and while only parameters are checked */
    void *state;  /* the method's own */
    bool narrow;  /* the passes to come want blocks' keys in place of x and base */
    uint64_t
        spot_stride; /* they see spots alone, one in so many elements; 0: everything */
    uint64_t spot_first; /* the first of them */
    uint64_t spot_elements;
    size_t acc_bytes; /* of a tile's sums in the pass at hand */
    size_t
        local_bytes; /* zeroed at the start of each tile, in passes and the last walk */
    size_t scratch_bytes; /* for blocks, contents undefined, aligned to 64 */
};

/** Elements [first, first + n) of the tensor; whole rows where wanted. */
struct ww_merge_block {
    uint64_t first;
    size_t n;
    uint64_t tile;
    double *const *x;   /* [n_x]; x[i] may be overwritten. Sources less the base where
                           ops->deltas and there is a base */
    const double *base; /* NULL without a base */
    const uint32_t *const *keys; /* with job->narrow, and nothing else: [n_sources] of
                                    bits of the magnitudes of x, rounded to float */
    double *out;                 /* of the last walk; in passes room for n doubles */
    void *local;                 /* of this tile */
    void *scratch;
};

/** An output that is a sum of the inputs: (sum of w[s] x[s]) / divisor, and with
 * ops->deltas and a base, base + lambda times that; the numbers are finite. */
struct ww_merge_form {
    const double *w;    /* a borrow until close */
    double divisor;     /* 1: it is not divided */
    double lambda;      /* 1 without deltas */
    bool base_is_first; /* w[0] is of the base, as if it were a source */
};

struct ww_whole_ops;

struct ww_method_ops {
    bool deltas;
    bool small; /* blocks may be of any size: elements do not know of each other */
    bool tells; /* ww_moved_took is called with what `block` took */
    /** Blocks of whole rows; NULL: never. Asked before open. */
    bool (*wants_rows)(const struct ww_merge_job *job);
    /** Check parameters and shapes, make the state; *scan says whether a pass comes
     * first. Every method has it, and `block`. */
    enum ww_err (*open)(struct ww_merge_job *job, bool *scan, struct ww_error *err);
    /** A block of a pass; acc was zeroed at the start of the tile. */
    void (*scan)(const struct ww_merge_job *job, unsigned pass,
                 const struct ww_merge_block *block, void *acc);
    /** The same of BF16 as they are stored, which nobody has looked at; base NULL:
     * without one; of the block all but x, base, keys and out. False, and acc as it was,
     * when a value may not be finite or it cannot be done so. NULL: never. */
    bool (*scan_stored)(const struct ww_merge_job *job, unsigned pass,
                        const struct ww_merge_block *block, const uint8_t *const *x,
                        const uint8_t *base, void *acc);
    /** A tile of a pass is done; under a lock, tiles in any order. */
    void (*fold)(struct ww_merge_job *job, unsigned pass, uint64_t tile, const void *acc);
    /** All tiles of a pass are done; *again asks for one more. */
    enum ww_err (*scanned)(struct ww_merge_job *job, unsigned pass, bool *again,
                           struct ww_error *err);
    /** Are the numbers of the output those of source 0? NULL: never. Asked after open. */
    bool (*copies)(const struct ww_merge_job *job);
    /** Is that what `block` does? NULL: never. Asked after open and the passes. */
    bool (*form)(const struct ww_merge_job *job, struct ww_merge_form *form);
    /** The last walk: out[i] of a block. */
    enum ww_err (*block)(const struct ww_merge_job *job,
                         const struct ww_merge_block *block, struct ww_error *err);
    /** The same of BF16 to BF16, as scan_stored has them, where elements' order counts.
     * False, and out is worth nothing, also where a result may not be finite. NULL:
     * never. */
    bool (*block_stored)(const struct ww_merge_job *job,
                         const struct ww_merge_block *block, const uint8_t *const *x,
                         const uint8_t *base, uint8_t *out);
    /** Free the state; also after a failed open. NULL: nothing to free. */
    void (*close)(struct ww_merge_job *job);
    const struct ww_whole_ops *whole; /* NULL: tensors do not know of each other */
};

/** Passes over the whole model, before the first tensor is written: what is trimmed or
 *  scaled over all tensors together. Every tensor has the same number of sources. */
struct ww_whole_ops {
    /** With this plan? NULL: always. */
    bool (*wanted)(const struct ww_merge_plan *plan);
    /** job: of the first tensor; n: elements of all. Make job->shared. */
    enum ww_err (*begin)(struct ww_merge_job *job, uint64_t n, struct ww_error *err);
    /** One tensor in one pass, as in struct ww_method_ops but without block; scanned may
     *  be NULL and its `again` is not looked at. */
    struct ww_method_ops tensor;
    /** A pass over all tensors is done. */
    enum ww_err (*passed)(struct ww_merge_job *job, bool *again, struct ww_error *err);
    void (*end)(void *shared);
    /** What a later merge needs to go on from this one; NULL: nothing is kept. */
    void (*state)(const void *shared, struct ww_merge_state *out);
};

/** Parameters by name; they are in the method's table, or it is a bug. */
double ww_merge_param(const struct ww_merge_job *job, const char *name);
double ww_merge_source_param(const struct ww_merge_job *job, uint32_t source,
                             const char *name);
/** The values of all sources: a fresh array, NULL when memory is out. */
double *ww_merge_source_params(const struct ww_merge_job *job, const char *name);

/** WW_E_RECIPE about the tensor: "tensor 'x': ...". */
enum ww_err ww_merge_refuse(const struct ww_merge_job *job, struct ww_error *err,
                            const char *fmt, ...) WW_PRINTF(3, 4);
enum ww_err ww_merge_no_memory(const struct ww_merge_job *job, struct ww_error *err);

/* The kernels, one object per row or family of the table. */
extern const struct ww_method_ops ww_merge_arcee_fusion;
extern const struct ww_method_ops ww_merge_breadcrumbs;
extern const struct ww_method_ops ww_merge_breadcrumbs_ties;
extern const struct ww_method_ops ww_merge_compeft;
extern const struct ww_method_ops ww_merge_consensus;
extern const struct ww_method_ops ww_merge_dare_linear;
extern const struct ww_method_ops ww_merge_dare_ties;
extern const struct ww_method_ops ww_merge_della;
extern const struct ww_method_ops ww_merge_della_linear;
extern const struct ww_method_ops ww_merge_emr;
extern const struct ww_method_ops ww_merge_fisher;
extern const struct ww_method_ops ww_merge_geometric_median;
extern const struct ww_method_ops ww_merge_karcher;
extern const struct ww_method_ops ww_merge_linear;
extern const struct ww_method_ops ww_merge_magmax;
extern const struct ww_method_ops ww_merge_masks;
extern const struct ww_method_ops ww_merge_model_stock;
extern const struct ww_method_ops ww_merge_multislerp;
extern const struct ww_method_ops ww_merge_mwa;
extern const struct ww_method_ops ww_merge_nearswap;
extern const struct ww_method_ops ww_merge_nuslerp;
extern const struct ww_method_ops ww_merge_passthrough;
extern const struct ww_method_ops ww_merge_pcb;
extern const struct ww_method_ops ww_merge_ram;
extern const struct ww_method_ops ww_merge_ramplus_tl;
extern const struct ww_method_ops ww_merge_sce;
extern const struct ww_method_ops ww_merge_slerp;
extern const struct ww_method_ops ww_merge_task_arithmetic;
extern const struct ww_method_ops ww_merge_ties;
extern const struct ww_method_ops ww_merge_widen;

#endif
