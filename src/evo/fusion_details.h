/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a page about a fit shows beyond its scores: weights, tasks, and how the gain grows
 * with the items that are fitted to.
 */
#ifndef WW_EVO_FUSION_DETAILS_H
#define WW_EVO_FUSION_DETAILS_H

#include "evo/confirm.h"
#include "evo/members.h"
#include "weightward/fusion.h"

/** A finished fit; all borrowed. */
struct ww_fusion_fitted {
    const struct ww_members *members;
    const struct ww_tasks *tasks; /* of the scored items */
    const struct ww_pool_set *fitted;
    const struct ww_pool_set *scored;
    const struct ww_rule *const *rules; /* [n_rules], as the report has them */
    size_t n_rules;
    const struct ww_item_score *single; /* [scored->items], of the best single member */
    enum ww_rule_id asked;
    bool confirmed;
    uint64_t seed;
};

enum ww_err ww_fusion_details_make(const struct ww_fusion_fitted *fit,
                                   struct ww_fusion_details **out,
                                   struct ww_error *err) WW_MUST_USE;
void ww_fusion_details_free(struct ww_fusion_details *details);

/** The learning curve: the rule fitted to parts of the items, drawn by the seed, and
 *  confirmed on all held-out ones. */
enum ww_err ww_fusion_curve(const struct ww_fusion_fitted *fit,
                            struct ww_fusion_details *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
