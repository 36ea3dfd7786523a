/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EMR-Merging (arXiv 2405.17461): one unified change for all tasks, and for each task a
 * mask and one number that fit it to the task. The sign s of an element is that of the
 * sum of the changes, the unified change u the largest magnitude among those that have
 * it. A task takes u where its own change has that sign, times r = sum abs(own change) /
 * sum abs(u where taken) over the whole model, as the paper has it. `task` 0 gives the
 * unified model, k the model of source k. With `mask` the output is r where task k takes
 * u and 0 elsewhere: with it the method masks makes the model of the task of the unified
 * one. The two sums are exact (tilesum.h), so the order of elements does not matter; a
 * mask has no signs, so it is no lock of a mask.
 */
#include <math.h>

#include "merge/kernel.h"
#include "merge/tilesum.h"
#include "merge/weighted.h"
#include "util/alloc.h"

struct emr {
    uint32_t n_sources;
    struct ww_magsum *sums; /* [2 n_sources]: own changes, what the mask takes of u */
};

/* u of a block. A sum of 0 counts as minus, as in the authors' program; between locked
 * models, whose signs may all be turned, it elects none. */
static void unify(const struct ww_merge_job *job, const struct ww_merge_block *b,
                  double *u)
{
    for (size_t i = 0; i < b->n; i++) {
        double sum = 0;
        double largest = 0;
        for (uint32_t k = 0; k < job->n_sources; k++) {
            sum += b->x[k][i];
        }
        const double sign = sum > 0 ? 1 : sum == 0 && job->plan->order_free ? 0 : -1;
        for (uint32_t k = 0; k < job->n_sources; k++) {
            const double along = b->x[k][i] * sign;
            largest = along > largest ? along : largest;
        }
        u[i] = sign * largest;
    }
}

/* What task k takes of u. */
static void take(const double *u, const double *own, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = own[i] * u[i] > 0 ? u[i] : 0;
    }
}

static void emr_end(void *shared)
{
    struct emr *e = shared;
    ww_free(e->sums);
    ww_free(e);
}

static enum ww_err emr_begin(struct ww_merge_job *job, uint64_t n, struct ww_error *err)
{
    struct emr *e = ww_calloc(1, sizeof(*e));
    (void)n;
    job->shared = e;
    if (!e) {
        return ww_merge_no_memory(job, err);
    }
    e->n_sources = job->n_sources;
    e->sums = ww_calloc(2 * (size_t)e->n_sources, sizeof(*e->sums));
    return e->sums ? WW_OK : ww_merge_no_memory(job, err);
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    (void)err;
    *scan = ww_merge_param(job, "task") != 0;
    job->acc_bytes = 2 * job->n_sources * sizeof(struct ww_magsum);
    job->scratch_bytes = job->max_block * sizeof(double);
    return WW_OK;
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    struct ww_magsum *sums = acc;
    double *u = b->scratch;
    (void)pass;

    unify(job, b, u);
    for (uint32_t k = 0; k < job->n_sources; k++) {
        ww_magsum_add(&sums[2 * k], b->x[k], b->n);
        take(u, b->x[k], b->n, b->out);
        ww_magsum_add(&sums[2 * k + 1], b->out, b->n);
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct emr *e = job->shared;
    const struct ww_magsum *sums = acc;
    (void)pass;
    (void)tile;
    for (uint32_t i = 0; i < 2 * e->n_sources; i++) {
        ww_magsum_merge(&e->sums[i], &sums[i]);
    }
}

static enum ww_err emr_passed(struct ww_merge_job *job, bool *again, struct ww_error *err)
{
    (void)job;
    (void)err;
    *again = false;
    return WW_OK;
}

struct emr_task {
    uint32_t task; /* 0: unified, else 1 + source */
    double factor;
    bool mask;
};

static double rescaler(const struct emr *e, uint32_t source)
{
    const double own = ww_magsum_value(&e->sums[2 * source]);
    const double taken = ww_magsum_value(&e->sums[2 * source + 1]);
    return taken > 0 ? own / taken : 1;
}

static enum ww_err emr_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct emr_task *t = ww_calloc(1, sizeof(*t));
    job->state = t;
    *scan = false;
    if (!t) {
        return ww_merge_no_memory(job, err);
    }
    t->task = (uint32_t)ww_merge_param(job, "task");
    t->factor = ww_merge_param(job, "lambda");
    t->mask = ww_merge_param(job, "mask") != 0;
    job->scratch_bytes = job->max_block * sizeof(double);
    if (t->task > job->n_sources) {
        return ww_merge_refuse(job, err, "task %u of %u models; 0 is the unified model",
                               t->task, job->n_sources);
    }
    if (t->mask && t->task == 0) {
        return ww_merge_refuse(job, err, "the unified model has no mask; choose a task");
    }
    if (t->mask && job->plan->order_free) {
        return ww_merge_refuse(job, err,
                               "a mask does not turn with the signs of a lock; "
                               "make it of open models");
    }
    if (job->shared && t->task > 0) {
        t->factor *= rescaler(job->shared, t->task - 1);
    }
    return WW_OK;
}

static enum ww_err emr_block(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, struct ww_error *err)
{
    const struct emr_task *t = job->state;
    double *u = t->task == 0 ? b->out : b->scratch;
    (void)err;

    unify(job, b, u);
    if (t->mask) {
        const double *own = b->x[t->task - 1];
        for (size_t i = 0; i < b->n; i++) {
            b->out[i] = own[i] * u[i] > 0 ? t->factor : 0;
        }
        return WW_OK;
    }
    if (t->task > 0) {
        take(u, b->x[t->task - 1], b->n, b->out);
    }
    ww_weighted_onto(b->base, t->factor, b->n, b->out);
    return WW_OK;
}

static void emr_close(struct ww_merge_job *job)
{
    ww_free(job->state);
    job->state = NULL;
}

static const struct ww_whole_ops whole = {
    .begin = emr_begin,
    .tensor = {.deltas = true, .open = pass_open, .scan = pass_scan, .fold = pass_fold},
    .passed = emr_passed,
    .end = emr_end,
};

const struct ww_method_ops ww_merge_emr = {
    .deltas = true,
    .open = emr_open,
    .block = emr_block,
    .close = emr_close,
    .whole = &whole,
};
