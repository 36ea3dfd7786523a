/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel for tensors that cells mix (dense_map.h); the same bits on every machine and
 * for any number of threads. Usable by whoever has exact elements (a gauge) and matrices
 * (a cell source). WW_E_NONFINITE for NaN and infinity in the source, WW_E_UNSUPPORTED
 * when a sum leaves the range of the stored type (inverse: WW_E_DAMAGED for both).
 */
#ifndef WW_LOCK_DENSE_KERNEL_H
#define WW_LOCK_DENSE_KERNEL_H

#include "lock/dense_map.h"
#include "stream/stream.h"

/** What a caller may hang into the kernel. */
struct ww_dense_hooks {
    /* From the calling thread, in plan order. */
    enum ww_err (*open)(void *payload, uint32_t tensor, const struct ww_dense_map *map,
                        void **state, struct ww_error *err);
    /* From the calling thread, in any order, once per successful open. */
    enum ww_err (*close)(void *state, bool complete, struct ww_error *err);
    /* Units have been made; out may be changed. From many threads at once. */
    enum ww_err (*rows)(void *state, const struct ww_dense_rows *rows,
                        struct ww_error *err);
    bool wants_levels;
    void *payload;
};

/** What all tensors of a run share. */
struct ww_dense_job {
    const struct ww_gauge *gauge;        /* exact elements */
    const struct ww_cell_source *source; /* matrices */
    bool inverse;
    const struct ww_dense_hooks *hooks; /* may be NULL */
};

/** params of the kernel. Its rows are units: ww_dense_view. */
struct ww_dense_piece {
    const struct ww_dense_job *job;
    uint32_t tensor;
};
extern const struct ww_kernel ww_dense_kernel;

/** The executor's view of a tensor with cells. */
enum ww_err ww_dense_view(const struct ww_gauge *gauge,
                          const struct ww_cell_source *source, uint32_t tensor,
                          uint64_t *n_units, uint64_t *unit_bytes,
                          struct ww_error *err) WW_MUST_USE;

/** A whole tensor in memory; in and out do not overlap. */
enum ww_err ww_dense_tensor(const struct ww_dense_job *job, uint32_t tensor,
                            const void *in, void *out, struct ww_error *err) WW_MUST_USE;

#endif
