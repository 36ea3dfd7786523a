/* SPDX-License-Identifier: Apache-2.0 */
/* What counts is what is written: a change that rounding takes away is none. */
#include "merge/moved.h"

#include "model/convert.h"
#include "util/clones.h"

WW_CLONES static bool differs(const double *restrict a, const double *restrict b,
                              size_t n)
{
    unsigned n_apart = 0;
    for (size_t i = 0; i < n; i++) {
        n_apart += a[i] != b[i];
    }
    return n_apart > 0;
}

static double written(enum ww_dtype dtype, double x)
{
    uint8_t bytes[sizeof(double)];

    ww_from_double(dtype, &x, bytes, 1);
    ww_to_double(dtype, bytes, &x, 1);
    return x;
}

void ww_moved_note(struct ww_moved *moved, const struct ww_merge_job *job,
                   const struct ww_merge_block *b)
{
    const enum ww_dtype dtype = job->tensor->dtype;
    bool any = !b->base;

    if (!ww_moved_asks(moved) || job->tensor->is_limit) {
        return;
    }
    if (!any && differs(b->out, b->base, b->n)) {
        for (size_t i = 0; i < b->n && !any; i++) {
            any = b->out[i] != b->base[i] &&
                  written(dtype, b->out[i]) != written(dtype, b->base[i]);
        }
    }
    if (any) {
        atomic_store_explicit(&moved->any, true, memory_order_relaxed);
    }
}

void ww_moved_took(const struct ww_merge_job *job, uint64_t sources)
{
    const struct ww_moved *moved = job->plan->moved;

    for (uint32_t s = 0; s < job->n_sources && moved && moved->took; s++) {
        if (sources >> s & 1) {
            atomic_store_explicit(&moved->took[job->tensor->sources[s].model], true,
                                  memory_order_relaxed);
        }
    }
}
