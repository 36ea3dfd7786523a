/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists become numbered tokens, the numbers a union, and the union the pool's list: the
 * same functions that the rule was fitted with.
 */
#include "evo/fuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

static int by_bytes(struct ww_span a, struct ww_span b)
{
    const size_t least = a.len < b.len ? a.len : b.len;
    const int order = least ? memcmp(a.data, b.data, least) : 0;
    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* One token of one list, on its way to a number. */
struct entry {
    struct ww_span token;
    uint32_t at; /* in all lists, one behind the other */
};

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    const int order = by_bytes(x->token, y->token);
    return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static int likelier(const void *a, const void *b)
{
    const struct ww_fuse_token *x = a;
    const struct ww_fuse_token *y = b;
    return x->logprob > y->logprob   ? -1
           : x->logprob < y->logprob ? 1
           : x->row < y->row         ? -1
                                     : x->row > y->row;
}

void ww_fuse_begin(struct ww_fuse *fuse, const struct ww_rule *rule, uint32_t vocabulary)
{
    memset(fuse, 0, sizeof(*fuse));
    fuse->rule = rule;
    fuse->vocabulary = vocabulary;
}

static void forget(struct ww_fuse *fuse)
{
    ww_pool_union_release(&fuse->u);
    ww_free(fuse->list);
    fuse->list = NULL;
    fuse->n = 0;
}

void ww_fuse_release(struct ww_fuse *fuse)
{
    forget(fuse);
}

/* number[at] for all entries, in the order of their first mention; first[number] is that
 * mention. The count. */
static uint32_t intern(struct entry *entries, uint32_t total, uint32_t *number,
                       uint32_t *first)
{
    uint32_t n = 0;
    qsort(entries, total, sizeof(*entries), entry_order);
    for (uint32_t i = 0; i < total; i++) {
        const bool same = i > 0 && by_bytes(entries[i].token, entries[i - 1].token) == 0;
        number[entries[i].at] = same ? number[entries[i - 1].at] : entries[i].at;
    }
    for (uint32_t i = 0; i < total; i++) { /* number[i] is a first mention, at most i */
        if (number[i] == i) {
            first[n] = i;
            number[i] = n++;
        } else {
            number[i] = number[number[i]];
        }
    }
    return n;
}

struct room {
    struct entry *entries;
    uint32_t *number, *first;
    struct ww_span *token;
    double *logp;
};

static enum ww_err reserve(struct room *r, struct ww_fuse *fuse, uint32_t total,
                           struct ww_error *err)
{
    const size_t n = (size_t)total + 1;
    r->entries = ww_calloc(n, sizeof(*r->entries));
    r->number = ww_calloc(n, sizeof(*r->number));
    r->first = ww_calloc(n, sizeof(*r->first));
    r->token = ww_calloc(n, sizeof(*r->token));
    r->logp = ww_calloc(n, sizeof(*r->logp));
    fuse->list = ww_calloc(n, sizeof(*fuse->list));
    return r->entries && r->number && r->first && r->token && r->logp && fuse->list
               ? WW_OK
               : WW_FAIL_MEMORY(err, "%u tokens", total);
}

static void release(struct room *r)
{
    ww_free(r->entries);
    ww_free(r->number);
    ww_free(r->first);
    ww_free(r->token);
    ww_free(r->logp);
}

static enum ww_err pool(struct ww_fuse *fuse, const struct ww_fuse_list *lists,
                        struct room *r, struct ww_error *err)
{
    struct ww_pool_list numbered[WW_POOL_MAX_MEMBERS];
    double entropy[WW_POOL_MAX_MEMBERS];
    const struct ww_pool_position at = {.surprise = fuse->surprise, .entropy = entropy};
    const struct ww_pool_choice choice = {.lists = numbered};
    const uint32_t k = fuse->rule->k;
    uint32_t total = 0;
    for (uint32_t m = 0; m < k; m++) {
        numbered[m] =
            (struct ww_pool_list){r->number + total, lists[m].logprob, lists[m].n};
        total += lists[m].n;
    }
    enum ww_err rc = ww_pool_union_make(&choice, k, fuse->vocabulary, &fuse->u, err);
    if (rc) {
        return rc;
    }
    for (uint32_t m = 0; m < k; m++) {
        entropy[m] = ww_pool_entropy(&numbered[m], fuse->vocabulary);
    }
    ww_rule_apply(fuse->rule, &at, &fuse->u, r->logp);
    for (uint32_t i = 0; i < fuse->u.n; i++) { /* rows are the numbers: all are listed */
        fuse->list[i] = (struct ww_fuse_token){r->token[r->first[i]], r->logp[i], i};
    }
    fuse->n = fuse->u.n;
    qsort(fuse->list, fuse->n, sizeof(*fuse->list), likelier);
    return WW_OK;
}

enum ww_err ww_fuse_next(struct ww_fuse *fuse, const struct ww_fuse_list *lists,
                         struct ww_error *err)
{
    struct room r = {0};
    uint32_t total = 0;
    forget(fuse);
    for (uint32_t m = 0; m < fuse->rule->k; m++) {
        if (lists[m].n > fuse->vocabulary) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "a member listed %u tokens, expected at most %u", lists[m].n,
                           fuse->vocabulary);
        }
        total += lists[m].n;
    }
    if (total == 0) {
        return WW_FAIL(err, WW_E_MALFORMED, "no member listed a token");
    }
    enum ww_err rc = reserve(&r, fuse, total, err);
    if (rc) {
        goto out;
    }
    uint32_t at = 0;
    for (uint32_t m = 0; m < fuse->rule->k; m++) {
        for (uint32_t i = 0; i < lists[m].n; i++, at++) {
            r.token[at] = lists[m].token[i];
            r.entries[at] = (struct entry){lists[m].token[i], at};
        }
    }
    const uint32_t unlike = intern(r.entries, total, r.number, r.first);
    if (unlike > fuse->vocabulary) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "members listed %u unlike tokens, expected at most %u: they are not "
                     "of one tokenizer",
                     unlike, fuse->vocabulary);
        goto out;
    }
    rc = pool(fuse, lists, &r, err);
out:
    release(&r);
    return rc;
}

void ww_fuse_take(struct ww_fuse *fuse, uint32_t at)
{
    const double *l = fuse->u.l + (size_t)fuse->list[at].row * fuse->u.k;
    for (uint32_t m = 0; m < fuse->u.k; m++) {
        fuse->surprise[m] -= l[m];
    }
}

uint32_t ww_fuse_draw(const struct ww_fuse *fuse, double temperature, double top_p,
                      double random)
{
    const double best = fuse->list[0].logprob;
    double mass = 0;
    double sum = 0;
    uint32_t n = 0;
    if (!(temperature > 0)) {
        return 0;
    }
    for (uint32_t i = 0; i < fuse->n; i++) {
        mass += ww_fix_exp((fuse->list[i].logprob - best) / temperature);
    }
    for (; n < fuse->n && (n == 0 || sum < top_p * mass); n++) {
        sum += ww_fix_exp((fuse->list[n].logprob - best) / temperature);
    }
    double left = random * sum;
    for (uint32_t i = 0; i + 1 < n; i++) {
        left -= ww_fix_exp((fuse->list[i].logprob - best) / temperature);
        if (left < 0) {
            return i;
        }
    }
    return n - 1;
}
