/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Layers in other places. A stack that was put together from layers of one or several
 * relatives has the same kind of tensors under other numbers; which of the base's layers
 * each is can be read off the weights, since relatives point the same way in a layer and
 * no way in common in two.
 */
#ifndef WW_LINEAGE_DEPTHS_H
#define WW_LINEAGE_DEPTHS_H

#include "lineage/depth_stack.h"

struct ww_depths {
    uint32_t n;     /* layers of the suspect; 0: each lies where the base has it */
    uint32_t *of;   /* [n] the base's layer; WW_NONE: none is like it */
    double *cosine; /* [n] mean over the layer's matrices, with that layer of the base */
    char *stack;    /* what stands before the number; others are left alone */
};

/** Reads the beginning of each matrix of a layer in both models. */
enum ww_err ww_depths_find(const struct ww_model *suspect, const struct ww_model *base,
                           struct ww_depths *out, struct ww_error *err) WW_MUST_USE;
/** Before anything is known: the stack of the base with as many layers as the suspect
 * has, each by its own number, or the last of the base's. n is 0 where there is none. */
enum ww_err ww_depths_start(const struct ww_model *suspect, const struct ww_model *base,
                            struct ww_depths *out, struct ww_error *err) WW_MUST_USE;
void ww_depths_release(struct ww_depths *depths);

/** Index in a relative of the base of what the suspect calls `name`; WW_NONE: it has
 *  none, or the layer is like none. WW_E_NOMEM. */
enum ww_err ww_depths_index(const struct ww_depths *depths, const struct ww_model *model,
                            const char *name, uint32_t *out,
                            struct ww_error *err) WW_MUST_USE;

/** The path through scores[n][m] of the largest sum, less a price for each step that is
 *  not to the next column; of is [n]. Equal paths: the one of smaller columns.
 * WW_E_NOMEM.
 */
enum ww_err ww_depths_path(const double *scores, uint32_t n, uint32_t m, uint32_t *of,
                           struct ww_error *err) WW_MUST_USE;

#endif
