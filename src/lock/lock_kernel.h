/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel that moves one tensor, forwards (lock) or back (unlock), and probes what it
 * wrote when a check is asked for.
 */
#ifndef WW_LOCK_LOCK_KERNEL_H
#define WW_LOCK_LOCK_KERNEL_H

#include "lock/tensor_map.h"
#include "stream/stream.h"

struct ww_dense_job;
struct ww_probes;

/** What all tensors of a run share. Borrowed by every piece. */
struct ww_lock_job {
    const struct ww_gauge *gauge;
    bool inverse;
    struct ww_probes *probes;         /* NULL: no check */
    const struct ww_dense_job *dense; /* tensors with cells; NULL: none */
    double dense_condition;           /* with it; 0: Haar */
};

/** params of the kernel. */
struct ww_lock_piece {
    const struct ww_lock_job *job;
    uint32_t tensor; /* of the layout: the locked side of the map */
};

extern const struct ww_kernel ww_lock_kernel;

/** The same on a whole tensor in memory; in and out hold its bytes and do not overlap. */
enum ww_err ww_lock_tensor(const struct ww_lock_job *job, uint32_t tensor, const void *in,
                           void *out, struct ww_error *err) WW_MUST_USE;

#endif
