/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of two models merged by their products, one attention at a time. */
#ifndef WW_ATTACK_PRODUCTS_H
#define WW_ATTACK_PRODUCTS_H

#include "attack/inner.h"

/** Does the product of two sides say all that a head computes with them? Norms, clips and
 *  gates between the two say no. values: values and outputs, else queries and keys. */
bool ww_has_products(const struct ww_attention *att, bool values);

/** Matrices for all heads of an attention, so that weight times the mixed rows of the
 *  locked model plus the rest times those of the anchor have the merged products. */
enum ww_err ww_products_find(struct ww_pair *pair, uint32_t attention, bool values,
                             const struct ww_inner *inner, struct ww_fix *locked,
                             struct ww_fix *anchor, struct ww_error *err) WW_MUST_USE;

#endif
