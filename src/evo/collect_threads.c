/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of a collection. Each asks about items with connections of its own; the first
 * error stops all of them. The thread that started them asks nothing itself: it looks at
 * the clock and whether somebody wants an end, which waiting for a server must not delay.
 */
#include "evo/collect_int.h"

#include <time.h>

#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"

#define CONNECTIONS 4
#define LEAST_TICK 500000L /* ns between two looks at the clock */
#define MOST_TICK 20000000L

/* One thread: a connection to each member, opened when it is first needed. */
struct worker {
    struct ww_collecting *c;
    struct ww_endpoint *endpoint[WW_POOL_MAX_MEMBERS];
    pthread_t thread;
    bool started;
};

/* A call may take what is left of the time; 0: as long as the client lets it. */
static uint32_t time_left_ms(const struct ww_collecting *c)
{
    const double left = c->o->max_seconds - ww_spending_seconds(&c->spending);
    if (c->o->max_seconds < 0 || left > 1e5) {
        return 0;
    }
    return left > 0 ? (uint32_t)(left * 1000) + 1 : 1;
}

enum ww_err ww_collecting_open(struct ww_collecting *c, uint32_t k,
                               struct ww_endpoint **out, struct ww_error *err)
{
    const struct ww_endpoint_options o = {.heard = &c->heard[k],
                                          .tries = c->o->tries,
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
    struct ww_collecting *c = w->c;
    enum ww_err rc = ww_fetch_cached(c->cache, member, ask, key, found, out, err);
    if (rc || *found) {
        return rc;
    }
    if (c->stopping) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    rc = ww_collecting_open(c, member, &w->endpoint[member], err);
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
static void stop(struct ww_collecting *c, const struct ww_error *why, bool at_once)
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

struct ww_gather ww_collecting_gather(const struct ww_collecting *c, ww_fetch how,
                                      void *payload)
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
    struct ww_collecting *c = w->c;
    const struct ww_gather gather = ww_collecting_gather(c, fetch, w);
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

static void look(struct ww_collecting *c)
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
static void look_on(struct ww_collecting *c)
{
    struct timespec tick = {0, LEAST_TICK};
    while (atomic_load(&c->running)) {
        look(c);
        (void)nanosleep(&tick, NULL);
        tick.tv_nsec = tick.tv_nsec < MOST_TICK ? 2 * tick.tv_nsec : MOST_TICK;
    }
}

static enum ww_err why_stopped(const struct ww_collecting *c, struct ww_error *err)
{
    return c->failed.code ? WW_FAIL(err, c->failed.code, "%s", c->failed.text) : WW_OK;
}

enum ww_err ww_collecting_items(struct ww_collecting *c, struct ww_error *err)
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
    struct ww_collecting *c;
    enum ww_err (*of)(struct ww_collecting *c, struct ww_error *err);
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

enum ww_err ww_collecting_errand(struct ww_collecting *c,
                                 enum ww_err (*of)(struct ww_collecting *c,
                                                   struct ww_error *err),
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
