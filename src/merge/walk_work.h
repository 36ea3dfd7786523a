/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a walk share: a thread's room, and how bytes get into it. */
#ifndef WW_MERGE_WALK_WORK_H
#define WW_MERGE_WALK_WORK_H

#include "merge/walk.h"

#define WW_WALK_IN 64u

struct ww_walk {
    const struct ww_merge_item *item;
    double *x[WW_WALK_IN];
    double *base;
    double *out;
    uint8_t *bytes[WW_WALK_IN + 1];
    uint8_t *local;
    uint8_t *acc;
    uint8_t *scratch;
    uint8_t *memory;
};

static inline size_t ww_walk_size(enum ww_dtype dtype)
{
    return ww_dtype_bits(dtype) / 8;
}

/** Does the dtype that the plan computes in hold every value of a stored one? */
static inline bool ww_walk_holds(enum ww_dtype compute, enum ww_dtype dtype)
{
    return compute == dtype || compute == WW_DTYPE_F64 ||
           (compute == WW_DTYPE_F32 && dtype != WW_DTYPE_F64);
}

/** What the values of an input are rounded to before they are used. Statistics keep
 *  theirs: squares of gradients are smaller than a model's dtype has numbers. */
static inline enum ww_dtype ww_walk_compute(const struct ww_merge_item *item, uint32_t i)
{
    const struct ww_merge_job *job = &item->job;
    return i >= job->n_sources && i < job->n_x ? WW_DTYPE_F64 : job->tensor->compute;
}

/** Elements [first, first + n) of an input, as they are stored. */
enum ww_err ww_walk_read(const struct ww_merge_item *item, uint32_t i, uint64_t first,
                         uint64_t n, uint8_t *to, struct ww_error *err) WW_MUST_USE;
/** n elements of all inputs from `at` on as doubles: sources, or changes from the base,
 *  in x, and the base. */
void ww_walk_load(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n);
/** Magnitudes of changes alone, as bits of floats: keys[i] lies in the room of x. */
void ww_walk_load_keys(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n,
                       const uint32_t **keys);

#endif
