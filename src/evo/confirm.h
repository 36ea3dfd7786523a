/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Is a fitted rule better than the best member alone, on answers that it was not fitted
 * to? Paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993;
 * Koehn, 2004, for scores of systems on the same items): items are drawn anew whole, both
 * rules are scored on the same draw, and the middle 95 % of the differences are the
 * interval.
 */
#ifndef WW_EVO_CONFIRM_H
#define WW_EVO_CONFIRM_H

#include "evo/score.h"

#define WW_CONFIRM_DRAWS 2000
#define WW_CONFIRM_LEAST 30 /* items; below, an interval says little */

struct ww_interval {
    double low, high;
};

/** A rule beside the best single member; gains are positive where it is better. */
struct ww_confirm {
    struct ww_score score;
    double bits_gain;                     /* bits per token saved */
    struct ww_interval bits, next, whole; /* of the gains */
    bool better;                          /* bits.low > 0 */
};

/** Scores of the same items [n]. Draws depend on the seed alone. WW_E_USAGE below
 *  WW_CONFIRM_LEAST items. */
enum ww_err ww_confirm(const struct ww_item_score *rule,
                       const struct ww_item_score *single, size_t n, uint64_t seed,
                       struct ww_confirm *out, struct ww_error *err) WW_MUST_USE;

#endif
