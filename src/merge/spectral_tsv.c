/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging by singular triples of each task: TSV-M (arXiv 2412.00081) keeps the leading
 * share of every task and makes the kept directions of all tasks orthogonal to each
 * other; Iso-CTS (arXiv 2502.04959) joins the common directions of the sum with each
 * task's own directions outside them, all with one strength. Making orthogonal is the
 * polar factor.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/spectral.h"
#include "util/alloc.h"

/* Triples side by side: u is m x k, vt k x n. */
struct stack {
    size_t m;
    size_t n;
    size_t k;
    size_t filled;
    double *u;
    double *s;
    double *vt;
};

static enum ww_err stack_new(const struct ww_merge_job *job, const struct ww_spectral *s,
                             size_t k, struct stack *st, struct ww_error *err)
{
    *st = (struct stack){.m = s->m, .n = s->n, .k = k};
    st->u = ww_spectral_new(s->m, k);
    st->s = ww_spectral_new(k, 1);
    st->vt = ww_spectral_new(k, s->n);
    return st->u && st->s && st->vt ? WW_OK : ww_merge_no_memory(job, err);
}

static void stack_release(struct stack *st)
{
    ww_free(st->u);
    ww_free(st->s);
    ww_free(st->vt);
}

static void push(struct stack *st, const struct ww_svd *svd, size_t k)
{
    for (size_t i = 0; i < st->m; i++) {
        memcpy(st->u + i * st->k + st->filled, svd->u + i * svd->r, k * sizeof(double));
    }
    memcpy(st->s + st->filled, svd->s, k * sizeof(double));
    memcpy(st->vt + st->filled * st->n, svd->vt, k * st->n * sizeof(double));
    st->filled += k;
}

/* merged = polar(u) diag(s) polar(vt). */
static enum ww_err combine(struct stack *st, double *merged, struct ww_error *err)
{
    enum ww_err rc = ww_la_polar(st->m, st->k, st->u, NULL, err);
    if (rc) {
        return rc;
    }
    rc = ww_la_polar(st->k, st->n, st->vt, NULL, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < st->m * st->k; i++) {
        st->u[i] *= st->s[i % st->k];
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, st->m, st->n, st->k, 1.0, st->u, st->k, st->vt,
               st->n, 0.0, merged, st->n);
    return WW_OK;
}

static enum ww_err push_tasks(const struct ww_merge_job *job, const struct ww_spectral *s,
                              size_t k, struct stack *st, struct ww_error *err)
{
    for (uint32_t i = 0; k > 0 && i < s->n_tau; i++) {
        struct ww_svd svd = {0};
        enum ww_err rc = ww_svd_of(job, s->m, s->n, s->tau[i], &svd, err);
        if (rc) {
            return rc;
        }
        push(st, &svd, k);
        ww_svd_release(&svd);
    }
    return WW_OK;
}

static enum ww_err tsv_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                             struct ww_error *err)
{
    const size_t rank = s->m < s->n ? s->m : s->n;
    const size_t k = rank / s->n_tau;
    struct stack st = {0};
    enum ww_err rc = WW_OK;
    if (k == 0) { /* more tasks than directions: nothing to share out */
        ww_spectral_sum(s, 1.0 / s->n_tau, s->merged);
        return WW_OK;
    }
    rc = stack_new(job, s, k * s->n_tau, &st, err);
    if (rc) {
        goto out;
    }
    rc = push_tasks(job, s, k, &st, err);
    if (rc) {
        goto out;
    }
    rc = combine(&st, s->merged, err);
out:
    stack_release(&st);
    return rc;
}

/* tau_i minus its part in the common left directions. */
static enum ww_err remove_common(const struct ww_merge_job *job, struct ww_spectral *s,
                                 const struct ww_svd *sum, size_t common,
                                 struct ww_error *err)
{
    double *part = ww_spectral_new(common, s->n);
    if (!part) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; common > 0 && i < s->n_tau; i++) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, common, s->n, s->m, 1.0, sum->u, sum->r,
                   s->tau[i], s->n, 0.0, part, s->n);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, common, -1.0, sum->u, sum->r,
                   part, s->n, 1.0, s->tau[i], s->n);
    }
    ww_free(part);
    return WW_OK;
}

static enum ww_err cts_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                             struct ww_error *err)
{
    const size_t rank = s->m < s->n ? s->m : s->n;
    const double share = ww_merge_param(job, "common_space_fraction");
    const size_t first = (size_t)((double)rank * share);
    /* Halves to the even neighbour, as the authors' program rounds. */
    const size_t per_task = (size_t)nearbyint((double)(rank - first) / s->n_tau);
    const size_t tasks = per_task * s->n_tau;
    const size_t common = tasks < rank ? rank - tasks : 0;
    struct ww_svd sum = {0};
    struct stack st = {0};
    double mean = 0.0;
    enum ww_err rc = WW_OK;
    if (tasks > rank) {
        return ww_merge_refuse(job, err,
                               "%u tasks do not fit beside a common space of %g of %zu "
                               "directions; raise common_space_fraction",
                               s->n_tau, share, rank);
    }
    ww_spectral_sum(s, 1.0, s->merged);
    rc = ww_svd_of(job, s->m, s->n, s->merged, &sum, err);
    if (rc) {
        goto out;
    }
    rc = stack_new(job, s, rank, &st, err);
    if (rc) {
        goto out;
    }
    rc = remove_common(job, s, &sum, common, err);
    if (rc) {
        goto out;
    }
    rc = push_tasks(job, s, per_task, &st, err);
    if (rc) {
        goto out;
    }
    push(&st, &sum, common);
    for (size_t i = 0; i < rank; i++) {
        mean += st.s[i] / (double)rank;
    }
    for (size_t i = 0; i < rank; i++) {
        st.s[i] = mean;
    }
    rc = combine(&st, s->merged, err);
out:
    ww_svd_release(&sum);
    stack_release(&st);
    return rc;
}

/* The spectrum of the sum made flat: every singular value becomes their mean. */
static enum ww_err iso_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                             struct ww_error *err)
{
    struct ww_svd sum = {0};
    double mean = 0.0;
    ww_spectral_sum(s, 1.0, s->merged);
    enum ww_err rc = ww_svd_of(job, s->m, s->n, s->merged, &sum, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < sum.r; i++) {
        mean += sum.s[i] / (double)sum.r;
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, sum.r, mean, sum.u, sum.r, sum.vt,
               s->n, 0.0, s->merged, s->n);
    ww_svd_release(&sum);
    return WW_OK;
}

static enum ww_err tsv_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, tsv_solve, scan, err);
}

static enum ww_err cts_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, cts_solve, scan, err);
}

static enum ww_err iso_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, iso_solve, scan, err);
}

const struct ww_method_ops ww_merge_tsv_m = WW_SPECTRAL_OPS(tsv_open);
const struct ww_method_ops ww_merge_iso_cts = WW_SPECTRAL_OPS(cts_open);
const struct ww_method_ops ww_merge_iso_c = WW_SPECTRAL_OPS(iso_open);
