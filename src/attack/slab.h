/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The rows of a tensor that run over one space, as floats in the order of the space:
 * fused, per-head, interleaved, transposed and stacked storage come out alike.
 */
#ifndef WW_ATTACK_SLAB_H
#define WW_ATTACK_SLAB_H

#include "lock/axis_map.h"

struct ww_slab {
    size_t n;     /* size of the space */
    size_t width; /* length of the other axis */
    float *rows;  /* NULL: the tensor has no such rows */
};

/** Rows over the space of a linear map, on its outputs or (inputs) on its inputs. undo
 *  takes what is known of a lock off the other axis; NULL for a model without one. */
struct ww_slab_of {
    const struct ww_layout *layout;
    const struct ww_gauge *undo;
    const struct ww_linear *linear;
    bool inputs;
    uint32_t space;
};

enum ww_err ww_slab_load(const struct ww_slab_of *of, struct ww_slab *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_slab_release(struct ww_slab *slab);

/** The same map of the locked model, with its lock undone on the other axis, and of the
 *  anchor; both or none have rows. */
struct ww_pair;
struct ww_slabs {
    struct ww_slab locked;
    struct ww_slab anchor;
};
struct ww_slabs_of {
    const struct ww_linear *locked;
    const struct ww_linear *anchor;
    bool inputs;
    uint32_t locked_space;
    uint32_t anchor_space;
};
enum ww_err ww_slabs_load(const struct ww_pair *pair, const struct ww_slabs_of *of,
                          struct ww_slabs *out, struct ww_error *err) WW_MUST_USE;
void ww_slabs_release(struct ww_slabs *slabs);

/** WW_E_NONFINITE, naming the tensor, unless n stored elements are all finite. */
enum ww_err ww_slab_finite(const struct ww_tensor *tensor, const void *bytes, size_t n,
                           struct ww_error *err) WW_MUST_USE;

/** Dot product and squared norm of float rows, summed in double in a fixed order. */
double ww_row_dot(const float *a, const float *b, size_t n);

#endif
