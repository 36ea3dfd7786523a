/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting: a first pass over all items by the cache alone, which is all that a second
 * run does; then threads take the items that lack something. What was answered is on the
 * disk.
 */
#include "evo/collect_int.h"

#include <stdio.h>
#include <string.h>

#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_CONNECTIONS 256

static enum ww_err keep_keys(struct ww_collecting *c, const struct ww_gathered *g,
                             struct ww_error *err)
{
    if (c->n_keys + g->n_said > c->room) {
        const size_t room = 2 * (c->n_keys + g->n_said);
        void *keys = ww_realloc_array(c->keys, room, sizeof(*c->keys));
        if (!keys) {
            return WW_FAIL_MEMORY(err, "the names of answers");
        }
        c->keys = keys;
        c->room = room;
    }
    if (g->n_said) {
        memcpy(c->keys[c->n_keys], g->keys, g->n_said * sizeof(*g->keys));
        c->n_keys += g->n_said;
    }
    return WW_OK;
}

/* What does the cache have, and which items lack something? */
static enum ww_err look_up(struct ww_collecting *c, struct ww_error *err)
{
    const struct ww_gather gather = ww_collecting_gather(c, ww_fetch_cached, c->cache);
    enum ww_err rc = WW_OK;
    c->n_keys = 0;
    c->n_missing = 0;
    for (size_t i = 0; i < c->tasks.n && !rc; i++) {
        struct ww_gathered g = {0};
        rc = ww_gather_item(&gather, &c->tasks.item[i], i, &g, err);
        rc = rc ? rc : keep_keys(c, &g, err);
        if (!rc && !g.complete) {
            c->missing[c->n_missing++] = i;
        }
        ww_gathered_release(&g);
    }
    return rc;
}

/* Are a member's facts known, or in the cache? An unreadable record is none. */
static bool recall(struct ww_collecting *c, uint32_t k)
{
    bool found = c->facts[k].dialect != NULL;
    if (!found && (ww_cached_facts(c->cache, &c->members.member[k], c->top, &found,
                                   &c->facts[k], NULL) != WW_OK ||
                   !found)) {
        c->facts[k] = (struct ww_member_facts){0};
        found = false;
    }
    return found;
}

static bool recall_all(struct ww_collecting *c)
{
    bool all = true;
    for (uint32_t k = 0; k < c->members.k; k++) {
        all = recall(c, k) && all;
    }
    return all;
}

/* Facts that are not known, by asking. */
static enum ww_err find_facts(struct ww_collecting *c, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        const struct ww_member *m = &c->members.member[k];
        struct ww_endpoint *endpoint = NULL;
        if (recall(c, k)) { /* also what was found out about a twin */
            continue;
        }
        rc = ww_collecting_open(c, k, &endpoint, err);
        rc = rc ? rc : ww_probe(endpoint, m, c->top, &c->facts[k], err);
        rc = rc ? rc : ww_keep_facts(c->cache, m, c->top, &c->facts[k], err);
        c->asked_now[k] = !rc;
        ww_endpoint_free(endpoint);
    }
    return rc;
}

/* Is it still the same model behind each name? Behind the last answer, all of them. */
static enum ww_err check_canaries(struct ww_collecting *c, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        const struct ww_member *m = &c->members.member[k];
        struct ww_endpoint *endpoint = NULL;
        bool same = true;
        bool exact = false;
        if (c->asked_now[k] && !c->asked_all) {
            continue;
        }
        rc = ww_collecting_open(c, k, &endpoint, err);
        rc = rc ? rc
                : ww_probe_canary(endpoint, m, &c->facts[k], c->top, &same, &exact, err);
        if (!rc && !same) {
            rc = WW_FAIL(err, WW_E_CHANGED,
                         "member '%s' answers a fixed question otherwise than when its "
                         "answers were collected: another model stands behind the name; "
                         "give it another name for the model, or use another cache",
                         m->name);
        }
        ww_endpoint_free(endpoint);
    }
    return rc;
}

/* Members that are asked for what comes next would be taken to have one tokenizer. */
static enum ww_err check_tokenizers(struct ww_collecting *c, struct ww_error *err)
{
    struct ww_endpoint *endpoint[WW_POOL_MAX_MEMBERS] = {NULL};
    struct ww_probe_report report = {0};
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        rc = ww_collecting_open(c, k, &endpoint[k], err);
    }
    rc = rc ? rc : ww_probe_tokens(endpoint, &c->members, c->facts, true, &report, err);
    for (uint32_t k = 0; k < c->members.k; k++) {
        ww_endpoint_free(endpoint[k]);
    }
    if (!rc && report.compared && !report.one_tokenizer) {
        rc = WW_FAIL(err, WW_E_UNRELATED,
                     "%s: a pool of tokens needs one tokenizer; compare members by "
                     "options or bytes ('level')",
                     report.differs);
    }
    return rc;
}

/* A limit that nothing is counted against would be none. */
static enum ww_err check_prices(const struct ww_collecting *c, struct ww_error *err)
{
    bool priced = c->o->max_cost < 0;
    for (uint32_t k = 0; k < c->members.k; k++) {
        const struct ww_member *m = &c->members.member[k];
        priced = priced || m->price_call > 0 || m->price_ktoken > 0;
    }
    return priced ? WW_OK
                  : WW_FAIL(err, WW_E_USAGE,
                            "a limit of %g on the cost holds nothing: no member of '%s' "
                            "has 'price_call' or 'price_ktoken'",
                            c->o->max_cost, c->o->pool);
}

static enum ww_err start(struct ww_collecting *c, struct ww_collect_report *report,
                         struct ww_error *err)
{
    const struct ww_collect_options *o = c->o;
    if (o->connections > MAX_CONNECTIONS || o->top > WW_SCORED_MAX_TOP) {
        return WW_FAIL(err, WW_E_USAGE,
                       "at most %d connections and lists of %d tokens are possible",
                       MAX_CONNECTIONS, WW_SCORED_MAX_TOP);
    }
    enum ww_err rc = ww_members_read(o->pool, &c->members, err);
    rc = rc ? rc : check_prices(c, err);
    rc = rc ? rc : ww_tasks_read(o->tasks, &c->tasks, err);
    rc = rc || !o->part ? rc : ww_tasks_draw(&c->tasks, o->part, o->draw, o->sample, err);
    rc = rc ? rc : ww_answer_cache_open(o->cache, true, &c->cache, err);
    if (rc) {
        return rc;
    }
    c->facts = ww_calloc(c->members.k, sizeof(*c->facts));
    c->asked_now = ww_calloc(c->members.k, sizeof(*c->asked_now));
    c->heard = ww_calloc(c->members.k, sizeof(*c->heard));
    c->missing = ww_calloc(c->tasks.n, sizeof(*c->missing));
    report->members = ww_calloc(c->members.k, sizeof(*report->members));
    if (!c->facts || !c->asked_now || !c->heard || !c->missing || !report->members) {
        return WW_FAIL_MEMORY(err, "a collection");
    }
    report->items = c->tasks.n;
    report->damaged = ww_answer_cache_damaged(c->cache);
    return WW_OK;
}

static enum ww_err ask_all(struct ww_collecting *c, struct ww_collect_report *report,
                           struct ww_error *err)
{
    enum ww_err rc = recall_all(c) ? WW_OK : ww_collecting_errand(c, find_facts, err);
    rc = rc ? rc : look_up(c, err);
    c->looked_up = !rc;
    report->calls_avoided = rc ? 0 : c->n_keys;
    if (!rc && c->n_missing) {
        const bool one = c->members.k > 1 && c->o->level == WW_EVO_TOKENS;
        rc = ww_collecting_errand(c, check_canaries, err);
        rc = rc || !one ? rc : ww_collecting_errand(c, check_tokenizers, err);
        rc = rc ? rc : ww_collecting_items(c, err);
        c->asked_all = !rc;
        rc = rc ? rc : ww_collecting_errand(c, check_canaries, err);
    }
    return rc;
}

static enum ww_err finish(struct ww_collecting *c, struct ww_collect_report *report,
                          struct ww_error *err)
{
    uint8_t root[32];
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        rc = ww_describe_member(&c->members.member[k], &c->facts[k], &report->members[k],
                                err);
        report->n_members++;
    }
    bool known = true;
    for (uint32_t k = 0; k < c->members.k; k++) {
        known = known && c->facts[k].dialect;
    }
    if (!rc && known && (report->calls || !c->looked_up)) {
        rc = look_up(c, err);
    }
    report->answers = c->n_keys;
    report->items_complete = known ? c->tasks.n - c->n_missing : 0;
    report->complete = known && c->n_missing == 0;
    if (!rc && report->complete) {
        rc = ww_answer_cache_root(c->cache, c->keys, c->n_keys, root, err);
        ww_hex(report->root, root, sizeof(root));
    }
    return rc;
}

static void collect_release(struct ww_collecting *c)
{
    for (uint32_t k = 0; c->facts && k < c->members.k; k++) {
        ww_member_facts_release(&c->facts[k]);
    }
    ww_free(c->facts);
    ww_free(c->asked_now);
    ww_free(c->heard);
    ww_free(c->missing);
    ww_free(c->keys);
    ww_answer_cache_close(c->cache);
    ww_tasks_release(&c->tasks);
    ww_members_release(&c->members);
    ww_spending_release(&c->spending);
    (void)pthread_mutex_destroy(&c->mutex);
}

enum ww_err ww_evo_collect(const struct ww_collect_options *options,
                           struct ww_collect_report *report, struct ww_error *err)
{
    return ww_collect_after(options, NULL, NULL, report, err);
}

enum ww_err ww_collect_after(const struct ww_collect_options *options,
                             const struct ww_spent *before,
                             const struct ww_account *account,
                             struct ww_collect_report *report, struct ww_error *err)
{
    const struct ww_spent none = {0};
    before = before ? before : &none;
    const struct ww_budget budget = {options->max_calls, options->max_tokens,
                                     options->max_cost, options->max_seconds};
    struct ww_collecting c = {.o = options};
    struct ww_error local = {0};
    memset(report, 0, sizeof(*report));
    c.top = options->top ? options->top : WW_EVO_TOP;
    ww_spending_init(&c.spending, &budget, before);
    c.spending.account = account;
    c.meter = ww_spending_meter(&c.spending);
    (void)pthread_mutex_init(&c.mutex, NULL);
    enum ww_err rc = start(&c, report, err);
    if (rc) {
        goto out;
    }
    rc = ask_all(&c, report, &local);
    report->calls = c.spending.calls - before->calls;
    report->tokens = c.spending.tokens - before->tokens;
    report->cost = c.spending.cost - before->cost;
    report->seconds = ww_spending_seconds(&c.spending) - before->seconds;
    if (rc && c.spending.stopped && (rc == WW_E_LIMIT || rc == WW_E_CANCELLED)) {
        (void)snprintf(report->stopped, sizeof(report->stopped), "%.255s", local.text);
        rc = WW_OK;
    }
    rc = rc ? WW_FAIL(err, rc, "%s", local.text) : finish(&c, report, err);
out:
    collect_release(&c);
    if (rc) {
        ww_collect_report_release(report);
    }
    return rc;
}

void ww_collect_report_release(struct ww_collect_report *report)
{
    for (size_t k = 0; k < report->n_members; k++) {
        ww_evo_member_release(&report->members[k]);
    }
    ww_free(report->members);
    memset(report, 0, sizeof(*report));
}
