/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors a recipe is inferred from; the others are what it is replayed on. */
#ifndef WW_LINEAGE_HALVES_H
#define WW_LINEAGE_HALVES_H

#include "weightward/model.h"

/** Fresh fitted[n_tensors] of the suspect, drawn by the seed and the names: of every part
 *  of a layer (attention, feed-forward, the rest) one half, so that numbers that a recipe
 *  has for a part of a layer can be read off and be tested. Own; ww_free. */
enum ww_err ww_halves_draw(const struct ww_model *suspect, uint64_t seed, bool **fitted,
                           struct ww_error *err) WW_MUST_USE;

#endif
