/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting: a first pass over all items by the cache alone, which is all that a second
 * run does; then threads, each with connections of its own, take the items that lack
 * something. The first error stops all of them; what was answered is on the disk. This
 * thread asks nothing itself: it looks at the clock and whether somebody wants an end,
 * which waiting for a server must not delay.
 */
#include "evo/collect.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "evo/meter.h"
#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define CONNECTIONS 4
#define MAX_CONNECTIONS 256
#define LEAST_TICK 500000L /* ns between two looks at the clock */
#define MOST_TICK 20000000L

struct collect {
    const struct ww_collect_options *o;
    uint32_t top;
    struct ww_members members;
    struct ww_tasks tasks;
    struct ww_answer_cache *cache;
    struct ww_member_facts *facts; /* [k] */
    bool *asked_now;               /* [k]: facts are of this run, the canary is fresh */
    bool asked_all;                /* about the items */
    struct ww_spending spending;
    struct ww_meter meter;
    volatile bool stopping; /* nothing new is asked */
    volatile bool cancel;   /* what is under way is given up */
    size_t *missing;        /* [n_missing] items */
    size_t n_missing;
    bool looked_up; /* n_missing counts */
    atomic_size_t next;
    atomic_size_t done;
    atomic_uint running;
    uint8_t (*keys)[32];
    size_t n_keys;
    size_t room;
    pthread_mutex_t mutex; /* for the first error */
    struct ww_error failed;
};

/* One thread: a connection to each member, opened when it is first needed. */
struct worker {
    struct collect *c;
    struct ww_endpoint *endpoint[WW_POOL_MAX_MEMBERS];
    pthread_t thread;
    bool started;
};

/* A call may take what is left of the time; 0: as long as the client lets it. */
static uint32_t time_left_ms(const struct collect *c)
{
    const double left = c->o->max_seconds - ww_spending_seconds(&c->spending);
    if (c->o->max_seconds < 0 || left > 1e5) {
        return 0;
    }
    return left > 0 ? (uint32_t)(left * 1000) + 1 : 1;
}

static enum ww_err open_endpoint(struct collect *c, uint32_t k, struct ww_endpoint **out,
                                 struct ww_error *err)
{
    const struct ww_endpoint_options o = {.tries = c->o->tries,
                                          .total_ms = time_left_ms(c),
                                          .meter = &c->meter,
                                          .cancel = &c->cancel};
    return *out ? WW_OK : ww_endpoint_open(&c->members.member[k], &o, out, err);
}

static enum ww_err fetch(void *payload, uint32_t member, const struct ww_ask *ask,
                         const uint8_t key[32], bool *found, struct ww_scored *out,
                         struct ww_error *err)
{
    struct worker *w = payload;
    struct collect *c = w->c;
    enum ww_err rc = ww_fetch_cached(c->cache, member, ask, key, found, out, err);
    if (rc || *found) {
        return rc;
    }
    if (c->stopping) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    rc = open_endpoint(c, member, &w->endpoint[member], err);
    rc = rc ? rc
            : ww_endpoint_ask(w->endpoint[member], c->facts[member].dialect, ask, out,
                              err);
    if (rc) {
        return rc;
    }
    rc = ww_answer_cache_put(c->cache, key, out->bytes.data, out->bytes.len, err);
    if (rc) {
        ww_scored_release(out);
    }
    *found = !rc;
    return rc;
}

/* Calls under way were paid for: they end on their own unless time or patience is over.
 */
static void stop(struct collect *c, const struct ww_error *why, bool at_once)
{
    (void)pthread_mutex_lock(&c->mutex);
    /* The cancelling of the others is not why it stopped. */
    if (!c->failed.code) {
        c->failed = *why;
    }
    c->stopping = true;
    c->cancel = c->cancel || at_once;
    (void)pthread_mutex_unlock(&c->mutex);
}

static struct ww_gather gather_with(const struct collect *c, ww_fetch how, void *payload)
{
    return (struct ww_gather){.members = &c->members,
                              .facts = c->facts,
                              .top = c->top,
                              .fetch = how,
                              .payload = payload,
                              .level = c->o->level};
}

static void *work(void *data)
{
    struct worker *w = data;
    struct collect *c = w->c;
    const struct ww_gather gather = gather_with(c, fetch, w);
    for (;;) {
        const size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= c->n_missing || c->stopping) {
            break;
        }
        struct ww_error err = {0};
        struct ww_gathered g;
        const size_t item = c->missing[i];
        if (ww_gather_item(&gather, &c->tasks.item[item], item, &g, &err)) {
            stop(c, &err, false);
            break;
        }
        ww_gathered_release(&g);
        atomic_fetch_add(&c->done, 1);
    }
    for (uint32_t k = 0; k < c->members.k; k++) {
        ww_endpoint_free(w->endpoint[k]);
    }
    atomic_fetch_sub(&c->running, 1);
    return NULL;
}

static void look(struct collect *c)
{
    const size_t have =
        c->looked_up ? c->tasks.n - c->n_missing + atomic_load(&c->done) : 0;
    const struct ww_run_options *run = &c->o->run;
    struct ww_error err = {0};
    char phase[96];
    ww_spending_phase(&c->spending, "collecting", phase, sizeof(phase));
    if (run->progress && run->progress(run->progress_payload, phase, have, c->tasks.n)) {
        (void)WW_FAIL(&err, WW_E_CANCELLED, "interrupted");
        stop(c, &err, true);
    }
    if (c->o->max_seconds >= 0 && ww_spending_seconds(&c->spending) > c->o->max_seconds) {
        c->spending.stopped = true;
        (void)WW_FAIL(&err, WW_E_LIMIT, "the limit of %g seconds is reached",
                      c->o->max_seconds);
        stop(c, &err, true);
    }
}

/* Until all threads have ended, more and more seldom: what is asked may be little. */
static void look_on(struct collect *c)
{
    struct timespec tick = {0, LEAST_TICK};
    while (atomic_load(&c->running)) {
        look(c);
        (void)nanosleep(&tick, NULL);
        tick.tv_nsec = tick.tv_nsec < MOST_TICK ? 2 * tick.tv_nsec : MOST_TICK;
    }
}

static enum ww_err why_stopped(const struct collect *c, struct ww_error *err)
{
    return c->failed.code ? WW_FAIL(err, c->failed.code, "%s", c->failed.text) : WW_OK;
}

static enum ww_err run_threads(struct collect *c, struct ww_error *err)
{
    unsigned n = c->o->connections ? c->o->connections : CONNECTIONS;
    n = n < c->n_missing ? n : (unsigned)c->n_missing;
    struct worker *workers = ww_calloc(n, sizeof(*workers));
    if (!workers) {
        return WW_FAIL_MEMORY(err, "connections");
    }
    for (unsigned i = 0; i < n; i++) {
        workers[i].c = c;
        atomic_fetch_add(&c->running, 1);
        workers[i].started =
            pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
        if (!workers[i].started) {
            struct ww_error none = {0};
            atomic_fetch_sub(&c->running, 1);
            (void)WW_FAIL(&none, WW_E_NOMEM, "cannot start a thread");
            stop(c, &none, true);
        }
    }
    look_on(c);
    for (unsigned i = 0; i < n; i++) {
        if (workers[i].started) {
            (void)pthread_join(workers[i].thread, NULL);
        }
    }
    ww_free(workers);
    return why_stopped(c, err);
}

/* What all members are asked one after the other. */
struct errand {
    struct collect *c;
    enum ww_err (*of)(struct collect *c, struct ww_error *err);
};

static void *run_errand(void *data)
{
    const struct errand *e = data;
    struct ww_error err = {0};
    if (e->of(e->c, &err)) {
        stop(e->c, &err, false);
    }
    atomic_fetch_sub(&e->c->running, 1);
    return NULL;
}

static enum ww_err look_over(struct collect *c,
                             enum ww_err (*of)(struct collect *c, struct ww_error *err),
                             struct ww_error *err)
{
    struct errand errand = {c, of};
    pthread_t thread;
    atomic_fetch_add(&c->running, 1);
    const int e = pthread_create(&thread, NULL, run_errand, &errand);
    if (e) {
        atomic_fetch_sub(&c->running, 1);
        return WW_FAIL_SYS(err, WW_E_NOMEM, e, "cannot start a thread");
    }
    look_on(c);
    (void)pthread_join(thread, NULL);
    return why_stopped(c, err);
}

static enum ww_err keep_keys(struct collect *c, const struct ww_gathered *g,
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
static enum ww_err look_up(struct collect *c, struct ww_error *err)
{
    const struct ww_gather gather = gather_with(c, ww_fetch_cached, c->cache);
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
static bool recall(struct collect *c, uint32_t k)
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

static bool recall_all(struct collect *c)
{
    bool all = true;
    for (uint32_t k = 0; k < c->members.k; k++) {
        all = recall(c, k) && all;
    }
    return all;
}

/* Facts that are not known, by asking. */
static enum ww_err find_facts(struct collect *c, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        const struct ww_member *m = &c->members.member[k];
        struct ww_endpoint *endpoint = NULL;
        if (recall(c, k)) { /* also what was found out about a twin */
            continue;
        }
        rc = open_endpoint(c, k, &endpoint, err);
        rc = rc ? rc : ww_probe(endpoint, m, c->top, &c->facts[k], err);
        rc = rc ? rc : ww_keep_facts(c->cache, m, c->top, &c->facts[k], err);
        c->asked_now[k] = !rc;
        ww_endpoint_free(endpoint);
    }
    return rc;
}

/* Is it still the same model behind each name? Behind the last answer, all of them. */
static enum ww_err check_canaries(struct collect *c, struct ww_error *err)
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
        rc = open_endpoint(c, k, &endpoint, err);
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
static enum ww_err check_tokenizers(struct collect *c, struct ww_error *err)
{
    struct ww_endpoint *endpoint[WW_POOL_MAX_MEMBERS] = {NULL};
    struct ww_probe_report report = {0};
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < c->members.k && !rc; k++) {
        rc = open_endpoint(c, k, &endpoint[k], err);
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
static enum ww_err check_prices(const struct collect *c, struct ww_error *err)
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

static enum ww_err start(struct collect *c, struct ww_collect_report *report,
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
    c->missing = ww_calloc(c->tasks.n, sizeof(*c->missing));
    report->members = ww_calloc(c->members.k, sizeof(*report->members));
    if (!c->facts || !c->asked_now || !c->missing || !report->members) {
        return WW_FAIL_MEMORY(err, "a collection");
    }
    report->items = c->tasks.n;
    report->damaged = ww_answer_cache_damaged(c->cache);
    return WW_OK;
}

static enum ww_err ask_all(struct collect *c, struct ww_collect_report *report,
                           struct ww_error *err)
{
    enum ww_err rc = recall_all(c) ? WW_OK : look_over(c, find_facts, err);
    rc = rc ? rc : look_up(c, err);
    c->looked_up = !rc;
    report->calls_avoided = rc ? 0 : c->n_keys;
    if (!rc && c->n_missing) {
        const bool one = c->members.k > 1 && c->o->level == WW_EVO_TOKENS;
        rc = look_over(c, check_canaries, err);
        rc = rc || !one ? rc : look_over(c, check_tokenizers, err);
        rc = rc ? rc : run_threads(c, err);
        c->asked_all = !rc;
        rc = rc ? rc : look_over(c, check_canaries, err);
    }
    return rc;
}

static enum ww_err finish(struct collect *c, struct ww_collect_report *report,
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

static void collect_release(struct collect *c)
{
    for (uint32_t k = 0; c->facts && k < c->members.k; k++) {
        ww_member_facts_release(&c->facts[k]);
    }
    ww_free(c->facts);
    ww_free(c->asked_now);
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
    struct collect c = {.o = options};
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
