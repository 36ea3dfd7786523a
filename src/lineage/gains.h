/* SPDX-License-Identifier: Apache-2.0 */
/* Gains of the norm in front of an attention: a lock may move them into what reads
 * through it, so they are folded in before readers are compared. */
#ifndef WW_LINEAGE_GAINS_H
#define WW_LINEAGE_GAINS_H

#include "attack/slab.h"
#include "weightward/layout.h"

/** Factors of width columns, to be freed; NULL, and WW_OK, when there are none. */
enum ww_err ww_gains_read(const struct ww_layout *layout, uint32_t attention,
                          size_t width, float **out, struct ww_error *err) WW_MUST_USE;
/** Multiply the columns; gain may be NULL. */
void ww_gains_fold(const float *gain, struct ww_slab *slab);

#endif
