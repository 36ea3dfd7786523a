/* SPDX-License-Identifier: Apache-2.0 */
/** How well a rule answers: bits per token, next tokens right, whole answers right. */
#ifndef WW_EVO_SCORE_H
#define WW_EVO_SCORE_H

#include "evo/rules.h"

/** One item. Its weight counts in every mean. */
struct ww_item_score {
    double weight;
    double nats; /* sum over its tokens */
    uint32_t tokens;
    uint32_t right; /* tokens that the rule would have chosen, given those before */
};

struct ww_score {
    double bits;  /* per token */
    double next;  /* share of tokens, 0 to 1 */
    double whole; /* share of items; nothing but the right tokens would have been said */
    size_t items, tokens;
};

/** Scores of all items to out [set->items]. WW_E_NOMEM. */
enum ww_err ww_score_items(const struct ww_rule *rule, const struct ww_pool_set *set,
                           struct ww_item_score *out, struct ww_error *err) WW_MUST_USE;

/** The best member at every position: no rule that weighs members can do better. */
enum ww_err ww_score_oracle(const struct ww_pool_set *set, struct ww_item_score *out,
                            struct ww_error *err) WW_MUST_USE;

/** Means over items whose index is listed (only NULL: all n of them). */
struct ww_score ww_score_mean(const struct ww_item_score *items, const size_t *only,
                              size_t n);

#endif
