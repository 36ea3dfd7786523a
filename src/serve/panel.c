/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's thread asks the first member itself; the others have a thread each, which
 * sleeps between tokens. Their stacks are small, as many answers run at once. Who is
 * woken needs the lock, so it is free before; and only the last answer wakes the caller.
 */
#include "serve/panel.h"

#include <pthread.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define STACK ((size_t)512 << 10) /* of address space; little of it is touched */

enum state { IDLE, ASKED, ENDED };

struct hand {
    struct ww_panel *panel;
    struct ww_endpoint *endpoint;
    uint32_t number;
    enum ww_err rc;
    struct ww_error err;
    pthread_t thread;
    bool started;
    enum state state;
};

struct ww_panel {
    struct ww_panel_options o;
    struct hand *hand; /* [k] */
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    uint32_t left; /* hands that have not answered */
    ww_panel_job job;
    void *payload;
};

static void ask(struct hand *h)
{
    const struct ww_panel *c = h->panel;
    ww_error_clear(&h->err);
    h->rc = c->job(c->payload, h->number, h->endpoint, &h->err);
}

static void *work(void *payload)
{
    struct hand *h = payload;
    struct ww_panel *c = h->panel;
    (void)pthread_mutex_lock(&c->lock);
    while (h->state != ENDED) {
        if (h->state == IDLE) {
            (void)pthread_cond_wait(&c->asked, &c->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&c->lock);
        ask(h);
        (void)pthread_mutex_lock(&c->lock);
        h->state = h->state == ASKED ? IDLE : h->state;
        const bool last = --c->left == 0;
        (void)pthread_mutex_unlock(&c->lock);
        if (last) {
            (void)pthread_cond_signal(&c->answered);
        }
        (void)pthread_mutex_lock(&c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

static enum ww_err start(struct hand *h, struct ww_error *err)
{
    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);
    if (!e) {
        (void)pthread_attr_setstacksize(&attr, STACK);
        e = pthread_create(&h->thread, &attr, work, h);
        (void)pthread_attr_destroy(&attr);
    }
    h->started = e == 0;
    return e ? WW_FAIL_SYS(err, WW_E_NOMEM, e, "cannot start a thread") : WW_OK;
}

enum ww_err ww_panel_new(const struct ww_panel_options *options, struct ww_panel **out,
                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    struct ww_panel *c = ww_calloc(1, sizeof(*c));
    *out = NULL;
    if (!c) {
        return WW_FAIL_MEMORY(err, "a panel");
    }
    c->o = *options;
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->asked, NULL);
    (void)pthread_cond_init(&c->answered, NULL);
    c->hand = ww_calloc(c->o.k, sizeof(*c->hand));
    if (!c->hand) {
        rc = WW_FAIL_MEMORY(err, "a panel");
    }
    for (uint32_t m = 0; m < c->o.k && !rc; m++) {
        struct hand *h = &c->hand[m];
        h->panel = c;
        h->number = m;
        rc = ww_endpoint_open(&c->o.member[m], c->o.endpoint, &h->endpoint, err);
        if (!rc && m > 0) {
            rc = start(h, err);
        }
    }
    if (rc) {
        ww_panel_free(c);
        return rc;
    }
    *out = c;
    return WW_OK;
}

void ww_panel_free(struct ww_panel *panel)
{
    if (!panel) {
        return;
    }
    (void)pthread_mutex_lock(&panel->lock);
    for (uint32_t m = 0; panel->hand && m < panel->o.k; m++) {
        panel->hand[m].state = ENDED;
    }
    (void)pthread_cond_broadcast(&panel->asked);
    (void)pthread_mutex_unlock(&panel->lock);
    for (uint32_t m = 0; panel->hand && m < panel->o.k; m++) {
        if (panel->hand[m].started) {
            (void)pthread_join(panel->hand[m].thread, NULL);
        }
        ww_endpoint_free(panel->hand[m].endpoint);
    }
    (void)pthread_cond_destroy(&panel->answered);
    (void)pthread_cond_destroy(&panel->asked);
    (void)pthread_mutex_destroy(&panel->lock);
    ww_free(panel->hand);
    ww_free(panel);
}

enum ww_err ww_panel_run(struct ww_panel *panel, ww_panel_job job, void *payload,
                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    (void)pthread_mutex_lock(&panel->lock);
    panel->job = job;
    panel->payload = payload;
    for (uint32_t m = 0; m < panel->o.k; m++) {
        panel->hand[m].state = panel->hand[m].started ? ASKED : IDLE;
        panel->left += panel->hand[m].started;
    }
    (void)pthread_mutex_unlock(&panel->lock);
    (void)pthread_cond_broadcast(&panel->asked);
    ask(&panel->hand[0]);
    (void)pthread_mutex_lock(&panel->lock);
    while (panel->left) {
        (void)pthread_cond_wait(&panel->answered, &panel->lock);
    }
    (void)pthread_mutex_unlock(&panel->lock);
    for (uint32_t m = 0; m < panel->o.k; m++) {
        struct hand *h = &panel->hand[m];
        if (!rc && h->rc) {
            rc = WW_FAIL(err, h->rc, "%s", h->err.text);
        }
        ww_error_clear(&h->err);
    }
    return rc;
}

struct next {
    const struct ww_panel_options *o;
    struct ww_span prompt, so_far;
    const bool *wanted;
    struct ww_scored *out;
};

static enum ww_err ask_next(void *payload, uint32_t member, struct ww_endpoint *endpoint,
                            struct ww_error *err)
{
    const struct next *n = payload;
    const struct ww_member_facts *facts = &n->o->facts[member];
    if (n->wanted && !n->wanted[member]) {
        return WW_OK;
    }
    const struct ww_ask q =
        ww_ask_next(&n->o->member[member], facts, n->prompt, n->so_far, n->o->top);
    enum ww_err rc = ww_endpoint_ask(endpoint, facts->dialect, &q, &n->out[member], err);
    if (rc) {
        memset(&n->out[member], 0, sizeof(n->out[member]));
    }
    return rc;
}

enum ww_err ww_panel_ask(struct ww_panel *panel, struct ww_span prompt,
                         struct ww_span so_far, const bool *wanted, struct ww_scored *out,
                         struct ww_error *err)
{
    struct next next = {&panel->o, prompt, so_far, wanted, out};
    memset(out, 0, panel->o.k * sizeof(*out));
    const enum ww_err rc = ww_panel_run(panel, ask_next, &next, err);
    for (uint32_t m = 0; m < panel->o.k && rc; m++) {
        ww_scored_release(&out[m]);
    }
    return rc;
}
