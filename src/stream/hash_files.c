/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of whole files. A flat digest cannot be cut, so there is one worker per file at
 * a time, and beside each worker a reader that fills a ring ahead of it: the digest never
 * waits for the disk when the disk is the faster one. The largest files are begun first,
 * so that no worker is left alone with one at the end.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "stream/arena.h"
#include "stream/cpus.h"
#include "stream/direct.h"
#include "stream/stream.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define SLOT_BYTES ((uint64_t)2 << 20)
#define SLOTS 4u
#define MAX_LANES 16u
#define PROGRESS_MS 100

struct slot {
    uint8_t *buf;
    uint64_t n;
    struct ww_hash_job *job;
    bool last; /* of its job */
};

struct hashing;

/* A worker, its reader and the ring between them. */
struct lane {
    struct hashing *all;
    pthread_t reader;
    pthread_t worker;
    struct slot slots[SLOTS];
    uint64_t filled; /* slots so far; the ring holds filled - used */
    uint64_t used;
    bool end; /* the reader has no more */
    pthread_cond_t moved;
};

struct hashing {
    pthread_mutex_t lock;
    pthread_cond_t main;
    struct ww_hash_job **order; /* largest first */
    size_t n;
    size_t next;
    const char *algorithm;
    bool direct;
    uint64_t done_bytes;
    uint64_t total_bytes;
    unsigned open; /* lanes that still work */
    enum ww_err failed;
    struct ww_error error;
    struct lane lanes[MAX_LANES];
};

static void fail_all(struct hashing *all, enum ww_err rc, const struct ww_error *err)
{
    pthread_mutex_lock(&all->lock);
    if (!all->failed) {
        all->failed = rc;
        all->error = *err;
    }
    for (unsigned i = 0; i < MAX_LANES; i++) {
        pthread_cond_broadcast(&all->lanes[i].moved);
    }
    pthread_cond_signal(&all->main);
    pthread_mutex_unlock(&all->lock);
}

/* A free slot, NULL when the job failed elsewhere. */
static struct slot *free_slot(struct lane *lane)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&lane->all->lock);
    while (!lane->all->failed && lane->filled - lane->used == SLOTS) {
        pthread_cond_wait(&lane->moved, &lane->all->lock);
    }
    if (!lane->all->failed) {
        slot = &lane->slots[lane->filled % SLOTS];
    }
    pthread_mutex_unlock(&lane->all->lock);
    return slot;
}

static void slot_filled(struct lane *lane)
{
    pthread_mutex_lock(&lane->all->lock);
    lane->filled++;
    pthread_cond_signal(&lane->moved);
    pthread_mutex_unlock(&lane->all->lock);
}

static enum ww_err read_file(struct lane *lane, struct ww_hash_job *job,
                             struct ww_error *err)
{
    struct ww_source source;
    uint64_t offset = 0;
    bool last = false;

    enum ww_err rc = ww_source_open(&source, job->name, job->fd, job->size_bytes,
                                    lane->all->direct, err);
    while (!rc && !last) {
        struct slot *slot = free_slot(lane);
        if (!slot) {
            break;
        }
        uint64_t n = ww_min_u64(SLOT_BYTES, job->size_bytes - offset);
        last = offset + n == job->size_bytes;
        if (n > 0) {
            rc = ww_source_read(&source, slot->buf, offset, n, SLOT_BYTES, err);
        }
        /* Before the digest is given away, not after. */
        if (!rc && last) {
            rc = ww_source_unchanged(&source, err);
        }
        if (!rc) {
            slot->n = n;
            slot->job = job;
            slot->last = last;
            slot_filled(lane);
        }
        offset += n;
    }
    ww_source_close(&source);
    return rc;
}

static struct ww_hash_job *next_job(struct hashing *all)
{
    struct ww_hash_job *job = NULL;
    pthread_mutex_lock(&all->lock);
    if (!all->failed && all->next < all->n) {
        job = all->order[all->next];
        all->next++;
    }
    pthread_mutex_unlock(&all->lock);
    return job;
}

static void *reader_loop(void *argument)
{
    struct lane *lane = argument;
    struct ww_hash_job *job = NULL;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    while (!rc && (job = next_job(lane->all)) != NULL) {
        rc = read_file(lane, job, &err);
    }
    if (rc) {
        fail_all(lane->all, rc, &err);
    }
    pthread_mutex_lock(&lane->all->lock);
    lane->end = true;
    pthread_cond_signal(&lane->moved);
    pthread_mutex_unlock(&lane->all->lock);
    return NULL;
}

/* A filled slot, NULL at the end. */
static struct slot *filled_slot(struct lane *lane)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&lane->all->lock);
    while (!lane->all->failed && !lane->end && lane->filled == lane->used) {
        pthread_cond_wait(&lane->moved, &lane->all->lock);
    }
    if (!lane->all->failed && lane->filled > lane->used) {
        slot = &lane->slots[lane->used % SLOTS];
    }
    pthread_mutex_unlock(&lane->all->lock);
    return slot;
}

static void slot_used(struct lane *lane, uint64_t n)
{
    pthread_mutex_lock(&lane->all->lock);
    lane->used++;
    lane->all->done_bytes += n;
    pthread_cond_signal(&lane->moved);
    pthread_mutex_unlock(&lane->all->lock);
}

static void *worker_loop(void *argument)
{
    struct lane *lane = argument;
    struct ww_digest *digest = NULL;
    struct slot *slot = NULL;
    struct ww_error err = {0};

    enum ww_err rc = ww_digest_new(lane->all->algorithm, &digest, &err);
    if (rc) {
        fail_all(lane->all, rc, &err);
    }
    while (!rc && (slot = filled_slot(lane)) != NULL) {
        ww_digest_update(digest, slot->buf, slot->n);
        if (slot->last) {
            ww_digest_final(digest, slot->job->digest);
            ww_digest_reset(digest);
        }
        slot_used(lane, slot->n);
    }
    ww_digest_free(digest);
    pthread_mutex_lock(&lane->all->lock);
    lane->all->open--;
    pthread_cond_signal(&lane->all->main);
    pthread_mutex_unlock(&lane->all->lock);
    return NULL;
}

static int larger_first(const void *a, const void *b)
{
    const struct ww_hash_job *x = *(struct ww_hash_job *const *)a;
    const struct ww_hash_job *y = *(struct ww_hash_job *const *)b;
    return (x->size_bytes < y->size_bytes) - (x->size_bytes > y->size_bytes);
}

/* Wait for the lanes, telling how far they are. */
static void watch(struct hashing *all, const char *phase,
                  const struct ww_run_options *options)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&all->lock);
    while (all->open > 0) {
        until.tv_nsec += PROGRESS_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        while (all->open > 0 && !pthread_cond_timedwait(&all->main, &all->lock, &until)) {
        }
        if (all->open == 0 || all->failed || !options->progress) {
            continue;
        }
        uint64_t done = all->done_bytes;
        pthread_mutex_unlock(&all->lock);
        if (options->progress(options->progress_payload, phase, done, all->total_bytes)) {
            struct ww_error err = {0};
            enum ww_err rc = WW_FAIL(&err, WW_E_CANCELLED, "interrupted");
            fail_all(all, rc, &err);
        }
        pthread_mutex_lock(&all->lock);
    }
    pthread_mutex_unlock(&all->lock);
}

/* Start worker and reader; when one does not start, the lane ends at once. */
static void start_lane(struct hashing *all, struct lane *lane, bool *worker, bool *reader)
{
    struct ww_error err = {0};

    *worker = pthread_create(&lane->worker, NULL, worker_loop, lane) == 0;
    *reader = *worker && pthread_create(&lane->reader, NULL, reader_loop, lane) == 0;
    if (*worker && *reader) {
        return;
    }
    enum ww_err rc = WW_FAIL(&err, WW_E_NOMEM, "cannot start a thread");
    fail_all(all, rc, &err);
    if (!*worker) {
        pthread_mutex_lock(&all->lock);
        all->open--;
        pthread_mutex_unlock(&all->lock);
    }
}

static void run_lanes(struct hashing *all, unsigned n_lanes, const char *phase,
                      const struct ww_run_options *options)
{
    bool workers[MAX_LANES] = {false};
    bool readers[MAX_LANES] = {false};

    all->open = n_lanes;
    for (unsigned i = 0; i < n_lanes; i++) {
        start_lane(all, &all->lanes[i], &workers[i], &readers[i]);
    }
    watch(all, phase, options);
    for (unsigned i = 0; i < n_lanes; i++) {
        if (workers[i]) {
            pthread_join(all->lanes[i].worker, NULL);
        }
        if (readers[i]) {
            pthread_join(all->lanes[i].reader, NULL);
        }
    }
}

static void prepare(struct hashing *all, struct ww_hash_job *jobs, uint8_t *buffers,
                    unsigned n_lanes)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->main, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < MAX_LANES; i++) {
        all->lanes[i].all = all;
        pthread_cond_init(&all->lanes[i].moved, NULL);
    }
    for (size_t i = 0; i < all->n; i++) {
        all->order[i] = &jobs[i];
        all->total_bytes += jobs[i].size_bytes;
    }
    qsort(all->order, all->n, sizeof(struct ww_hash_job *), larger_first);
    for (size_t i = 0; i < (size_t)n_lanes * SLOTS; i++) {
        all->lanes[i / SLOTS].slots[i % SLOTS].buf = buffers + i * SLOT_BYTES;
    }
}

enum ww_err ww_hash_files(struct ww_hash_job *jobs, size_t n, const char *algorithm,
                          const char *phase, const struct ww_run_options *options,
                          struct ww_error *err)
{
    static const struct ww_run_options defaults = {0};
    uint64_t memory = MAX_LANES * SLOTS * SLOT_BYTES;

    options = options ? options : &defaults;
    if (n == 0) {
        return WW_OK;
    }
    if (options->memory_bytes) {
        memory = ww_min_u64(memory, options->memory_bytes);
    }
    unsigned lanes = (unsigned)ww_min_u64(ww_threads_wanted(options), n);
    lanes = (unsigned)ww_max_u64(1, ww_min_u64(lanes, memory / (SLOTS * SLOT_BYTES)));
    struct hashing *all = ww_calloc(1, sizeof(*all));
    struct ww_hash_job **order = ww_calloc(n, sizeof(struct ww_hash_job *));
    uint8_t *buffers = ww_alloc_aligned(WW_IO_PAGE, lanes * SLOTS * SLOT_BYTES);
    enum ww_err rc = WW_OK;

    if (!all || !order || !buffers) {
        rc = WW_FAIL_MEMORY(err, "hashing files");
        goto out;
    }
    all->order = order;
    all->n = n;
    all->algorithm = algorithm;
    all->direct = options->direct == WW_DIRECT_AUTO;
    prepare(all, jobs, buffers, lanes);
    run_lanes(all, lanes, phase, options);
    rc = all->failed;
    if (rc && err) {
        *err = all->error;
    }
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->main);
    for (unsigned i = 0; i < MAX_LANES; i++) {
        pthread_cond_destroy(&all->lanes[i].moved);
    }
out:
    ww_free(all);
    ww_free(order);
    ww_free(buffers);
    return rc;
}
