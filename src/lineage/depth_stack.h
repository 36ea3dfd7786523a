/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tensors in stacks of layers. */
#ifndef WW_LINEAGE_DEPTH_STACK_H
#define WW_LINEAGE_DEPTH_STACK_H

#include "weightward/model.h"

#define WW_DEPTH_LAYERS 4096 /* a number from here on is none of a layer */

/** "model.layers.3.mlp.up_proj.weight": what stands before the number, the number, and
 *  what stands behind it. */
struct ww_depth_name {
    size_t before; /* bytes */
    uint32_t layer;
    const char *rest;
};
/** False: no component of the name is a number. */
bool ww_depth_split(const char *name, struct ww_depth_name *out);
/** Is the tensor in a layer of this stack, of len bytes before the number? */
bool ww_depth_in_stack(const char *name, const char *stack, size_t len,
                       struct ww_depth_name *out);

/** First tensor of the stack that most tensors are in; WW_NONE: there is none. */
enum ww_err ww_depth_stack(const struct ww_model *model, uint32_t *first,
                           struct ww_error *err) WW_MUST_USE;
/** The largest number of a layer in it, and one. */
uint32_t ww_depth_layers(const struct ww_model *model, const char *stack);

#endif
