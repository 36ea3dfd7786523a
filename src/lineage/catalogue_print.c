/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors are taken in the order of their names, one by a thread; sketches are added up
 * in that order too, so that the sum has the same bits for any number of threads. A
 * sketch that is early is parked, and its thread goes on; an embedding, which is long,
 * has none.
 */
#include "lineage/catalogue_print.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/catalogue_read.h"
#include "lineage/catalogue_spectra.h"
#include "model/convert.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define MAX_THREADS 16
#define PROGRESS_NS INT64_C(100000000)
#define PARKED_BYTES ((size_t)16 << 20)

struct crew {
    const struct ww_model *model;
    const struct ww_print_options *options;
    struct ww_print *print;
    double *sum;
    size_t m;
    pthread_mutex_t lock;
    pthread_cond_t turn_came;
    uint32_t next;
    uint32_t turn;   /* whose sketch is added next */
    bool *done;      /* [n_tensors] */
    double **parked; /* [n_tensors], sketches of those that are done before their turn */
    size_t n_parked;
    uint32_t
        failed; /* least tensor that failed, so that its error is the same each time */
    struct ww_error err;
    uint64_t total;
    int64_t told_ns;
};

struct member {
    struct crew *crew;
    struct ww_tensor_reader reader;
};

uint32_t ww_layer_of(const char *name, const char **inside)
{
    const char *part = name;

    while (part) {
        const char *end = strchr(part, '.');
        const size_t len = end ? (size_t)(end - part) : strlen(part);
        uint64_t number = 0;
        if (ww_parse_u64(part, len, &number) && number < WW_NONE) {
            if (inside) {
                *inside = end ? end + 1 : "";
            }
            return (uint32_t)number;
        }
        part = end ? end + 1 : NULL;
    }
    return WW_NONE;
}

bool ww_print_is_body(const struct ww_tensor *tensor)
{
    return tensor->rank >= 2 && ww_dtype_is_plain_float(tensor->dtype) &&
           ww_layer_of(tensor->name, NULL) != WW_NONE;
}

/* Called with the lock held. */
static enum ww_err note_progress(struct crew *c, uint64_t bytes, struct ww_error *err)
{
    const struct ww_run_options *run = &c->options->run;

    c->print->bytes_read += bytes;
    if (run->progress && ww_now_ns() - c->told_ns >= PROGRESS_NS) {
        c->told_ns = ww_now_ns();
        if (run->progress(run->progress_payload, "reading", c->print->bytes_read,
                          c->total)) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    return WW_OK;
}

static void add_sketch(struct crew *c, const double *buckets)
{
    for (size_t i = 0; i < c->m; i++) {
        c->sum[i] += buckets[i];
    }
}

/* The turn of all that are done, in order. */
static void take_turns(struct crew *c)
{
    while (c->turn < c->print->n_tensors && c->done[c->turn]) {
        double *buckets = c->parked[c->turn];
        if (buckets) {
            add_sketch(c, buckets);
            c->n_parked--;
        }
        ww_free(buckets);
        c->parked[c->turn] = NULL;
        c->turn++;
    }
    pthread_cond_broadcast(&c->turn_came);
}

/* Add the sketch, or leave it for its turn, or wait for that when too many are left. */
static void hand_over(struct member *m, uint32_t k)
{
    struct crew *c = m->crew;
    double *fresh = NULL;

    while (c->turn != k && c->n_parked * c->m * sizeof(double) >= PARKED_BYTES) {
        pthread_cond_wait(&c->turn_came, &c->lock);
    }
    if (c->turn != k) {
        fresh = ww_calloc(c->m, sizeof(*fresh));
    }
    while (c->turn != k && !fresh) {
        pthread_cond_wait(&c->turn_came, &c->lock);
    }
    if (c->turn == k) {
        add_sketch(c, m->reader.buckets);
        ww_free(fresh);
        return;
    }
    c->parked[k] = m->reader.buckets;
    c->n_parked++;
    m->reader.buckets = fresh;
}

/* A failed tensor takes its turn too, or others would wait. */
static void hand_in(struct member *m, uint32_t k, enum ww_err rc, uint64_t bytes,
                    struct ww_error *err)
{
    struct crew *c = m->crew;
    const uint32_t index = c->print->tensors[k].index;

    pthread_mutex_lock(&c->lock);
    if (!rc) {
        rc = note_progress(c, bytes, err);
    }
    if (!rc && !c->options->bytes && ww_print_is_body(&c->model->tensors[index])) {
        hand_over(m, k);
    }
    if (rc && k < c->failed) {
        c->failed = k;
        c->err = *err;
    }
    c->done[k] = true;
    take_turns(c);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *payload)
{
    struct member *m = payload;
    struct crew *c = m->crew;

    for (;;) {
        struct ww_error err = {0};
        uint64_t bytes = 0;
        uint32_t k = WW_NONE;
        enum ww_err rc = WW_OK;
        pthread_mutex_lock(&c->lock);
        if (c->next < c->print->n_tensors && c->failed == WW_NONE) {
            k = c->next++;
        }
        pthread_mutex_unlock(&c->lock);
        if (k == WW_NONE) {
            return NULL;
        }
        rc = ww_tensor_reader_run(&m->reader, c->model, c->options, k,
                                  &c->print->tensors[k], &bytes, &err);
        hand_in(m, k, rc, bytes, &err);
    }
}

static void run_members(struct member *members, unsigned n)
{
    pthread_t threads[MAX_THREADS];
    bool started[MAX_THREADS] = {false};

    for (unsigned i = 1; i < n; i++) {
        started[i] = pthread_create(&threads[i], NULL, work, &members[i]) == 0;
    }
    (void)work(&members[0]);
    for (unsigned i = 1; i < n; i++) {
        if (started[i]) {
            pthread_join(threads[i], NULL);
        }
    }
}

static enum ww_err read_all(struct crew *c, struct ww_error *err)
{
    const unsigned wanted = ww_threads_wanted(&c->options->run);
    const unsigned n = wanted < MAX_THREADS ? wanted : MAX_THREADS;
    struct member members[MAX_THREADS] = {{0}};
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < n && !rc; i++) {
        members[i].crew = c;
        rc = ww_tensor_reader_init(&members[i].reader, c->m, err);
    }
    if (!rc) {
        run_members(members, n);
        rc = c->failed == WW_NONE ? WW_OK : WW_FAIL(err, c->err.code, "%s", c->err.text);
    }
    for (unsigned i = 0; i < n; i++) {
        ww_tensor_reader_release(&members[i].reader);
    }
    return rc;
}

enum ww_err ww_print_list(const struct ww_model *model, struct ww_print *out,
                          struct ww_error *err)
{
    uint32_t *order = NULL;
    uint32_t *rank = NULL;
    enum ww_err rc = ww_tree_order(model, &order, &rank, err);

    out->tensors = rc ? NULL : ww_calloc(model->n_tensors, sizeof(*out->tensors));
    if (!rc && !out->tensors) {
        rc = WW_FAIL_MEMORY(err, "a model's print");
    }
    for (uint32_t k = 0; k < model->n_tensors && !rc; k++) {
        const struct ww_tensor *t = &model->tensors[order[k]];
        out->tensors[k].name = ww_canonical_name(t->name);
        out->tensors[k].index = order[k];
        out->tensors[k].layer = ww_layer_of(t->name, NULL);
        out->n_elements += t->n_elements;
        out->n_tensors++;
    }
    ww_free(order);
    ww_free(rank);
    return rc;
}

static void hash_shape(struct ww_sha256 *h, const char *name, const struct ww_tensor *t)
{
    uint8_t number[8];

    ww_sha256_update(h, name, strlen(name) + 1);
    for (unsigned d = 0; d < t->rank; d++) {
        ww_put_u64le(number, t->shape[d]);
        ww_sha256_update(h, number, sizeof(number));
    }
}

/* A family is what can be subtracted: the same body, whatever dtype and vocabulary. */
enum ww_err ww_print_family(const struct ww_model *model, struct ww_print *out,
                            struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (rc) {
        return rc;
    }
    ww_sha256_update(h, "weightward.family/1", 20);
    for (uint32_t k = 0; k < out->n_tensors; k++) {
        const struct ww_tensor *t = &model->tensors[out->tensors[k].index];
        if (ww_print_is_body(t)) {
            hash_shape(h, out->tensors[k].name, t);
            out->body += (double)t->n_elements;
        }
    }
    out->body = out->sampled ? out->body / 64 : out->body;
    ww_sha256_final(h, out->family);
    ww_sha256_free(h);
    return WW_OK;
}

static enum ww_err hash_model(struct ww_sha256 *h, struct ww_print *out,
                              struct ww_error *err)
{
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(out->n_tensors, sizeof(*roots));

    if (!roots) {
        return WW_FAIL_MEMORY(err, "a model's print");
    }
    for (uint32_t k = 0; k < out->n_tensors; k++) {
        memcpy(roots[k], out->tensors[k].root, WW_SHA256_BYTES);
    }
    if (!out->sampled && out->n_tensors > 0) {
        ww_tree_fold(h, roots, out->n_tensors, out->digest);
    } else {
        ww_sha256_reset(h);
        ww_sha256_update(h, "weightward.sample/1", 20);
        for (uint32_t k = 0; k < out->n_tensors; k++) {
            const char *name = out->tensors[k].name;
            ww_sha256_update(h, name, strlen(name) + 1);
            ww_sha256_update(h, out->tensors[k].sha256, WW_SHA256_BYTES);
        }
        ww_sha256_final(h, out->digest);
    }
    ww_free(roots);
    return WW_OK;
}

enum ww_err ww_print_narrow(const double *sum, size_t m, size_t to, float **out,
                            struct ww_error *err)
{
    float *v = ww_calloc(to, sizeof(*v));

    if (!v) {
        return WW_FAIL_MEMORY(err, "a sketch");
    }
    for (size_t i = 0; i < to; i++) {
        double total = 0;
        for (size_t j = 0; j < m / to; j++) {
            total += sum[i * (m / to) + j];
        }
        v[i] = (float)total;
    }
    *out = v;
    return WW_OK;
}

static enum ww_err finish(const struct crew *c, struct ww_print *out,
                          struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (!rc) {
        rc = hash_model(h, out, err);
    }
    if (rc || c->options->bytes) {
        ww_sha256_free(h);
        return rc;
    }
    rc = ww_print_family(c->model, out, err);
    if (!rc) {
        rc = ww_print_narrow(c->sum, c->m, WW_SKETCH_COARSE, &out->coarse, err);
    }
    if (!rc && c->options->fine) {
        rc = ww_print_narrow(c->sum, c->m, WW_SKETCH_FINE, &out->fine, err);
    }
    if (!rc) {
        rc = ww_anchor_gram(c->model, NULL, &out->gram, err);
    }
    if (!rc && !out->sampled) {
        rc = ww_spectra_make(c->model, &out->spectra, &out->chance, &out->n_spectra, err);
    }
    ww_sha256_free(h);
    return rc;
}

enum ww_err ww_print_make(const struct ww_model *model,
                          const struct ww_print_options *options, struct ww_print *out,
                          struct ww_error *err)
{
    struct crew crew = {.model = model,
                        .options = options,
                        .print = out,
                        .m = options->fine ? WW_SKETCH_FINE : WW_SKETCH_COARSE,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .turn_came = PTHREAD_COND_INITIALIZER,
                        .failed = WW_NONE};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->sampled = options->sample;
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        crew.total += model->tensors[i].n_bytes;
    }
    crew.total = options->sample ? crew.total / 64 : crew.total;
    crew.sum = ww_calloc(crew.m, sizeof(*crew.sum));
    crew.done = ww_calloc(model->n_tensors, sizeof(*crew.done));
    crew.parked = ww_calloc(model->n_tensors, sizeof(*crew.parked));
    rc = crew.sum && crew.done && crew.parked ? ww_print_list(model, out, err)
                                              : WW_FAIL_MEMORY(err, "a sketch");
    if (!rc) {
        rc = read_all(&crew, err);
    }
    if (!rc) {
        rc = ww_model_unchanged(model, err);
    }
    if (!rc) {
        rc = finish(&crew, out, err);
    }
    ww_free(crew.sum);
    ww_free(crew.done);
    ww_free(crew.parked);
    if (rc) {
        ww_print_release(out);
    }
    return rc;
}

void ww_print_release(struct ww_print *print)
{
    for (uint32_t k = 0; k < print->n_tensors; k++) {
        ww_free(print->tensors[k].row_hashes);
    }
    ww_free(print->tensors);
    ww_free(print->coarse);
    ww_free(print->fine);
    ww_free(print->gram);
    ww_free(print->spectra);
    ww_free(print->chance);
    memset(print, 0, sizeof(*print));
}
