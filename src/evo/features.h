/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What rules see of the answers: one position after the other, with each member's
 * log-probability of the right token, its entropy, its surprise by the answer so far, and
 * the lists side by side.
 *
 * Lists stand side by side twice. For fitting, the right token's log-probabilities are
 * exact even where a list does not show it. For choosing a token they are not: a program
 * that serves the pool sees the lists alone, so nothing is taken from the answer.
 */
#ifndef WW_EVO_FEATURES_H
#define WW_EVO_FEATURES_H

#include "evo/answers.h"

struct ww_pool_set {
    uint32_t k;
    size_t n; /* positions */
    size_t items;
    size_t *first;               /* [items + 1], an item's first position */
    struct ww_pool_position *at; /* [n] */
    struct ww_pool_union *known; /* [n], with the right token's own numbers */
    struct ww_pool_union *shown; /* [n], lists alone */
    bool has_prefix;             /* every member said how the prompt surprised it */
    double *room;
};

/** WW_E_MALFORMED for lists without sense, WW_E_NONFINITE, WW_E_USAGE without answers. */
enum ww_err ww_pool_set_make(const struct ww_answers *answers, struct ww_pool_set *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_pool_set_release(struct ww_pool_set *set);
struct ww_pool_data ww_pool_set_data(const struct ww_pool_set *set);

/** Entropy in nats of a list that may be cut: what it does not show is spread evenly over
 *  the other tokens of the vocabulary. */
double ww_pool_entropy(const struct ww_pool_list *list, uint32_t vocabulary);

#endif
