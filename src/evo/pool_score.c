/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool as the candidate of a search: its members asked about a drawing of the items,
 * and their even mixture scored. With scales of adapters in the pool this is
 * Evo-Merging's black box (arXiv 2509.12951): a server that merges, and a loss for each
 * setting; an item that was asked about with the same scales is not asked about again.
 * Limits hold for all candidates together, by the account that lies beside the answers.
 */
#include <string.h>

#include "evo/collect.h"
#include "evo/score.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LN_2 0.69314718055994530942 /* nats of a bit */

struct scoring {
    const struct ww_collect_options *o;
    struct ww_members members;
    struct ww_tasks tasks;
    struct ww_answers answers;
    struct ww_pool_set set;
    struct ww_item_score *items;
};

static enum ww_err ask(const struct ww_collect_options *o, struct ww_pool_scores *out,
                       struct ww_error *err)
{
    struct ww_collect_report report = {0};
    struct ww_account account;
    struct ww_spent spent;
    enum ww_err rc = ww_account_open(o->cache, &o->run, &account, &spent, err);
    if (rc) {
        return rc;
    }
    rc = ww_collect_after(o, &spent, &account, &report, err);
    out->calls = report.calls;
    out->all_calls = spent.calls + report.calls;
    out->all_tokens = spent.tokens + report.tokens;
    out->all_cost = spent.cost + report.cost;
    if (!rc && !report.complete) {
        rc = WW_FAIL(err, WW_E_LIMIT,
                     "%s; candidates asked about with this cache took %llu calls, %llu "
                     "tokens, cost %g and %.1f s",
                     report.stopped, (unsigned long long)out->all_calls,
                     (unsigned long long)out->all_tokens, out->all_cost,
                     spent.seconds + report.seconds);
    }
    ww_account_close(&account);
    ww_collect_report_release(&report);
    return rc;
}

static enum ww_err load(struct scoring *s, struct ww_error *err)
{
    const struct ww_collect_options *o = s->o;
    const struct ww_answers_view view = {.top = o->top, .level = o->level};
    enum ww_err rc = ww_members_read(o->pool, &s->members, err);
    rc = rc ? rc : ww_tasks_read(o->tasks, &s->tasks, err);
    rc = rc || !o->part ? rc : ww_tasks_draw(&s->tasks, o->part, o->draw, o->sample, err);
    rc = rc ? rc
            : ww_answers_load(&s->members, &s->tasks, o->cache, &view, &s->answers, err);
    if (rc) {
        return rc;
    }
    const uint32_t usual = s->answers.told ? s->answers.told : WW_GATHER_VOCABULARY;
    s->answers.vocabulary =
        s->answers.tokens > usual ? (uint32_t)s->answers.tokens : usual;
    return ww_pool_set_make(&s->answers, &s->set, err);
}

static enum ww_err score(struct scoring *s, struct ww_pool_scores *out,
                         struct ww_error *err)
{
    const struct ww_rule_fit options = {.seed = 1};
    struct ww_rule rule;
    const size_t n = s->set.items;
    s->items = ww_calloc(n, sizeof(*s->items));
    out->scores = ww_calloc(n, sizeof(*out->scores));
    if (!s->items || !out->scores) {
        return WW_FAIL_MEMORY(err, "%zu scores", n);
    }
    enum ww_err rc = ww_rule_fit(WW_RULE_UNIFORM, &s->set, &options, &rule, err);
    rc = rc ? rc : ww_score_items(&rule, &s->set, s->items, err);
    for (size_t i = 0; i < n && !rc; i++) {
        const struct ww_item_score *item = &s->items[i];
        const uint32_t tokens = item->tokens ? item->tokens : 1;
        out->scores[i] = -item->nats / LN_2 / tokens;
        out->right += item->right == item->tokens;
    }
    out->n = rc ? 0 : n;
    return rc;
}

enum ww_err ww_pool_score(const struct ww_collect_options *options,
                          struct ww_pool_scores *out, struct ww_error *err)
{
    struct scoring s = {.o = options};
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ask(options, out, err);
    rc = rc ? rc : load(&s, err);
    rc = rc ? rc : score(&s, out, err);
    ww_free(s.items);
    ww_pool_set_release(&s.set);
    ww_answers_release(&s.answers);
    ww_tasks_release(&s.tasks);
    ww_members_release(&s.members);
    if (rc) {
        ww_pool_scores_release(out);
    }
    return rc;
}

void ww_pool_scores_release(struct ww_pool_scores *scores)
{
    ww_free(scores->scores);
    memset(scores, 0, sizeof(*scores));
}
