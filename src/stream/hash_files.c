/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of whole files. A flat digest cannot be cut, so a file is hashed by one worker
 * at a time, and beside each file a reader fills a ring ahead of it: the digest never
 * waits for the disk when the disk is the faster one. Where the processor hashes two
 * messages nearly as fast as one (sha_x86.c) a worker takes two files side by side. The
 * largest files are begun first, so that no worker is left alone with one at the end.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/sha.h"
#include "crypto/sha_blocks.h"
#include "stream/arena.h"
#include "stream/cpus.h"
#include "stream/direct.h"
#include "stream/stream.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define SLOT_BYTES ((uint64_t)2 << 20)
#define SLOTS 4u
#define MAX_LANES 16u
#define PAIR 2u
#define ALONE_STEP (SLOT_BYTES / 8) /* then look for company */
#define PROGRESS_MS 100

struct slot {
    uint8_t *buf;
    uint64_t n;
    struct ww_hash_job *job;
    bool last; /* of its job */
};

struct hashing;

/* A file at a time: its reader, the ring, the digest so far. */
struct lane {
    struct hashing *all;
    struct worker *worker;
    pthread_t reader;
    struct slot slots[SLOTS];
    uint64_t filled; /* slots so far; the ring holds filled - used */
    uint64_t used;
    bool end;            /* the reader has no more */
    pthread_cond_t room; /* for the reader: a slot was used */
    /* The worker's own. */
    struct slot *at;
    uint64_t done; /* bytes of `at` that are hashed */
    struct ww_sha sha;
    struct ww_digest *digest; /* instead of sha: another algorithm */
};

struct worker {
    struct hashing *all;
    pthread_t thread;
    struct lane *lanes[PAIR];
    unsigned n_lanes;
    pthread_cond_t filled; /* a slot of a lane */
};

struct hashing {
    pthread_mutex_t lock;
    pthread_cond_t main;
    struct ww_hash_job **order; /* largest first */
    size_t n;
    size_t next;
    bool direct;
    uint64_t done_bytes;
    uint64_t total_bytes;
    unsigned open; /* workers that still work */
    enum ww_err failed;
    struct ww_error error;
    struct lane lanes[MAX_LANES];
    unsigned n_lanes;
    struct worker workers[MAX_LANES];
    unsigned n_workers;
};

static void fail_all(struct hashing *all, enum ww_err rc, const struct ww_error *err)
{
    pthread_mutex_lock(&all->lock);
    if (!all->failed) {
        all->failed = rc;
        all->error = *err;
    }
    for (unsigned i = 0; i < MAX_LANES; i++) {
        pthread_cond_signal(&all->lanes[i].room);
        pthread_cond_signal(&all->workers[i].filled);
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
        pthread_cond_wait(&lane->room, &lane->all->lock);
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
    pthread_cond_signal(&lane->worker->filled);
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
    pthread_cond_signal(&lane->worker->filled);
    pthread_mutex_unlock(&lane->all->lock);
    return NULL;
}

/* A slot of each lane that has one, at least of one; false at the end. */
static bool take_slots(struct worker *w)
{
    struct hashing *all = w->all;
    bool any = false;
    bool more = true;

    pthread_mutex_lock(&all->lock);
    while (!all->failed && !any && more) {
        more = false;
        for (unsigned i = 0; i < w->n_lanes; i++) {
            struct lane *lane = w->lanes[i];
            if (!lane->at && lane->filled > lane->used) {
                lane->at = &lane->slots[lane->used % SLOTS];
                lane->done = 0;
            }
            any = any || lane->at;
            more = more || !lane->end;
        }
        if (!any && more) {
            pthread_cond_wait(&w->filled, &all->lock);
        }
    }
    any = any && !all->failed;
    pthread_mutex_unlock(&all->lock);
    return any;
}

static void update(struct lane *lane, uint64_t n)
{
    const uint8_t *p = lane->at->buf + lane->done;
    if (lane->digest) {
        ww_digest_update(lane->digest, p, n);
    } else {
        ww_sha_update(&lane->sha, p, n);
    }
}

static void finish(struct lane *lane)
{
    uint8_t *digest = lane->at->job->digest;
    if (lane->digest) {
        ww_digest_final(lane->digest, digest);
        ww_digest_reset(lane->digest);
    } else {
        ww_sha_final(&lane->sha, digest);
        ww_sha_reset(&lane->sha);
    }
}

/* n more bytes of the slot are hashed: it may be used up, and its file. */
static void account(struct lane *lane, uint64_t n)
{
    lane->done += n;
    if (lane->done < lane->at->n) {
        return;
    }
    if (lane->at->last) {
        finish(lane);
    }
    lane->at = NULL;
    pthread_mutex_lock(&lane->all->lock);
    lane->used++;
    lane->all->done_bytes += lane->done;
    pthread_cond_signal(&lane->room);
    pthread_mutex_unlock(&lane->all->lock);
}

static uint64_t left(const struct lane *lane)
{
    return lane->at->n - lane->done;
}

/* Hash in both lanes until a slot is used up, or a little in the one that has something.
 */
static void hash_step(struct worker *w)
{
    struct lane *a = w->lanes[0];
    struct lane *b = w->n_lanes > 1 ? w->lanes[1] : NULL;

    if (b && a->at && b->at) {
        const uint64_t n = ww_min_u64(left(a), left(b));
        ww_sha_update_2(&a->sha, a->at->buf + a->done, &b->sha, b->at->buf + b->done, n);
        account(a, n);
        account(b, n);
        return;
    }
    struct lane *one = a->at ? a : b;
    const uint64_t n = b ? ww_min_u64(left(one), ALONE_STEP) : left(one);
    update(one, n);
    account(one, n);
}

static void *worker_loop(void *argument)
{
    struct worker *w = argument;

    while (take_slots(w)) {
        hash_step(w);
    }
    pthread_mutex_lock(&w->all->lock);
    w->all->open--;
    pthread_cond_signal(&w->all->main);
    pthread_mutex_unlock(&w->all->lock);
    return NULL;
}

static int larger_first(const void *a, const void *b)
{
    const struct ww_hash_job *x = *(struct ww_hash_job *const *)a;
    const struct ww_hash_job *y = *(struct ww_hash_job *const *)b;
    return (x->size_bytes < y->size_bytes) - (x->size_bytes > y->size_bytes);
}

/* Wait for the workers, telling how far they are. */
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

/* A thread that does not start ends them all. */
static bool start(struct hashing *all, pthread_t *thread, void *(*loop)(void *),
                  void *argument)
{
    struct ww_error err = {0};

    if (pthread_create(thread, NULL, loop, argument) == 0) {
        return true;
    }
    enum ww_err rc = WW_FAIL(&err, WW_E_NOMEM, "cannot start a thread");
    fail_all(all, rc, &err);
    return false;
}

static void run_lanes(struct hashing *all, const char *phase,
                      const struct ww_run_options *options)
{
    unsigned workers = 0;
    unsigned readers = 0;

    all->open = all->n_workers;
    while (workers < all->n_workers && start(all, &all->workers[workers].thread,
                                             worker_loop, &all->workers[workers])) {
        workers++;
    }
    while (workers == all->n_workers && readers < all->n_lanes &&
           start(all, &all->lanes[readers].reader, reader_loop, &all->lanes[readers])) {
        readers++;
    }
    pthread_mutex_lock(&all->lock);
    all->open -= all->n_workers - workers;
    pthread_mutex_unlock(&all->lock);
    watch(all, phase, options);
    for (unsigned i = 0; i < workers; i++) {
        pthread_join(all->workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < readers; i++) {
        pthread_join(all->lanes[i].reader, NULL);
    }
}

static void prepare(struct hashing *all, struct ww_hash_job *jobs, uint8_t *buffers)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->main, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < MAX_LANES; i++) {
        all->workers[i].all = all;
        pthread_cond_init(&all->workers[i].filled, NULL);
        pthread_cond_init(&all->lanes[i].room, NULL);
    }
    for (unsigned i = 0; i < all->n_lanes; i++) {
        struct worker *w = &all->workers[i % all->n_workers];
        all->lanes[i].all = all;
        all->lanes[i].worker = w;
        w->lanes[w->n_lanes] = &all->lanes[i];
        w->n_lanes++;
    }
    for (size_t i = 0; i < all->n; i++) {
        all->order[i] = &jobs[i];
        all->total_bytes += jobs[i].size_bytes;
    }
    qsort(all->order, all->n, sizeof(struct ww_hash_job *), larger_first);
    for (size_t i = 0; i < (size_t)all->n_lanes * SLOTS; i++) {
        all->lanes[i / SLOTS].slots[i % SLOTS].buf = buffers + i * SLOT_BYTES;
    }
}

static void clear(struct hashing *all)
{
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->main);
    for (unsigned i = 0; i < MAX_LANES; i++) {
        pthread_cond_destroy(&all->workers[i].filled);
        pthread_cond_destroy(&all->lanes[i].room);
    }
}

static enum ww_err digests_new(struct hashing *all, const char *algorithm,
                               struct ww_error *err)
{
    const bool is_sha = ww_str_eq(algorithm, "sha256");
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < all->n_lanes && !rc; i++) {
        struct lane *lane = &all->lanes[i];
        rc = is_sha ? ww_sha_init(&lane->sha, ww_sha_fast(), err)
                    : ww_digest_new(algorithm, &lane->digest, err);
    }
    return rc;
}

static void digests_free(struct hashing *all)
{
    for (unsigned i = 0; i < all->n_lanes; i++) {
        ww_sha_release(&all->lanes[i].sha);
        ww_digest_free(all->lanes[i].digest);
    }
}

/* How many workers, and files at a time: two for each worker where that is faster. */
static void set_sizes(struct hashing *all, const char *algorithm,
                      const struct ww_run_options *options)
{
    const bool pairs = ww_sha_fast() && ww_str_eq(algorithm, "sha256");
    const uint64_t threads = ww_threads_wanted(options);
    uint64_t memory = MAX_LANES * SLOTS * SLOT_BYTES;

    if (options->memory_bytes) {
        memory = ww_min_u64(memory, options->memory_bytes);
    }
    uint64_t lanes = ww_min_u64(pairs ? PAIR * threads : threads, all->n);
    lanes = ww_max_u64(1, ww_min_u64(lanes, memory / (SLOTS * SLOT_BYTES)));
    all->n_lanes = (unsigned)lanes;
    all->n_workers = (unsigned)ww_min_u64(threads, lanes);
}

enum ww_err ww_hash_files(struct ww_hash_job *jobs, size_t n, const char *algorithm,
                          const char *phase, const struct ww_run_options *options,
                          struct ww_error *err)
{
    static const struct ww_run_options defaults = {0};
    struct ww_hash_job **order = NULL;
    uint8_t *buffers = NULL;

    options = options ? options : &defaults;
    if (n == 0) {
        return WW_OK;
    }
    struct hashing *all = ww_calloc(1, sizeof(*all));
    if (!all) {
        return WW_FAIL_MEMORY(err, "hashing files");
    }
    all->n = n;
    all->direct = options->direct == WW_DIRECT_AUTO;
    set_sizes(all, algorithm, options);
    order = ww_calloc(n, sizeof(struct ww_hash_job *));
    buffers = ww_alloc_aligned(WW_IO_PAGE, all->n_lanes * SLOTS * SLOT_BYTES);
    enum ww_err rc = order && buffers ? digests_new(all, algorithm, err)
                                      : WW_FAIL_MEMORY(err, "hashing files");

    if (!rc) {
        all->order = order;
        prepare(all, jobs, buffers);
        run_lanes(all, phase, options);
        rc = all->failed;
        if (rc && err) {
            *err = all->error;
        }
        clear(all);
    }
    digests_free(all);
    ww_free(all);
    ww_free(order);
    ww_free(buffers);
    return rc;
}
