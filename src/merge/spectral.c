/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of the whole-matrix methods. A pass copies each source's differences to their
 * place, the solve runs when all are there, and the last walk adds the result to the
 * base. Whether a tensor is a matrix is seen from its shape; a table of words from its
 * name, because the published methods leave embeddings and output heads alone and their
 * long side would take more memory than the rest of the model.
 */
#include "merge/spectral.h"

#include <string.h>

#include "la/la.h"
#include "model/orientation.h"
#include "merge/weighted.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define LONGEST_SIDE 65536u

double *ww_spectral_new(size_t rows, size_t cols)
{
    uint64_t n = 0;
    if (!ww_mul_u64(rows, cols, &n)) {
        return NULL;
    }
    return ww_calloc(n, sizeof(double));
}

static bool is_table(const char *name)
{
    static const char *const words[] = {"embed", "lm_head", "wte.", "wpe.",
                                        "shared.weight"};
    for (size_t i = 0; i < WW_LEN(words); i++) {
        if (strstr(name, words[i])) {
            return true;
        }
    }
    return false;
}

static bool is_matrix(const struct ww_merge_tensor *t)
{
    return t->rank == 2 && t->shape[0] > 1 && t->shape[1] > 1 &&
           t->shape[0] <= LONGEST_SIDE && t->shape[1] <= LONGEST_SIDE &&
           !is_table(t->name);
}

static enum ww_err open_matrix(struct ww_merge_job *job, struct ww_spectral *s,
                               struct ww_error *err)
{
    s->across = ww_lies_across(job->plan->inputs_first, job->tensor->name);
    s->m = (size_t)job->tensor->shape[s->across ? 1 : 0];
    s->n = (size_t)job->tensor->shape[s->across ? 0 : 1];
    s->tau = ww_calloc(s->n_tau, sizeof(*s->tau));
    s->merged = ww_spectral_new(s->m, s->n);
    if (!s->tau || !s->merged) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        s->tau[i] = ww_spectral_new(s->m, s->n);
        if (!s->tau[i]) {
            return ww_merge_no_memory(job, err);
        }
    }
    return WW_OK;
}

enum ww_err ww_spectral_open(struct ww_merge_job *job, ww_spectral_fn solve, bool *scan,
                             struct ww_error *err)
{
    struct ww_spectral *s = ww_calloc(1, sizeof(*s));
    job->state = s;
    if (!s) {
        return ww_merge_no_memory(job, err);
    }
    s->solve = solve;
    s->n_tau = job->n_sources;
    s->lambda = ww_merge_param(job, "lambda");
    s->weight = ww_merge_source_params(job, "weight");
    if (!s->weight) {
        return ww_merge_no_memory(job, err);
    }
    *scan = is_matrix(job->tensor);
    if (!*scan) {
        return WW_OK;
    }
    enum ww_err rc = ww_la_ready(err); /* for all products of these methods */
    return rc ? rc : open_matrix(job, s, err);
}

/* Blocks do not overlap, so threads may write at once. The weighted change is made where
 * the input was, which nobody reads again. */
void ww_spectral_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *block, void *acc)
{
    const struct ww_spectral *s = job->state;
    (void)pass;
    (void)acc;
    for (uint32_t i = 0; i < s->n_tau; i++) {
        double *to = s->across ? block->x[i] : s->tau[i] + block->first;
        for (size_t k = 0; k < block->n; k++) {
            to[k] = s->weight[i] * block->x[i][k];
        }
        if (s->across) {
            ww_put_across(to, block->first, block->n, s->n, s->m, s->tau[i]);
        }
    }
}

void ww_spectral_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    (void)job;
    (void)pass;
    (void)tile;
    (void)acc;
}

static void free_sources(struct ww_spectral *s)
{
    for (uint32_t i = 0; s->tau && i < s->n_tau; i++) {
        ww_free(s->tau[i]);
    }
    ww_free(s->tau);
    s->tau = NULL;
}

enum ww_err ww_spectral_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                struct ww_error *err)
{
    struct ww_spectral *s = job->state;
    (void)pass;
    *again = false;
    ww_la_threads(1);
    enum ww_err rc = s->solve(job, s, err);
    free_sources(s);
    if (rc) {
        ww_error_context(err, "tensor '%.200s'", job->tensor->name);
    }
    return rc;
}

enum ww_err ww_spectral_block(const struct ww_merge_job *job,
                              const struct ww_merge_block *block, struct ww_error *err)
{
    const struct ww_spectral *s = job->state;
    (void)err;
    if (s->merged && s->across) {
        ww_take_across(s->merged, block->first, block->n, s->n, s->m, block->out);
    } else if (s->merged) {
        memcpy(block->out, s->merged + block->first, block->n * sizeof(double));
    } else {
        ww_weighted_sum(block->x, s->weight, job->n_sources, block->n, block->out);
        if (!s->rest_sum) {
            ww_weighted_divide(block->out, (double)job->n_sources, block->n);
        }
    }
    ww_weighted_onto(block->base, s->lambda, block->n, block->out);
    return WW_OK;
}

void ww_spectral_close(struct ww_merge_job *job)
{
    struct ww_spectral *s = job->state;
    if (s) {
        free_sources(s);
        ww_free(s->merged);
        ww_free(s->weight);
        ww_free(s);
        job->state = NULL;
    }
}

void ww_svd_release(struct ww_svd *svd)
{
    ww_free(svd->u);
    ww_free(svd->s);
    ww_free(svd->vt);
    memset(svd, 0, sizeof(*svd));
}

enum ww_err ww_svd_of(const struct ww_merge_job *job, size_t m, size_t n, const double *a,
                      struct ww_svd *svd, struct ww_error *err)
{
    double *copy = ww_spectral_new(m, n);
    enum ww_err rc = WW_OK;
    svd->r = m < n ? m : n;
    svd->u = ww_spectral_new(m, svd->r);
    svd->s = ww_spectral_new(svd->r, 1);
    svd->vt = ww_spectral_new(svd->r, n);
    if (!copy || !svd->u || !svd->s || !svd->vt) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    memcpy(copy, a, m * n * sizeof(double));
    rc = ww_la_svd(m, n, copy, svd->u, svd->s, svd->vt, err);
out:
    ww_free(copy);
    if (rc) {
        ww_svd_release(svd);
    }
    return rc;
}

void ww_spectral_sum(const struct ww_spectral *s, double factor, double *sum)
{
    const size_t n = s->m * s->n;
    for (size_t k = 0; k < n; k++) {
        double total = 0.0;
        for (uint32_t i = 0; i < s->n_tau; i++) {
            total += s->tau[i][k];
        }
        sum[k] = factor * total;
    }
}

double ww_spectral_energy(const double *tau, size_t n)
{
    double sum = 0.0;
    for (size_t k = 0; k < n; k++) {
        sum += tau[k] * tau[k];
    }
    return sum > 1e-12 ? sum : 1e-12;
}
