/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/per_tensor.h"

#include <pthread.h>
#include <stdlib.h>

#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "weightward/model.h"

#define PROGRESS_NS INT64_C(100000000)

struct ww_per_tensor {
    const struct ww_per_tensor_job *job;
    const uint32_t *order; /* large tensors first: the last one to end is small */
    uint32_t n_order;
    pthread_mutex_t lock;
    uint32_t next;
    uint64_t done;
    int64_t told_ns;
    uint32_t failed; /* least tensor that failed: the same error each time */
    struct ww_error err;
};

struct hand {
    struct ww_per_tensor *crew;
    unsigned thread;
};

unsigned ww_per_tensor_threads(const struct ww_run_options *run)
{
    const unsigned wanted = ww_threads_wanted(run);

    return wanted < WW_PER_TENSOR_THREADS ? wanted : WW_PER_TENSOR_THREADS;
}

enum ww_err ww_per_tensor_progress(struct ww_per_tensor *crew, uint64_t bytes,
                                   struct ww_error *err)
{
    const struct ww_per_tensor_job *job = crew->job;
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&crew->lock);
    crew->done += bytes;
    if (job->run->progress && ww_now_ns() - crew->told_ns >= PROGRESS_NS) {
        crew->told_ns = ww_now_ns();
        if (job->run->progress(job->run->progress_payload, job->phase, crew->done,
                               job->total_bytes)) {
            rc = WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    pthread_mutex_unlock(&crew->lock);
    return rc;
}

static void *work(void *payload)
{
    struct hand *hand = payload;
    struct ww_per_tensor *s = hand->crew;

    for (;;) {
        struct ww_error err = {0};
        uint32_t tensor = WW_NONE;
        pthread_mutex_lock(&s->lock);
        if (s->next < s->n_order && s->failed == WW_NONE) {
            tensor = s->order[s->next++];
        }
        pthread_mutex_unlock(&s->lock);
        if (tensor == WW_NONE) {
            return NULL;
        }
        if (s->job->visit(s->job->payload, s, hand->thread, tensor, &err)) {
            pthread_mutex_lock(&s->lock);
            if (tensor < s->failed) {
                s->failed = tensor;
                s->err = err;
            }
            pthread_mutex_unlock(&s->lock);
        }
    }
}

static void run_hands(struct ww_per_tensor *crew, unsigned n)
{
    struct hand hands[WW_PER_TENSOR_THREADS];
    pthread_t threads[WW_PER_TENSOR_THREADS];
    bool started[WW_PER_TENSOR_THREADS] = {false};

    for (unsigned i = 0; i < n; i++) {
        hands[i] = (struct hand){crew, i};
        started[i] = i && pthread_create(&threads[i], NULL, work, &hands[i]) == 0;
    }
    /* This thread works too, so that a thread that could not start costs only time. */
    (void)work(&hands[0]);
    for (unsigned i = 1; i < n; i++) {
        if (started[i]) {
            pthread_join(threads[i], NULL);
        }
    }
}

struct sized {
    uint64_t size;
    uint32_t tensor;
};

static int larger_first(const void *a, const void *b)
{
    const struct sized *x = a;
    const struct sized *y = b;
    if (x->size != y->size) {
        return x->size < y->size ? 1 : -1;
    }
    return x->tensor < y->tensor ? -1 : 1;
}

static enum ww_err make_order(const struct ww_per_tensor_job *job, uint32_t **out,
                              uint32_t *n_out, struct ww_error *err)
{
    struct sized *list = ww_calloc(job->n + (size_t)1, sizeof(*list));
    uint32_t *order = ww_calloc(job->n + (size_t)1, sizeof(*order));
    uint32_t n = 0;

    if (!list || !order) {
        ww_free(list);
        ww_free(order);
        return WW_FAIL_MEMORY(err, "a comparison of models");
    }
    for (uint32_t t = 0; t < job->n; t++) {
        if (job->sizes[t]) {
            list[n++] = (struct sized){job->sizes[t], t};
        }
    }
    qsort(list, n, sizeof(*list), larger_first);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = list[i].tensor;
    }
    ww_free(list);
    *out = order;
    *n_out = n;
    return WW_OK;
}

enum ww_err ww_per_tensor_run(const struct ww_per_tensor_job *job, uint64_t *bytes_read,
                              struct ww_error *err)
{
    struct ww_per_tensor crew = {
        .job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .failed = WW_NONE};
    uint32_t *order = NULL;
    enum ww_err rc = make_order(job, &order, &crew.n_order, err);

    if (!rc) {
        crew.order = order;
        run_hands(&crew, ww_per_tensor_threads(job->run));
        rc = crew.failed == WW_NONE ? WW_OK
                                    : WW_FAIL(err, crew.err.code, "%s", crew.err.text);
        *bytes_read += crew.done;
    }
    ww_free(order);
    return rc;
}
