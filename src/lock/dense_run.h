/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a lock and an unlock hang into the dense kernel: on the way there every unit is
 * undone at once, and what that misses of the original goes into the residual, while a
 * probe watches; on the way back the residual mends what was undone.
 */
#ifndef WW_LOCK_DENSE_RUN_H
#define WW_LOCK_DENSE_RUN_H

#include "lock/dense_gauge.h"
#include "lock/dense_kernel.h"
#include "lock/residual_file.h"

struct ww_probes;

/** Totals and connections of one run. */
struct ww_dense_run {
    struct ww_dense_gauge *dense;
    struct ww_dense_job job;
    struct ww_dense_hooks hooks;
    uint32_t *section; /* per tensor: its section, or WW_NONE */
    uint32_t n_sections;
    struct ww_residual_sink *sink;     /* lock */
    struct ww_residual_source *source; /* unlock */
    struct ww_probes *probes;          /* lock: counts the linear maps */
    uint64_t n_weights;                /* mixed */
    uint64_t n_residual;               /* bytes of plain sections */
    double max_error;                  /* of the projections */
};

/** Draw source, sections and job; sink or source come later. gauge->cells is set. */
enum ww_err ww_dense_run_init(struct ww_dense_run *run, struct ww_gauge *gauge,
                              double condition, bool inverse,
                              struct ww_error *err) WW_MUST_USE;
void ww_dense_run_release(struct ww_dense_run *run);

/** Room on the disk that the residual may take, about. */
uint64_t ww_dense_room(const struct ww_dense_run *run);

/** What the rounding does to whole blocks: as many of them as can be run in reasonable
 * time and memory, evenly chosen, are run on random activations before and after, on the
 * real weights. *blocks_run may be 0. WW_E_CHECK_FAILED when it is more than rounding can
 * do. */
enum ww_err ww_dense_change(const struct ww_gauge *gauge, double *change,
                            uint32_t *blocks_run, struct ww_error *err) WW_MUST_USE;

#endif
