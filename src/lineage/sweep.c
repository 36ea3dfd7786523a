/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/sweep.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/convert.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_THREADS 16
#define PROGRESS_NS INT64_C(100000000)

struct sweep {
    const struct ww_family *family;
    const char *phase;
    const struct ww_run_options *run;
    ww_tile_fn visit;
    void *payload;
    const uint32_t *order; /* large tensors first: the last one to end is small */
    pthread_mutex_t lock;
    uint32_t next;
    uint64_t done;
    uint64_t total;
    int64_t told_ns;
    uint32_t
        failed; /* least tensor that failed, so that its error is the same each time */
    struct ww_error err;
};

/* One of a thread; taken before any starts. */
struct worker {
    struct sweep *sweep;
    struct ww_moments_tile tile;
    uint8_t *bytes;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static enum ww_err read_column(const struct worker *w, const struct ww_model *model,
                               const struct ww_tensor *t, uint64_t first, size_t n,
                               double *out, struct ww_error *err)
{
    const size_t size = ww_dtype_bits(t->dtype) / 8;
    const struct ww_weight_file *file = &model->files[t->file];
    enum ww_err rc = ww_pread_full(file->fd, w->bytes, n * size, t->offset + first * size,
                                   file->name, err);

    if (!rc && ww_count_nonfinite(t->dtype, w->bytes, n) > 0) {
        rc = WW_FAIL(err, WW_E_NONFINITE, "tensor '%s' of '%s' holds NaN or infinity",
                     t->name, model->path);
    }
    if (!rc) {
        ww_to_double(t->dtype, w->bytes, out, n);
    }
    return rc;
}

static enum ww_err note_progress(struct sweep *s, uint64_t bytes, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&s->lock);
    s->done += bytes;
    if (s->run->progress && now_ns() - s->told_ns >= PROGRESS_NS) {
        s->told_ns = now_ns();
        if (s->run->progress(s->run->progress_payload, s->phase, s->done, s->total)) {
            rc = WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static enum ww_err sweep_tensor(struct worker *w, uint32_t tensor, struct ww_error *err)
{
    const struct ww_family *family = w->sweep->family;
    const struct ww_family_tensor *t = &family->tensors[tensor];
    enum ww_err rc = WW_OK;

    for (uint64_t first = 0; first < t->n_elements && !rc; first += WW_MOMENTS_TILE) {
        const uint64_t left = t->n_elements - first;
        const size_t n = left < WW_MOMENTS_TILE ? (size_t)left : WW_MOMENTS_TILE;
        uint64_t bytes = 0;
        for (unsigned m = 0; m < family->n_models && !rc; m++) {
            const struct ww_tensor *of = &family->models[m]->tensors[t->index[m]];
            rc = read_column(w, family->models[m], of, first, n,
                             w->tile.columns + (size_t)m * WW_MOMENTS_TILE, err);
            bytes += n * (ww_dtype_bits(of->dtype) / 8);
        }
        if (!rc) {
            rc = w->sweep->visit(w->sweep->payload, tensor, &w->tile, n, err);
        }
        if (!rc) {
            rc = note_progress(w->sweep, bytes, err);
        }
    }
    return rc;
}

static void *work(void *payload)
{
    struct worker *w = payload;
    struct sweep *s = w->sweep;

    for (;;) {
        struct ww_error err = {0};
        uint32_t tensor = WW_NONE;
        pthread_mutex_lock(&s->lock);
        if (s->next < s->family->n_tensors && s->failed == WW_NONE) {
            tensor = s->order[s->next++];
        }
        pthread_mutex_unlock(&s->lock);
        if (tensor == WW_NONE) {
            return NULL;
        }
        if (sweep_tensor(w, tensor, &err)) {
            pthread_mutex_lock(&s->lock);
            if (tensor < s->failed) {
                s->failed = tensor;
                s->err = err;
            }
            pthread_mutex_unlock(&s->lock);
        }
    }
}

static void run_workers(struct worker *workers, unsigned n)
{
    pthread_t threads[MAX_THREADS];
    bool started[MAX_THREADS] = {false};

    for (unsigned i = 1; i < n; i++) {
        started[i] = pthread_create(&threads[i], NULL, work, &workers[i]) == 0;
    }
    /* This thread works too, so that a thread that could not start costs only time. */
    (void)work(&workers[0]);
    for (unsigned i = 1; i < n; i++) {
        if (started[i]) {
            pthread_join(threads[i], NULL);
        }
    }
}

struct sized {
    uint64_t n_elements;
    uint32_t tensor;
};

static int larger_first(const void *a, const void *b)
{
    const struct sized *x = a;
    const struct sized *y = b;
    if (x->n_elements != y->n_elements) {
        return x->n_elements < y->n_elements ? 1 : -1;
    }
    return x->tensor < y->tensor ? -1 : 1;
}

static enum ww_err make_order(const struct ww_family *family, uint32_t **out,
                              struct ww_error *err)
{
    struct sized *list = ww_calloc(family->n_tensors, sizeof(*list));
    uint32_t *order = ww_calloc(family->n_tensors, sizeof(*order));

    if (!list || !order) {
        ww_free(list);
        ww_free(order);
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for a comparison of models");
    }
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        list[t] = (struct sized){family->tensors[t].n_elements, t};
    }
    qsort(list, family->n_tensors, sizeof(*list), larger_first);
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        order[t] = list[t].tensor;
    }
    ww_free(list);
    *out = order;
    return WW_OK;
}

static uint64_t count_bytes(const struct ww_family *family)
{
    uint64_t total = 0;

    for (uint32_t t = 0; t < family->n_tensors; t++) {
        for (unsigned m = 0; m < family->n_models; m++) {
            total += family->models[m]->tensors[family->tensors[t].index[m]].n_bytes;
        }
    }
    return total;
}

static enum ww_err make_workers(struct sweep *s, struct worker *workers, unsigned n,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < n && !rc; i++) {
        workers[i].sweep = s;
        workers[i].bytes = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
        rc = ww_moments_tile_init(&workers[i].tile, s->family->n_models - 2, err);
        if (!rc && !workers[i].bytes) {
            rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for a comparison of models");
        }
    }
    return rc;
}

enum ww_err ww_sweep(const struct ww_family *family, const char *phase,
                     const struct ww_run_options *run, ww_tile_fn visit, void *payload,
                     uint64_t *bytes_read, struct ww_error *err)
{
    struct sweep s = {.family = family,
                      .phase = phase,
                      .run = run,
                      .visit = visit,
                      .payload = payload,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .total = count_bytes(family),
                      .failed = WW_NONE};
    const unsigned wanted = ww_threads_wanted(run);
    const unsigned n = wanted < MAX_THREADS ? wanted : MAX_THREADS;
    struct worker workers[MAX_THREADS] = {{0}};
    uint32_t *order = NULL;
    enum ww_err rc = make_order(family, &order, err);

    if (!rc) {
        s.order = order;
        rc = make_workers(&s, workers, n, err);
    }
    if (!rc) {
        run_workers(workers, n);
        rc = s.failed == WW_NONE ? WW_OK : WW_FAIL(err, s.err.code, "%s", s.err.text);
        *bytes_read += s.done;
    }
    for (unsigned i = 0; i < n; i++) {
        ww_moments_tile_release(&workers[i].tile);
        ww_free(workers[i].bytes);
    }
    ww_free(order);
    return rc;
}
