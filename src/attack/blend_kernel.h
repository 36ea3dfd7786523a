/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel of mode invariant: the mean of an aligned locked tensor and the anchor's. */
#ifndef WW_ATTACK_BLEND_KERNEL_H
#define WW_ATTACK_BLEND_KERNEL_H

#include "attack/attack_plan.h"

/** params: a struct ww_attack_piece whose job has a pair with a blend. */
extern const struct ww_kernel ww_blend_kernel;

/** A whole tensor in memory, seen as n_rows as its plan sees it; in and out do not
 *  overlap. */
enum ww_err ww_blend_tensor(const struct ww_attack_piece *piece, uint64_t n_rows,
                            uint64_t row_bytes, const void *in, void *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
