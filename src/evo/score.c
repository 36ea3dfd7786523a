/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens are scored with the right answer before them. A whole answer is right when every
 * token of it is, which is what greedy decoding would have said: up to its first mistake
 * both see the same text.
 */
#include "evo/score.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define LN2 0x1.62e42fefa39efp-1

static double *room_for(const struct ww_pool_set *set, struct ww_error *err)
{
    uint32_t most = 0;
    for (size_t t = 0; t < set->n; t++) {
        most = set->known[t].n > most ? set->known[t].n : most;
        most = set->shown[t].n > most ? set->shown[t].n : most;
    }
    double *room = ww_calloc((size_t)most + 1, sizeof(*room));
    if (!room) {
        (void)WW_FAIL_MEMORY(err, "a pool's choices");
    }
    return room;
}

/* Natural log-probability of the right token, from what is known of it. */
static double gold_of(const struct ww_pool_union *u, const double *logp)
{
    double l = u->gold_in_bucket ? logp[u->n] - u->log_others : logp[u->gold];
    return l > WW_POOL_FLOOR ? l : WW_POOL_FLOOR;
}

static bool is_gold(const struct ww_pool_union *u, uint32_t row)
{
    return !u->gold_in_bucket && u->gold == row;
}

enum ww_err ww_score_items(const struct ww_rule *rule, const struct ww_pool_set *set,
                           struct ww_item_score *out, struct ww_error *err)
{
    double *logp = room_for(set, err);
    if (!logp) {
        return WW_E_NOMEM;
    }
    memset(out, 0, set->items * sizeof(*out));
    for (size_t i = 0; i < set->items; i++) {
        for (size_t t = set->first[i]; t < set->first[i + 1]; t++) {
            const struct ww_pool_union *known = &set->known[t];
            const struct ww_pool_union *shown = &set->shown[t];
            ww_rule_apply(rule, &set->at[t], known, logp);
            out[i].nats -= gold_of(known, logp);
            ww_rule_apply(rule, &set->at[t], shown, logp);
            out[i].right += is_gold(shown, ww_rule_choose(shown, logp));
            out[i].tokens++;
            out[i].weight = set->at[t].weight;
        }
    }
    ww_free(logp);
    return WW_OK;
}

static uint32_t best_member(const struct ww_pool_position *at, uint32_t k)
{
    uint32_t best = 0;
    for (uint32_t m = 1; m < k; m++) {
        best = at->gold[m] > at->gold[best] ? m : best;
    }
    return best;
}

enum ww_err ww_score_oracle(const struct ww_pool_set *set, struct ww_item_score *out,
                            struct ww_error *err)
{
    double *logp = room_for(set, err);
    struct ww_rule rule = {.id = WW_RULE_BEST_SINGLE, .k = set->k};
    if (!logp) {
        return WW_E_NOMEM;
    }
    memset(out, 0, set->items * sizeof(*out));
    for (size_t i = 0; i < set->items; i++) {
        for (size_t t = set->first[i]; t < set->first[i + 1]; t++) {
            const struct ww_pool_union *shown = &set->shown[t];
            rule.member = best_member(&set->at[t], set->k);
            ww_rule_apply(&rule, &set->at[t], shown, logp);
            out[i].right += is_gold(shown, ww_rule_choose(shown, logp));
            out[i].nats -= set->at[t].gold[rule.member];
            out[i].tokens++;
            out[i].weight = set->at[t].weight;
        }
    }
    ww_free(logp);
    return WW_OK;
}

struct ww_score ww_score_mean(const struct ww_item_score *items, const size_t *only,
                              size_t n)
{
    struct ww_score score = {.items = n};
    double tokens = 0;
    double weight = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ww_item_score *at = &items[only ? only[i] : i];
        score.bits += at->weight * at->nats / LN2;
        score.next += at->weight * at->right;
        score.whole += at->right == at->tokens ? at->weight : 0;
        tokens += at->weight * at->tokens;
        weight += at->weight;
        score.tokens += at->tokens;
    }
    if (tokens > 0) {
        score.bits /= tokens;
        score.next /= tokens;
        score.whole /= weight;
    }
    return score;
}
