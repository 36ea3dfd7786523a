/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both threads take the next tensor of the plan that nobody has begun, up to WINDOW of
 * them before they are asked for and while what is held stays below MOST_BYTES. The
 * thread that asks takes one as well while it waits for the other, so neither is idle.
 */
#include "merge/ahead.h"

#include <pthread.h>

#include "merge/pass.h"
#include "util/alloc.h"
#include "util/fail.h"

#define WINDOW 8u
#define MOST_BYTES ((uint64_t)768 << 20)
/* Beside those of the sources, about, while a tensor is worked on. */
#define MATRICES 6u

enum stage { NOT_BEGUN, RUNNING, DONE, GIVEN }; /* given: closing it is another's */

struct ww_ahead {
    struct ww_merge_engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    pthread_t helper;
    bool stop;
    uint32_t asked;  /* the tensor asked for last */
    uint8_t *stages; /* [n_tensors] */
    uint64_t held;   /* bytes, about */
    enum ww_err rc;  /* of the first that failed */
    struct ww_error error;
};

static bool gains(const struct ww_merge_tensor *t)
{
    return t->method->within_tolerance && !t->method->ops->whole && t->rank == 2 &&
           ww_dtype_is_plain_float(t->dtype);
}

static uint64_t bytes_done(const struct ww_ahead *a, uint32_t tensor)
{
    return a->engine->pieces[tensor].item.job.n * sizeof(double);
}

static uint64_t bytes_running(const struct ww_ahead *a, uint32_t tensor)
{
    const uint64_t n = a->engine->plan->tensors[tensor].n_sources + (uint64_t)MATRICES;
    return bytes_done(a, tensor) * n;
}

/* WW_NONE: none now. */
static uint32_t next_tensor(const struct ww_ahead *a)
{
    const struct ww_merge_plan *plan = a->engine->plan;

    for (uint32_t t = a->asked; t < plan->n_tensors && t - a->asked <= WINDOW; t++) {
        if (a->stages[t] == NOT_BEGUN && gains(&plan->tensors[t])) {
            const bool fits = a->held == 0 || a->held + bytes_running(a, t) <= MOST_BYTES;
            return fits ? t : WW_NONE;
        }
    }
    return WW_NONE;
}

/* The lock is held, and released in between. */
static void work_on(struct ww_ahead *a, uint32_t tensor)
{
    struct ww_merge_engine *e = a->engine;
    struct ww_merge_job *job = &e->pieces[tensor].item.job;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    a->stages[tensor] = RUNNING;
    a->held += bytes_running(a, tensor);
    pthread_mutex_unlock(&a->lock);
    rc = ww_merge_passes(&e->pieces[tensor].item, e->threads, e->memory, &err);
    if (rc && job->tensor->method->ops->close) {
        job->tensor->method->ops->close(job);
    }
    pthread_mutex_lock(&a->lock);
    a->held -= bytes_running(a, tensor) - bytes_done(a, tensor);
    a->stages[tensor] = rc ? GIVEN : DONE;
    if (rc && !a->rc) {
        a->rc = rc;
        a->error = err;
    }
    pthread_cond_broadcast(&a->moved);
}

static void *help(void *argument)
{
    struct ww_ahead *a = argument;

    pthread_mutex_lock(&a->lock);
    while (!a->stop && !a->rc) {
        const uint32_t t = next_tensor(a);
        if (t != WW_NONE) {
            work_on(a, t);
        } else {
            pthread_cond_wait(&a->moved, &a->lock);
        }
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

enum ww_err ww_ahead_open(struct ww_ahead *a, uint32_t tensor, struct ww_error *err)
{
    pthread_mutex_lock(&a->lock);
    WW_INVARIANT(a->rc || a->stages[tensor] != GIVEN);
    a->asked = tensor;
    pthread_cond_broadcast(&a->moved);
    while (!a->rc && a->stages[tensor] != DONE) {
        const uint32_t t = a->stages[tensor] == NOT_BEGUN ? tensor : next_tensor(a);
        if (t != WW_NONE) {
            work_on(a, t);
        } else {
            pthread_cond_wait(&a->moved, &a->lock);
        }
    }
    const enum ww_err rc = a->rc;
    if (rc && err) {
        *err = a->error;
    }
    if (!rc) {
        a->stages[tensor] = GIVEN;
        a->held -= bytes_done(a, tensor);
        pthread_cond_broadcast(&a->moved);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

enum ww_err ww_ahead_new(struct ww_merge_engine *engine, struct ww_ahead **out,
                         struct ww_error *err)
{
    const struct ww_merge_plan *plan = engine->plan;
    struct ww_ahead *a = NULL;
    uint32_t n = 0;

    *out = NULL;
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        n += gains(&plan->tensors[t]);
    }
    if (engine->threads < 2 || n < 2) {
        return WW_OK;
    }
    a = ww_calloc(1, sizeof(*a));
    if (a) {
        a->engine = engine;
        a->stages = ww_calloc(plan->n_tensors, sizeof(*a->stages));
    }
    if (!a || !a->stages) {
        ww_free(a);
        return WW_FAIL_MEMORY(err, "a merge");
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->moved, NULL);
    /* A help that may fail to come; where it does it looks at stop already. */
    if (pthread_create(&a->helper, NULL, help, a) != 0) {
        a->stop = true;
    }
    *out = a;
    return WW_OK;
}

void ww_ahead_free(struct ww_ahead *a)
{
    if (!a) {
        return;
    }
    pthread_mutex_lock(&a->lock);
    const bool helped = !a->stop;
    a->stop = true;
    pthread_cond_broadcast(&a->moved);
    pthread_mutex_unlock(&a->lock);
    if (helped) {
        pthread_join(a->helper, NULL);
    }
    for (uint32_t t = 0; t < a->engine->plan->n_tensors; t++) {
        struct ww_merge_job *job = &a->engine->pieces[t].item.job;
        if (a->stages[t] == DONE && job->tensor->method->ops->close) {
            job->tensor->method->ops->close(job);
        }
    }
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->moved);
    ww_free(a->stages);
    ww_free(a);
}
