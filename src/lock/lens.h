/* SPDX-License-Identifier: Apache-2.0 */
/* A model seen through a gauge: weights that are locked in memory as they are read. */
#ifndef WW_LOCK_LENS_H
#define WW_LOCK_LENS_H

#include "lock/lock_kernel.h"
#include "weightward/forward.h"

struct ww_lens {
    struct ww_lock_job job;
    const struct ww_weights *base; /* NULL: the model's own files */
    struct ww_weights weights;     /* give this to the forward pass */
};

/** All borrowed; the lens must stay where it is while it is in use. */
void ww_lens_init(struct ww_lens *lens, const struct ww_gauge *gauge,
                  const struct ww_weights *base);

/** A tensor as doubles, through the lens or (gauge NULL) as stored; free with ww_free. */
enum ww_err ww_lens_read(const struct ww_layout *layout, const struct ww_weights *weights,
                         uint32_t tensor, double **out, struct ww_error *err) WW_MUST_USE;

#endif
