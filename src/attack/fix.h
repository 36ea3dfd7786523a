/* SPDX-License-Identifier: Apache-2.0 */
/* The joint fix of a head, where a lock mixed it by a dense matrix. */
#ifndef WW_ATTACK_FIX_H
#define WW_ATTACK_FIX_H

#include "attack/inner.h"

/** For every head that the found element does not explain: solve for a matrix, and take
 * it (the element of that head becomes the identity) where it explains more. values: the
 *  values and outputs of the attention, else its queries and keys. */
enum ww_err ww_fix_find(struct ww_pair *pair, uint32_t attention, bool values,
                        const struct ww_inner *inner, struct ww_fix *fix,
                        struct ww_error *err) WW_MUST_USE;

/** Sums of a head after its matrix is undone. */
struct ww_likeness ww_fix_likeness(const struct ww_inner *inner, const struct ww_fix *fix,
                                   size_t head);

#endif
