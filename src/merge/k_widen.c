/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WIDEN (arXiv 2408.03092), made for merging a model that was trained much further with
 * one that was only tuned. A weight is seen column by column (a table of tokens row by
 * row, a vector element by element); a column changed by how far its length moved and by
 * how far its direction turned. Both are ranked within each model, ranks compete between
 * models by a softmax, and a column whose rank is above the model's mean counts in full.
 * The mean of the two scores is the column's weight; weights are not normalised, so what
 * all models find important is summed.
 *
 * Lengths are sums over tiles that threads finish in any order: they are added as whole
 * numbers of 2^-90, which is exact.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "la/fixmath.h"
#include "merge/kernel.h"
#include "model/orientation.h"
#include "model/vocab_names.h"
#include "merge/weighted.h"
#include "util/alloc.h"

__extension__ typedef __int128 wide_int;

#define UNIT 0x1p90
#define MOST 0x1p36 /* of a sum of squares */

enum along { COLUMNS, ROWS, ELEMENTS };

struct widen {
    enum along along;
    uint32_t n;    /* sources */
    uint64_t d;    /* columns, rows or elements */
    size_t n_sums; /* of one of them: |base|^2, then |x|^2 and <x, base> of each source */
    wide_int *exact; /* [d][n_sums], of columns */
    double *sums;    /* [d][n_sums]; of elements [d][n] magnitudes */
    double *weight;  /* [n][d] */
    bool too_large;
    double lambda;
    double above;
    double full;
};

struct ranked {
    double value;
    uint64_t at;
};

static enum along along_of(const struct ww_merge_job *job)
{
    const struct ww_merge_tensor *t = job->tensor;
    if (t->rank < 2) {
        return ELEMENTS;
    }
    if (ww_is_token_table(t->name)) {
        return ROWS;
    }
    return ww_lies_across(job->plan->inputs_first, t->name) ? ROWS : COLUMNS;
}

static bool wants_rows(const struct ww_merge_job *job)
{
    return along_of(job) == ROWS;
}

static void widen_close(struct ww_merge_job *job)
{
    struct widen *w = job->state;
    if (w) {
        ww_free(w->exact);
        ww_free(w->sums);
        ww_free(w->weight);
        ww_free(w);
        job->state = NULL;
    }
}

static enum ww_err widen_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct widen *w = ww_calloc(1, sizeof(*w));
    job->state = w;
    *scan = true;
    if (!w) {
        return ww_merge_no_memory(job, err);
    }
    w->along = along_of(job);
    w->n = job->n_sources;
    w->d = w->along == COLUMNS ? job->n_cols : w->along == ROWS ? job->n_rows : job->n;
    w->n_sums = w->along == ELEMENTS ? w->n : 2 * (size_t)w->n + 1;
    w->lambda = ww_merge_param(job, "lambda");
    w->above = ww_merge_param(job, "above_average");
    w->full = ww_merge_param(job, "calibration");
    job->acc_bytes = w->along == COLUMNS ? w->d * w->n_sums * sizeof(double) : 0;
    w->sums = ww_calloc(w->d + 1, w->n_sums * sizeof(*w->sums));
    w->weight = ww_calloc(w->d + 1, w->n * sizeof(*w->weight));
    if (w->along == COLUMNS) {
        w->exact = ww_calloc(w->d + 1, w->n_sums * sizeof(*w->exact));
    }
    return w->sums && w->weight && (w->exact || w->along != COLUMNS)
               ? WW_OK
               : ww_merge_no_memory(job, err);
}

static void add_product(const struct widen *w, const struct ww_merge_block *b, size_t i,
                        double *sums)
{
    const double base = b->base[i];
    sums[0] += base * base;
    for (uint32_t k = 0; k < w->n; k++) {
        const double x = b->x[k][i];
        sums[2 * k + 1] += x * x;
        sums[2 * k + 2] += x * base;
    }
}

/* Rows and elements belong to one tile each, so they may be written where they stay. */
static void widen_scan(const struct ww_merge_job *job, unsigned pass,
                       const struct ww_merge_block *b, void *acc)
{
    struct widen *w = job->state;
    double *columns = acc;
    (void)pass;

    for (size_t i = 0; i < b->n; i++) {
        const uint64_t at = b->first + i;
        if (w->along == COLUMNS) {
            add_product(w, b, i, columns + at % w->d * w->n_sums);
        } else if (w->along == ROWS) {
            add_product(w, b, i, w->sums + at / job->n_cols * w->n_sums);
        } else {
            for (uint32_t k = 0; k < w->n; k++) {
                w->sums[at * w->n + k] = fabs(b->x[k][i] - b->base[i]);
            }
        }
    }
}

static void widen_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                       const void *acc)
{
    struct widen *w = job->state;
    const double *columns = acc;
    (void)pass;
    (void)tile;

    for (uint64_t i = 0; w->exact && i < w->d * w->n_sums; i++) {
        w->too_large = w->too_large || !(fabs(columns[i]) < MOST);
        w->exact[i] += w->too_large ? 0 : (wide_int)(columns[i] * UNIT);
    }
}

static int smaller_first(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return x->at < y->at ? -1 : x->at > y->at;
}

/* How far column j of a source is from the base's: its length, or its direction. */
static double distance(const struct widen *w, uint64_t j, uint32_t source, bool direction)
{
    const double *s = w->sums + j * w->n_sums;
    if (w->along == ELEMENTS) {
        return s[source];
    }
    const double base = sqrt(s[0]);
    const double own = sqrt(s[2 * source + 1]);
    if (!direction) {
        return fabs(own - base);
    }
    return own > 0 && base > 0 ? 1 - s[2 * source + 2] / (own * base) : 1;
}

/* rank[k][j] = rank / d, and its score is added to the weight. */
static void add_scores(struct widen *w, bool direction, double share, double *rank,
                       struct ranked *order)
{
    const double n = (double)w->d;
    for (uint32_t k = 0; k < w->n; k++) {
        for (uint64_t j = 0; j < w->d; j++) {
            order[j] = (struct ranked){distance(w, j, k, direction), j};
        }
        qsort(order, w->d, sizeof(*order), smaller_first);
        for (uint64_t j = 0; j < w->d; j++) {
            rank[k * w->d + order[j].at] = (double)j;
        }
    }
    for (uint64_t j = 0; j < w->d; j++) {
        double sum = 0;
        for (uint32_t k = 0; k < w->n; k++) {
            sum += ww_fix_exp(rank[k * w->d + j] / n);
        }
        for (uint32_t k = 0; k < w->n; k++) {
            const double r = rank[k * w->d + j];
            const bool high = r > w->above * ((n - 1) / 2);
            w->weight[k * w->d + j] += share * (high ? w->full : ww_fix_exp(r / n) / sum);
        }
    }
}

static enum ww_err widen_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                 struct ww_error *err)
{
    struct widen *w = job->state;
    double *rank = ww_calloc(w->d + 1, w->n * sizeof(*rank));
    struct ranked *order = ww_calloc(w->d + 1, sizeof(*order));
    enum ww_err rc = WW_OK;
    (void)pass;

    *again = false;
    if (!rank || !order) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    if (w->too_large) {
        rc = ww_merge_refuse(job, err,
                             "a column's squares sum to more than %g; scale the "
                             "models",
                             MOST);
        goto out;
    }
    for (uint64_t i = 0; w->exact && i < w->d * w->n_sums; i++) {
        w->sums[i] = (double)w->exact[i] / UNIT;
    }
    add_scores(w, false, w->along == ELEMENTS ? 1 : 0.5, rank, order);
    if (w->along != ELEMENTS) {
        add_scores(w, true, 0.5, rank, order);
    }
out:
    ww_free(rank);
    ww_free(order);
    return rc;
}

static enum ww_err widen_block(const struct ww_merge_job *job,
                               const struct ww_merge_block *b, struct ww_error *err)
{
    const struct widen *w = job->state;
    (void)err;

    for (size_t i = 0; i < b->n; i++) {
        const uint64_t at = b->first + i;
        const uint64_t j = w->along == COLUMNS ? at % w->d
                           : w->along == ROWS  ? at / job->n_cols
                                               : at;
        double sum = 0;
        for (uint32_t k = 0; k < w->n; k++) {
            sum += w->weight[k * w->d + j] * (b->x[k][i] - b->base[i]);
        }
        b->out[i] = sum;
    }
    ww_weighted_onto(b->base, w->lambda, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_widen = {
    .wants_rows = wants_rows,
    .open = widen_open,
    .scan = widen_scan,
    .fold = widen_fold,
    .scanned = widen_scanned,
    .block = widen_block,
    .close = widen_close,
};
