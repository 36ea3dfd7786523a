/* SPDX-License-Identifier: Apache-2.0 */
/* Activations of heads for the check of cores: mixing by cells, joining of latent heads.
 */
#ifndef WW_LOCK_CHECK_MIX_H
#define WW_LOCK_CHECK_MIX_H

#include "lock/gauge.h"

/** Rows of activations over a space that the exact element has moved: the cells of the
 *  space, if it has any, act on them in place. space may be WW_NONE. */
enum ww_err ww_check_mix(const struct ww_gauge *gauge, uint32_t space,
                         enum ww_action action, double *x, size_t rows,
                         struct ww_error *err) WW_MUST_USE;

/** Heads of a latent attention from their parts: out [n_tokens, heads, d], nope
 * [n_tokens, heads, n] and rope [n_tokens, heads or 1, r]. */
void ww_check_join_heads(const struct ww_attention *att, size_t n_tokens,
                         uint64_t n_heads, uint64_t n_rope, const double *nope,
                         const double *rope, double *out);

#endif
