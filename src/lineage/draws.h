/* SPDX-License-Identifier: Apache-2.0 */
/* Draws that need no secret, only to be the same again. */
#ifndef WW_LINEAGE_DRAWS_H
#define WW_LINEAGE_DRAWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

/** SplitMix64 (Steele et al. 2014). */
uint64_t ww_draw(uint64_t *state);

/** Does a tensor belong to the half that is fitted on? A coin for its name. */
bool ww_draw_fitted(uint64_t seed, const char *tensor);

/** 2.5 % and 97.5 % of sum(same) / sum(moved) over n tensors drawn anew with replacement.
 */
enum ww_err ww_draw_interval(const uint64_t *same, const uint64_t *moved, size_t n,
                             uint64_t seed, double *low, double *high,
                             struct ww_error *err) WW_MUST_USE;

#endif
