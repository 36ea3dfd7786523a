/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arcee fusion: a change is kept where its importance, its size times the divergence of
 * its row's softmax from the base's, is above median + 1.5 (Q3 - Q1). mergekit takes the
 * quantiles of large tensors from a random sample; ours are always exact. Importances are
 * compared as floats. The divergence of each row is kept from the first pass on.
 */
#include <math.h>

#include "la/fixmath.h"
#include "merge/kernel.h"
#include "merge/select.h"
#include "util/alloc.h"

#define EPSILON 1e-8
#define QUARTERS 3u
/* What float32 adds to a row's divergence: its exponentials' sum is rounded, and that
 * does not become less with the divergence. Four times half a unit in the last place of
 * one. */
#define OF_FLOATS 0x1p-22
#define TOLD 8 /* times that: of less, rounding decides about all of the row */
#define OF_THRESHOLD 0.005 /* of itself: quantiles of a million that were sampled */

struct arcee {
    struct ww_select select;
    double *divergence; /* [n_rows] */
    double threshold;
};

static void arcee_close(struct ww_merge_job *job)
{
    struct arcee *a = job->state;
    if (a) {
        ww_select_release(&a->select);
        ww_free(a->divergence);
        ww_free(a);
        job->state = NULL;
    }
}

static enum ww_err arcee_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct arcee *a = ww_calloc(1, sizeof(*a));
    job->state = a;
    *scan = true;
    if (!a) {
        return ww_merge_no_memory(job, err);
    }
    a->divergence = ww_calloc(job->n_rows, sizeof(*a->divergence));
    if (!a->divergence) {
        return ww_merge_no_memory(job, err);
    }
    job->scratch_bytes = job->max_block * 2 * sizeof(double);
    enum ww_err rc = ww_select_init(&a->select, job, QUARTERS, job->n, false, err);
    for (uint32_t q = 0; q < QUARTERS && !rc; q++) {
        /* The value at place floor(q (n - 1) / 4) from the smallest. */
        uint64_t place =
            job->n ? (job->n - 1) / 4 * (q + 1) + (job->n - 1) % 4 * (q + 1) / 4 : 0;
        a->select.cuts[q].rank = job->n - place;
    }
    return rc;
}

/* exp(x - max), and the sum of them. */
static double exponentials(const double *x, size_t n, double *e)
{
    double max = x[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    for (size_t i = 0; i < n; i++) {
        e[i] = ww_fix_exp(x[i] - max);
        sum += e[i];
    }
    return sum;
}

static double diverge(const double *x, const double *base, size_t n, double *scratch)
{
    double *p = scratch;
    double *q = scratch + n;
    double p_sum = exponentials(x, n, p);
    double q_sum = exponentials(base, n, q);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double pi = p[i] / p_sum + EPSILON;
        double qi = q[i] / q_sum + EPSILON;
        sum += pi * ww_fix_log(pi / qi);
    }
    return sum;
}

static uint64_t importance(const struct ww_merge_job *job, const struct ww_merge_block *b,
                           size_t i)
{
    const struct arcee *a = job->state;
    double distance = fabs(b->x[0][i] - b->base[i]);
    return ww_key_signed(distance * a->divergence[(b->first + i) / job->n_cols]);
}

static void arcee_scan(const struct ww_merge_job *job, unsigned pass,
                       const struct ww_merge_block *b, void *acc)
{
    const struct arcee *a = job->state;
    uint64_t *keys = b->scratch;

    for (size_t at = 0; pass == 0 && at < b->n; at += job->n_cols) {
        a->divergence[(b->first + at) / job->n_cols] =
            diverge(b->x[0] + at, b->base + at, job->n_cols, b->scratch);
    }
    for (size_t i = 0; i < b->n; i++) {
        keys[i] = importance(job, b, i);
    }
    ww_select_scan(&a->select, 0, keys, b->n, acc);
}

static void arcee_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                       const void *acc)
{
    struct arcee *a = job->state;
    (void)pass;
    ww_select_fold(&a->select, tile, acc);
}

static enum ww_err arcee_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                 struct ww_error *err)
{
    struct arcee *a = job->state;
    (void)pass;
    enum ww_err rc = ww_select_scanned(&a->select, job, again, err);
    if (!rc && a->select.cuts[0].done) {
        double q1 = ww_key_signed_value(a->select.cuts[0].key);
        double median = ww_key_signed_value(a->select.cuts[1].key);
        double q3 = ww_key_signed_value(a->select.cuts[2].key);
        a->threshold = median + 1.5 * (q3 - q1);
        *again = false; /* where ties lie does not matter for a threshold */
    }
    return rc;
}

/* Where another program's rounding may decide otherwise, both rules for ties have it
 * their way. In a row where it decides about everything that would say nothing. */
static bool is_kept(const struct ww_merge_job *job, const struct ww_merge_block *b,
                    size_t i)
{
    const struct arcee *a = job->state;
    const double distance = fabs(b->x[0][i] - b->base[i]);
    const double divergence = a->divergence[(b->first + i) / job->n_cols];
    const double side = divergence < TOLD * OF_FLOATS        ? 0
                        : job->plan->ties == WW_TIES_KEPT    ? 1
                        : job->plan->ties == WW_TIES_DROPPED ? -1
                                                             : 0;

    return side == 0 ? ww_key_signed_value(importance(job, b, i)) >= a->threshold
                     : distance * (divergence + side * OF_FLOATS) >=
                           a->threshold * (1 - side * OF_THRESHOLD);
}

static enum ww_err arcee_block(const struct ww_merge_job *job,
                               const struct ww_merge_block *b, struct ww_error *err)
{
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        bool keep = is_kept(job, b, i);
        b->out[i] = keep ? b->x[0][i] : b->base[i];
    }
    return WW_OK;
}

static bool always_rows(const struct ww_merge_job *job)
{
    (void)job;
    return true;
}

const struct ww_method_ops ww_merge_arcee_fusion = {
    .wants_rows = always_rows,
    .open = arcee_open,
    .scan = arcee_scan,
    .fold = arcee_fold,
    .scanned = arcee_scanned,
    .block = arcee_block,
    .close = arcee_close,
};
