/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surprise is the sum over the answer so far, not a mean that a long prompt would dilute;
 * the prefix mean counts the prompt as well where members told it.
 */
#include "evo/features.h"

#include <math.h>
#include <string.h>

#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

enum { GOLD, ENTROPY, SURPRISE, PREFIX, ROWS };

static double clamped(double l)
{
    return l > WW_POOL_FLOOR ? l : WW_POOL_FLOOR;
}

double ww_pool_entropy(const struct ww_pool_list *list, uint32_t vocabulary)
{
    double mass = 1;
    double sum = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        double l = clamped(list->logprob[i]);
        double p = ww_fix_exp(l);
        sum -= p * l;
        mass -= p;
    }
    if (vocabulary > list->n && mass > 1e-12) {
        sum -= mass * ww_fix_log(mass / (vocabulary - list->n));
    }
    return sum > 0 ? sum : 0;
}

static enum ww_err reserve(const struct ww_answers *a, struct ww_pool_set *s,
                           struct ww_error *err)
{
    s->k = a->k;
    s->items = a->n;
    s->has_prefix = true;
    for (size_t i = 0; i < a->n; i++) {
        s->n += a->item[i].n;
    }
    if (s->n == 0) {
        return WW_FAIL(err, WW_E_USAGE, "a pool needs at least one answer");
    }
    s->first = ww_calloc(s->items + 1, sizeof(*s->first));
    s->at = ww_calloc(s->n, sizeof(*s->at));
    s->known = ww_calloc(s->n, sizeof(*s->known));
    s->shown = ww_calloc(s->n, sizeof(*s->shown));
    s->room = ww_calloc(s->n, ROWS * sizeof(*s->room) * s->k);
    return s->first && s->at && s->known && s->shown && s->room
               ? WW_OK
               : WW_FAIL_MEMORY(err, "%zu answers", s->items);
}

static uint32_t vocabulary_of(const struct ww_answers *a,
                              const struct ww_answer_item *item)
{
    const uint32_t all =
        a->vocabulary ? a->vocabulary : (uint32_t)(a->tokens ? a->tokens : 1);
    return item->vocabulary ? item->vocabulary : all;
}

static enum ww_err unions(const struct ww_answers *a, const struct ww_answer_item *item,
                          uint32_t p, struct ww_pool_set *s, size_t t,
                          struct ww_error *err)
{
    struct ww_pool_list lists[WW_POOL_MAX_MEMBERS];
    const uint32_t vocabulary = vocabulary_of(a, item);
    struct ww_pool_choice choice = {.lists = lists, .gold = item->gold[p]};
    for (uint32_t m = 0; m < a->k; m++) {
        lists[m] = item->at[(size_t)p * a->k + m].top;
    }
    enum ww_err rc = ww_pool_union_make(&choice, a->k, vocabulary, &s->shown[t], err);
    if (!rc) {
        choice.gold_logprob = s->at[t].gold;
        rc = ww_pool_union_make(&choice, a->k, vocabulary, &s->known[t], err);
    }
    s->shown[t].weight = s->known[t].weight = item->weight;
    return rc;
}

/* One position; so_far [2k] becomes the surprise behind it, by the answer alone and with
 * the prompt as one more token. */
static enum ww_err position(const struct ww_answers *a, size_t i, uint32_t p,
                            double *so_far, struct ww_pool_set *s, size_t t,
                            struct ww_error *err)
{
    const struct ww_answer_item *item = &a->item[i];
    const uint32_t vocabulary = vocabulary_of(a, item);
    double *row = s->room + t * ROWS * s->k;
    for (uint32_t m = 0; m < s->k; m++) {
        const struct ww_answer_at *said = &item->at[(size_t)p * s->k + m];
        double prompt = item->prompt_surprise ? item->prompt_surprise[m] : (double)NAN;
        if (isnan(said->gold) || said->gold > 0.01) {
            return WW_FAIL(err, WW_E_NONFINITE,
                           "answer %zu has no log-probability of its token %u by member "
                           "%u",
                           i, p, m);
        }
        const double gold =
            said->untold ? ww_pool_unseen(&said->top, vocabulary) : clamped(said->gold);
        s->has_prefix = s->has_prefix && isfinite(prompt);
        row[GOLD * s->k + m] = gold;
        row[ENTROPY * s->k + m] = ww_pool_entropy(&said->top, vocabulary);
        row[SURPRISE * s->k + m] = so_far[m];
        row[PREFIX * s->k + m] = (prompt + so_far[m]) / (p + 1.0);
        so_far[m] -= gold;
    }
    s->at[t] = (struct ww_pool_position){.gold = row,
                                         .entropy = row + (size_t)ENTROPY * s->k,
                                         .surprise = row + (size_t)SURPRISE * s->k,
                                         .prefix = row + (size_t)PREFIX * s->k,
                                         .item = (uint32_t)i,
                                         .weight = item->weight};
    return unions(a, item, p, s, t, err);
}

enum ww_err ww_pool_set_make(const struct ww_answers *answers, struct ww_pool_set *out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    size_t t = 0;
    memset(out, 0, sizeof(*out));
    if (answers->k == 0 || answers->k > WW_POOL_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_LIMIT, "a pool has 1 to %d members, found %u",
                       WW_POOL_MAX_MEMBERS, answers->k);
    }
    rc = reserve(answers, out, err);
    for (size_t i = 0; i < answers->n && !rc; i++) {
        double so_far[WW_POOL_MAX_MEMBERS] = {0};
        out->first[i] = t;
        for (uint32_t p = 0; p < answers->item[i].n && !rc; p++) {
            rc = position(answers, i, p, so_far, out, t++, err);
        }
        if (rc) {
            ww_error_context(err, "answer %zu", i + 1);
        }
    }
    if (rc) {
        ww_pool_set_release(out);
        return rc;
    }
    out->first[out->items] = t;
    for (t = 0; t < out->n && !out->has_prefix; t++) {
        out->at[t].prefix = NULL;
    }
    return WW_OK;
}

void ww_pool_set_release(struct ww_pool_set *set)
{
    for (size_t t = 0; t < set->n; t++) {
        if (set->known) {
            ww_pool_union_release(&set->known[t]);
        }
        if (set->shown) {
            ww_pool_union_release(&set->shown[t]);
        }
    }
    ww_free(set->first);
    ww_free(set->at);
    ww_free(set->known);
    ww_free(set->shown);
    ww_free(set->room);
    memset(set, 0, sizeof(*set));
}

struct ww_pool_data ww_pool_set_data(const struct ww_pool_set *set)
{
    return (struct ww_pool_data){.k = set->k, .n = set->n, .at = set->at};
}
