/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads take tiles in any order; what a tile gives does not depend on who took it, and
 * folds do not depend on their order (kernel.h), so neither does the result. A tensor
 * that fits the executor's buffers is lent by it. Others are read through the page cache,
 * which keeps them for the next pass and for the last walk, and never held by us.
 */
#include "merge/pass.h"

#include <pthread.h>
#include <stdatomic.h>

#include "util/fail.h"
#include "util/num.h"

#define MAX_THREADS 16u

struct pass {
    struct ww_merge_item *item;
    unsigned number;
    atomic_uint_fast64_t next_tile;
    pthread_mutex_t lock;
    enum ww_err failed; /* under the lock */
    struct ww_error error;
};

struct hand {
    struct pass *pass;
    struct ww_walk *walk;
    pthread_t thread;
};

static bool fold(struct pass *p, struct ww_walk *walk, uint64_t tile, enum ww_err rc,
                 const struct ww_error *err)
{
    struct ww_merge_job *job = &p->item->job;

    pthread_mutex_lock(&p->lock);
    if (rc && !p->failed) {
        p->failed = rc;
        p->error = *err;
    }
    if (!p->failed) {
        job->ops->fold(job, p->number, tile, ww_walk_acc(walk));
    }
    bool go_on = !p->failed;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void *work(void *payload)
{
    struct hand *hand = payload;
    struct pass *p = hand->pass;
    struct ww_error err = {0};

    for (;;) {
        uint64_t tile = atomic_fetch_add(&p->next_tile, 1);
        if (tile >= p->item->job.n_tiles) {
            break;
        }
        enum ww_err rc = ww_walk_scan(hand->walk, p->number, tile, &err);
        if (!fold(p, hand->walk, tile, rc, &err)) {
            break;
        }
    }
    return NULL;
}

/* Threads beyond the first are a help that may fail to come. */
static unsigned start(struct hand *hands, unsigned n)
{
    unsigned started = 1;
    while (started < n &&
           pthread_create(&hands[started].thread, NULL, work, &hands[started]) == 0) {
        started++;
    }
    return started;
}

enum ww_err ww_merge_pass(struct ww_merge_item *item, unsigned number, unsigned threads,
                          uint64_t memory, struct ww_error *err)
{
    struct pass p = {.item = item, .number = number};
    struct hand hands[MAX_THREADS] = {0};
    const bool reads = !item->lent;
    uint64_t n = ww_max_u64(1, memory / 4 / ww_walk_bytes(item, reads));
    enum ww_err rc = WW_OK;

    n = ww_min_u64(ww_min_u64(n, ww_min_u64(threads, MAX_THREADS)), item->job.n_tiles);
    atomic_init(&p.next_tile, 0);
    pthread_mutex_init(&p.lock, NULL);
    for (unsigned i = 0; i < n && !rc; i++) {
        hands[i].pass = &p;
        rc = ww_walk_new(item, reads, &hands[i].walk, err);
    }
    if (!rc && n > 0) {
        unsigned started = start(hands, (unsigned)n);
        (void)work(&hands[0]);
        for (unsigned i = 1; i < started; i++) {
            pthread_join(hands[i].thread, NULL);
        }
        rc = p.failed;
        if (rc && err) {
            *err = p.error;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        ww_walk_free(hands[i].walk);
    }
    pthread_mutex_destroy(&p.lock);
    return rc;
}

enum ww_err ww_merge_passes(struct ww_merge_item *item, unsigned threads, uint64_t memory,
                            struct ww_error *err)
{
    struct ww_merge_job *job = &item->job;
    const struct ww_method_ops *ops = job->ops;
    bool again = false;
    enum ww_err rc = ops->open(job, &again, err);

    item->finite = false;
    for (unsigned pass = 0; again && !rc; pass++) {
        rc = ww_merge_pass(item, pass, threads, memory, err);
        item->finite = item->finite || (!rc && item->lent && !job->spot_stride);
        if (!rc) {
            rc = ops->scanned(job, pass, &again, err);
        }
    }
    return rc;
}
