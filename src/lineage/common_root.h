/* SPDX-License-Identifier: Apache-2.0 */
/**
 * T1: do two models have a root in common? Hidden units of models that were trained from
 * initialisations of their own come in no particular order, so rows of one match rows of
 * the other at the same place by chance only.
 */
#ifndef WW_LINEAGE_COMMON_ROOT_H
#define WW_LINEAGE_COMMON_ROOT_H

#include "weightward/lineage.h"
#include "weightward/model.h"

#define WW_ROOT_ROWS 256 /* of a layer that are compared */

/** Mutual nearest neighbours by cosine among the first rows of a and b, [n][width];
 * counts those where row j is matched with row j. Scratch is the function's own. */
enum ww_err ww_root_fixed_points(const float *a, const float *b, size_t n, size_t width,
                                 uint64_t *fixed, struct ww_error *err) WW_MUST_USE;

/** log10 of the bound on P(F >= k) over n_layers layers; at most 0. */
double ww_root_log10_p(uint64_t k, uint64_t n_layers);

/** Over all layers whose feed-forward rows both models have in one shape. */
enum ww_err ww_root_test(const struct ww_model *a, const struct ww_model *b,
                         struct ww_lineage_root *out, struct ww_error *err) WW_MUST_USE;

#endif
