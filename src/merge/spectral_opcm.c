/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPCM (arXiv 2501.09522) merges models one after the other: of each new difference only
 * what is orthogonal to the earlier merge is added. With A = U S V^T so far and r the
 * first index whose cumulative share of S exceeds `alpha`, the diagonal and the leading r
 * x r block of P = U^T tau V become 0; A + U P V^T is the next A. U and V need not be
 * completed to squares for it:
 *     U P V^T = tau - sum_i (u_i^T tau v_i) u_i v_i^T - U_r offdiag(U_r^T tau V_r) V_r^T.
 * What is no matrix is summed. An earlier result is such an A again when its scale is
 * undone, and counts with the mean norm of its models. The authors scale the whole model
 * after each step to the mean norm of the tasks and undo that before the next, so one
 * scale at the end is the same; it needs norms over the whole model, and decompositions
 * are made twice.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/earlier.h"
#include "merge/spectral.h"
#include "merge/tilesum.h"
#include "util/alloc.h"

struct opcm {
    uint32_t n_sources;
    double *squares; /* [n_sources + 1]: of the differences, of the merge */
    bool matrix;     /* of the tensor at hand */
    struct ww_tilesum sums;
    double scale;
    const struct ww_merge_state *earlier; /* of the first source; NULL: a model */
    double lambda;                        /* of all tensors, */
    bool many_lambdas;                    /* if there is one */
    uint64_t tasks;
    double mean_norm;
};

/* tau by U P V^T; core is r x r, left m x k. */
static void project(const struct ww_spectral *s, const struct ww_svd *svd, size_t r,
                    double *tau, double *left, double *core)
{
    const size_t k = svd->r;

    /* left = tau V, then u_i^T (tau v_i) for every i. */
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, s->m, k, s->n, 1.0, tau, s->n, svd->vt,
               s->n, 0.0, left, k);
    if (r > 0) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, r, r, s->m, 1.0, svd->u, k, left, k,
                   0.0, core, r);
    }
    for (size_t i = 0; i < k; i++) {
        double along = 0;
        for (size_t row = 0; row < s->m; row++) {
            along += svd->u[row * k + i] * left[row * k + i];
        }
        for (size_t row = 0; row < s->m; row++) {
            left[row * k + i] = along * svd->u[row * k + i];
        }
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, k, -1.0, left, k, svd->vt, s->n, 1.0,
               tau, s->n);
    if (r > 0) {
        for (size_t i = 0; i < r; i++) {
            core[i * r + i] = 0;
        }
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, r, r, 1.0, svd->u, k, core, r, 0.0,
                   left, k);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, r, -1.0, left, k, svd->vt, s->n,
                   1.0, tau, s->n);
    }
}

static size_t first_beyond(const struct ww_svd *svd, double alpha)
{
    double total = 0;
    double sum = 0;
    for (size_t i = 0; i < svd->r; i++) {
        total += svd->s[i];
    }
    for (size_t i = 0; i < svd->r; i++) {
        sum += svd->s[i];
        if (sum > alpha * total) {
            return i;
        }
    }
    return 0; /* nothing so far, nothing to keep clear of */
}

static enum ww_err opcm_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                              struct ww_error *err)
{
    const double alpha = ww_merge_param(job, "alpha");
    const size_t k = s->m < s->n ? s->m : s->n;
    double *left = ww_spectral_new(s->m, k);
    double *core = ww_spectral_new(k, k);
    enum ww_err rc = left && core ? WW_OK : ww_merge_no_memory(job, err);

    memcpy(s->merged, s->tau[0], s->m * s->n * sizeof(double));
    for (uint32_t i = 1; i < s->n_tau && !rc; i++) {
        struct ww_svd svd = {0};
        rc = ww_svd_of(job, s->m, s->n, s->merged, &svd, err);
        if (rc) {
            break;
        }
        project(s, &svd, first_beyond(&svd, alpha), s->tau[i], left, core);
        for (size_t e = 0; e < s->m * s->n; e++) {
            s->merged[e] += s->tau[i][e];
        }
        ww_svd_release(&svd);
    }
    ww_free(left);
    ww_free(core);
    return rc;
}

static void opcm_end(void *shared)
{
    struct opcm *o = shared;
    ww_tilesum_release(&o->sums);
    ww_free(o->squares);
    ww_free(o);
}

static enum ww_err opcm_begin(struct ww_merge_job *job, uint64_t n, struct ww_error *err)
{
    struct opcm *o = ww_calloc(1, sizeof(*o));
    (void)n;
    job->shared = o;
    if (!o) {
        return ww_merge_no_memory(job, err);
    }
    o->n_sources = job->n_sources;
    o->earlier = job->plan->earlier;
    o->lambda = ww_merge_param(job, "lambda");
    o->squares = ww_calloc((size_t)o->n_sources + 1, sizeof(*o->squares));
    return o->squares ? WW_OK : ww_merge_no_memory(job, err);
}

/* The unscaled sum of an earlier merge. */
static void undo_scale(const struct ww_merge_job *job)
{
    const struct ww_merge_state *earlier = job->plan->earlier;
    struct ww_spectral *s = job->state;

    if (earlier) {
        s->weight[0] = 1 / earlier->scale;
    }
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct opcm *o = job->shared;
    enum ww_err rc = ww_spectral_open(job, opcm_solve, scan, err);
    if (rc) {
        return rc;
    }
    undo_scale(job);
    o->many_lambdas = o->many_lambdas || ww_merge_param(job, "lambda") != o->lambda;
    o->matrix = *scan;
    *scan = true;
    return ww_tilesum_init(&o->sums, job, (size_t)o->n_sources + 1, err);
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    const struct opcm *o = job->shared;
    const struct ww_spectral *s = job->state;
    double *squares = acc;

    for (size_t e = 0; e < b->n; e++) {
        double sum = 0;
        for (uint32_t i = 0; i < o->n_sources; i++) {
            const double x = s->weight[i] * b->x[i][e];
            squares[i] += x * x;
            sum += x;
        }
        squares[o->n_sources] += sum * sum; /* replaced where there is a matrix */
    }
    if (o->matrix) { /* the last one to read x, which it may write into */
        ww_spectral_scan(job, pass, b, NULL);
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct opcm *o = job->shared;
    (void)pass;
    ww_tilesum_fold(&o->sums, tile, acc);
}

static enum ww_err pass_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                struct ww_error *err)
{
    struct opcm *o = job->shared;
    const struct ww_spectral *s = job->state;
    const double *total = ww_tilesum_total(&o->sums, job->n_tiles);
    double merged = total[o->n_sources];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < o->n_sources; i++) {
        o->squares[i] += total[i];
    }
    if (o->matrix) {
        rc = ww_spectral_scanned(job, pass, again, err);
        merged = 0;
        for (size_t e = 0; e < s->m * s->n && !rc; e++) {
            merged += s->merged[e] * s->merged[e];
        }
    }
    o->squares[o->n_sources] += merged;
    return rc;
}

static void pass_close(struct ww_merge_job *job)
{
    struct opcm *o = job->shared;
    ww_tilesum_release(&o->sums);
    ww_spectral_close(job);
}

static enum ww_err opcm_passed(struct ww_merge_job *job, bool *again,
                               struct ww_error *err)
{
    struct opcm *o = job->shared;
    double mean = 0;
    (void)err;

    *again = false;
    o->tasks = o->earlier ? o->earlier->tasks + o->n_sources - 1 : o->n_sources;
    for (uint32_t i = 0; i < o->n_sources; i++) {
        const double norm = i == 0 && o->earlier
                                ? o->earlier->mean_norm * (double)o->earlier->tasks
                                : sqrt(o->squares[i]);
        mean += norm / (double)o->tasks;
    }
    o->mean_norm = mean;
    const double merged = sqrt(o->squares[o->n_sources]);
    o->scale = merged > 0 ? mean / merged : 1;
    return WW_OK;
}

static enum ww_err opcm_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    const struct opcm *o = job->shared;
    enum ww_err rc = ww_spectral_open(job, opcm_solve, scan, err);
    struct ww_spectral *s = job->state;

    if (!rc) {
        undo_scale(job);
        s->rest_sum = true;
        s->lambda *= o ? o->scale : 1;
    }
    return rc;
}

/* A lambda of 0 cannot be undone. */
static void opcm_state(const void *shared, struct ww_merge_state *out)
{
    const struct opcm *o = shared;

    if (!o->many_lambdas && o->lambda * o->scale != 0) {
        *out = (struct ww_merge_state){o->tasks, o->mean_norm, o->lambda * o->scale};
    }
}

static const struct ww_whole_ops whole = {
    .begin = opcm_begin,
    .tensor = {.deltas = true,
               .open = pass_open,
               .scan = pass_scan,
               .fold = pass_fold,
               .scanned = pass_scanned,
               .close = pass_close},
    .passed = opcm_passed,
    .end = opcm_end,
    .state = opcm_state,
};

const struct ww_method_ops ww_merge_opcm = WW_SPECTRAL_WHOLE(opcm_open, &whole);
