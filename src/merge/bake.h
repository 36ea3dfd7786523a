/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A base with a LoRA adapter added: each weight that the adapter changes, as float32 in a
 * nameless file. The other weights are the base's own. Source: LoRA (arXiv 2106.09685),
 * rank-stabilised scaling (2312.03732), DoRA (2402.09353), as PEFT applies them.
 *
 *   W' = W + scaling * B A            DoRA: row i of W' times magnitude[i] / |row i of W'|
 *
 * Sums over the rank in double, in order of the rank, rounded once: the same bits on every
 * machine.
 */
#ifndef WW_MERGE_BAKE_H
#define WW_MERGE_BAKE_H

#include "model/adapter.h"
#include "weightward/run.h"

struct ww_baked {
    int fd;                 /* owned */
    uint64_t size_bytes;
    uint32_t *changed;      /* by tensor of the base: index into tensors, or WW_NONE */
    struct ww_tensor *tensors; /* as they lie in fd: F32, shape and name of the base's */
    uint32_t n_tensors;
};

/** dirfd: where the file's bytes may lie (free space is the caller's to check: 4 bytes per
 *  changed element). WW_E_TENSOR, WW_E_SHAPE when it is not the adapter's base;
 *  WW_E_UNSUPPORTED, WW_E_NONFINITE. */
enum ww_err ww_bake(const struct ww_model *base, const struct ww_adapter *adapter,
                    int dirfd, struct ww_baked *out, struct ww_error *err) WW_MUST_USE;
void ww_baked_release(struct ww_baked *baked);

#endif
