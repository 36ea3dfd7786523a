/* SPDX-License-Identifier: Apache-2.0 */
/* The whole-block check behind inspect --check, with its parts open to tests. */
#ifndef WW_LOCK_CHECK_LAYOUT_H
#define WW_LOCK_CHECK_LAYOUT_H

#include "lock/gauge.h"
#include "weightward/forward.h"
#include "weightward/lock.h"

#define WW_CHECK_LEGAL_LIMIT 1e-5
#define WW_CHECK_ILLEGAL_LIMIT 1e-3

/** Does the fault break something in this block? */
bool ww_wrong_applies(const struct ww_layout *layout, uint32_t block,
                      enum ww_wrong wrong);

/** Relative difference of a block's output: transformed input through the transformed
 *  block, against the transformed output. base may be NULL (the model's files). Relative
 *  to what the block adds to its input; *adds is that size. */
enum ww_err ww_check_block(const struct ww_gauge *gauge, const struct ww_weights *base,
                           uint32_t block, double *error, double *adds,
                           struct ww_error *err) WW_MUST_USE;

#endif
