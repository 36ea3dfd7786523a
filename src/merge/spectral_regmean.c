/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RegMean (arXiv 2212.09849): the linear layer whose outputs are closest to those of
 * every source on that source's own inputs. With the Gram matrix G_i = X_i^T X_i of a
 * source's inputs, its off-diagonal entries times a factor below 1, W = (sum w_i W_i G_i)
 * (sum w_i G_i)^-1. Gram matrices are imported, one tensor of columns x columns beside
 * each weight (docs/formats/statistics.md); they are read one at a time. A tensor of
 * which a source has none gets the average.
 */
#include <string.h>

#include "la/la.h"
#include "model/orientation.h"
#include "merge/spectral.h"
#include "merge/weighted.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

struct regmean {
    size_t m;
    size_t n;
    double *w;      /* [n_sources] */
    double **x;     /* [n_sources] of m x n; NULL: average */
    double *merged; /* m x n */
    double off;
    bool across; /* the file has them n x m */
};

static bool has_grams(const struct ww_merge_job *job)
{
    bool all = job->tensor->rank == 2 && job->tensor->stats;
    for (uint32_t i = 0; all && i < job->n_sources; i++) {
        all = job->tensor->stats[i].input != WW_NONE;
    }
    return all;
}

static void free_sources(struct regmean *r, uint32_t n)
{
    for (uint32_t i = 0; r->x && i < n; i++) {
        ww_free(r->x[i]);
    }
    ww_free(r->x);
    r->x = NULL;
}

static void regmean_close(struct ww_merge_job *job)
{
    struct regmean *r = job->state;
    if (r) {
        free_sources(r, job->n_sources);
        ww_free(r->w);
        ww_free(r->merged);
        ww_free(r);
        job->state = NULL;
    }
}

static enum ww_err regmean_open(struct ww_merge_job *job, bool *scan,
                                struct ww_error *err)
{
    struct regmean *r = ww_calloc(1, sizeof(*r));
    job->state = r;
    *scan = has_grams(job);
    if (!r) {
        return ww_merge_no_memory(job, err);
    }
    r->off = ww_merge_param(job, "off_diagonal");
    r->w = ww_merge_source_params(job, "weight");
    if (!r->w) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        if (r->w[i] <= 0) {
            return ww_merge_refuse(job, err,
                                   "weight %g of a Gram matrix, expected more "
                                   "than 0",
                                   r->w[i]);
        }
    }
    if (!*scan) {
        return WW_OK;
    }
    r->across = ww_lies_across(job->plan->inputs_first, job->tensor->name);
    r->m = (size_t)job->tensor->shape[r->across ? 1 : 0];
    r->n = (size_t)job->tensor->shape[r->across ? 0 : 1];
    r->x = ww_calloc(job->n_sources, sizeof(*r->x));
    r->merged = ww_spectral_new(r->m, r->n);
    bool made = r->x && r->merged;
    for (uint32_t i = 0; made && i < job->n_sources; i++) {
        r->x[i] = ww_spectral_new(r->m, r->n);
        made = r->x[i] != NULL;
    }
    return made ? WW_OK : ww_merge_no_memory(job, err);
}

/* Blocks do not overlap, so threads may write at once. */
static void regmean_scan(const struct ww_merge_job *job, unsigned pass,
                         const struct ww_merge_block *b, void *acc)
{
    const struct regmean *r = job->state;
    (void)pass;
    (void)acc;
    for (uint32_t i = 0; i < job->n_sources; i++) {
        if (r->across) {
            ww_put_across(b->x[i], b->first, b->n, r->n, r->m, r->x[i]);
        } else {
            memcpy(r->x[i] + b->first, b->x[i], b->n * sizeof(double));
        }
    }
}

/* The Gram matrix of one source, row by row, weighted and less what is off the diagonal.
 */
static enum ww_err read_gram(const struct ww_merge_job *job, uint32_t source,
                             double *gram, struct ww_error *err)
{
    const struct regmean *r = job->state;
    const struct ww_merge_source *s = &job->tensor->stats[source];
    const size_t row = r->n * (ww_dtype_bits(s->dtype) / 8);
    uint8_t *bytes = ww_calloc(1, row);
    enum ww_err rc = bytes ? WW_OK : ww_merge_no_memory(job, err);

    for (size_t i = 0; i < r->n && !rc; i++) {
        double *to = gram + i * r->n;
        rc = ww_merge_input_read(job->plan, s->input, bytes, row, s->offset + i * row,
                                 err);
        if (!rc && ww_count_nonfinite(s->dtype, bytes, r->n) > 0) {
            rc = ww_merge_refuse(job, err,
                                 "the Gram matrix of '%.100s' has values that are "
                                 "NaN or infinite",
                                 job->plan->inputs[s->input].name);
        }
        if (rc) {
            break;
        }
        ww_to_double(s->dtype, bytes, to, r->n);
        for (size_t j = 0; j < r->n; j++) {
            to[j] *= j == i ? r->w[source] : r->w[source] * r->off;
        }
    }
    ww_free(bytes);
    return rc;
}

static enum ww_err regmean_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                   struct ww_error *err)
{
    struct regmean *r = job->state;
    double *gram = ww_spectral_new(r->n, r->n);
    double *sum = ww_spectral_new(r->n, r->n);
    enum ww_err rc = gram && sum ? ww_la_ready(err) : ww_merge_no_memory(job, err);
    (void)pass;

    *again = false;
    ww_la_threads(1);
    for (uint32_t i = 0; i < job->n_sources && !rc; i++) {
        rc = read_gram(job, i, gram, err);
        if (rc) {
            break;
        }
        for (size_t k = 0; k < r->n * r->n; k++) {
            sum[k] += gram[k];
        }
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, r->m, r->n, r->n, 1.0, r->x[i], r->n, gram,
                   r->n, i > 0 ? 1.0 : 0.0, r->merged, r->n);
    }
    free_sources(r, job->n_sources);
    if (rc) {
        goto out;
    }
    rc = ww_la_cholesky(r->n, sum, NULL);
    if (rc) {
        rc = ww_merge_refuse(job, err,
                             "the Gram matrices have no inverse together; take more "
                             "examples or a smaller off_diagonal than %g",
                             r->off);
        goto out;
    }
    rc = ww_la_cholesky_divide(r->m, r->n, r->merged, sum, err);
out:
    ww_free(gram);
    ww_free(sum);
    return rc;
}

static enum ww_err regmean_block(const struct ww_merge_job *job,
                                 const struct ww_merge_block *b, struct ww_error *err)
{
    const struct regmean *r = job->state;
    double sum = 0;
    (void)err;

    if (r->merged && r->across) {
        ww_take_across(r->merged, b->first, b->n, r->n, r->m, b->out);
        return WW_OK;
    }
    if (r->merged) {
        memcpy(b->out, r->merged + b->first, b->n * sizeof(double));
        return WW_OK;
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        sum += r->w[i];
    }
    ww_weighted_mean(b->x, r->w, job->n_sources, sum, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_regmean = {
    .open = regmean_open,
    .scan = regmean_scan,
    .fold = ww_spectral_fold,
    .scanned = regmean_scanned,
    .block = regmean_block,
    .close = regmean_close,
};
