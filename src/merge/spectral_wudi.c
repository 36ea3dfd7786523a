/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WUDI (arXiv 2503.08099) and OptMerge (arXiv 2505.19892): both descend a quadratic
 *     sum |(tau - t_i) L_i^T|^2 / |tau_i|^2,   gradient 2 (tau C - D),
 *     C = sum L_i^T L_i / |tau_i|^2,   D = sum t_i L_i^T L_i / |tau_i|^2,
 * for a fixed number of steps; where they stop is part of the method. WUDI has t_i = L_i
 * = tau_i, starts at the sum and uses Adam. OptMerge takes the leading share R / N of
 * each singular value decomposition and starts at the mean. For whole models its authors'
 * program centres the targets (t_i = mean + leading part of tau_i - mean), takes L_i = S
 * V^T of the leading part and Adam; for adapters t_i is the leading part, L_i = tau_i,
 * and plain descent with momentum is used.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/spectral.h"
#include "util/alloc.h"

struct quadratic {
    double *c;    /* n x n */
    double *d;    /* m x n */
    double *part; /* room: m x the most rows that a source is given with */
};

struct descent {
    unsigned steps;
    double rate;
    bool adam; /* else momentum 0.9 */
};

static enum ww_err quadratic_new(const struct ww_merge_job *job,
                                 const struct ww_spectral *s, size_t most_rows,
                                 struct quadratic *q, struct ww_error *err)
{
    q->c = ww_spectral_new(s->n, s->n);
    q->d = ww_spectral_new(s->m, s->n);
    q->part = ww_spectral_new(s->m, most_rows);
    return q->c && q->d && q->part ? WW_OK : ww_merge_no_memory(job, err);
}

static void quadratic_release(struct quadratic *q)
{
    ww_free(q->c);
    ww_free(q->d);
    ww_free(q->part);
}

/* One source: l has k rows. */
static void add_source(const struct ww_spectral *s, const double *t, const double *l,
                       size_t k, double energy, struct quadratic *q)
{
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, s->n, s->n, k, 1.0 / energy, l, s->n, l,
               s->n, 1.0, q->c, s->n);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, s->m, k, s->n, 1.0 / energy, t, s->n, l,
               s->n, 0.0, q->part, k);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, k, 1.0, q->part, k, l, s->n, 1.0,
               q->d, s->n);
}

void ww_spectral_adam(size_t n, const struct ww_moments *mo, double rate, unsigned step,
                      double *tau)
{
    const double first_part = 1.0 - pow(0.9, step);
    const double second_part = 1.0 - pow(0.999, step);
    for (size_t i = 0; i < n; i++) {
        const double g = mo->gradient[i];
        mo->first[i] = 0.9 * mo->first[i] + 0.1 * g;
        mo->second[i] = 0.999 * mo->second[i] + 0.001 * g * g;
        tau[i] -= rate * (mo->first[i] / first_part) /
                  (sqrt(mo->second[i] / second_part) + 1e-8);
    }
}

static void momentum_step(size_t n, const struct ww_moments *mo, double rate, double *tau)
{
    for (size_t i = 0; i < n; i++) {
        mo->first[i] = 0.9 * mo->first[i] + mo->gradient[i];
        tau[i] -= rate * mo->first[i];
    }
}

static enum ww_err descend(const struct ww_merge_job *job, struct ww_spectral *s,
                           const struct quadratic *q, const struct descent *how,
                           struct ww_error *err)
{
    const size_t n = s->m * s->n;
    struct ww_moments mo = {ww_spectral_new(s->m, s->n), ww_spectral_new(s->m, s->n),
                            ww_spectral_new(s->m, s->n)};
    enum ww_err rc = WW_OK;
    if (!mo.first || !mo.second || !mo.gradient) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    for (unsigned step = 1; step <= how->steps; step++) {
        memcpy(mo.gradient, q->d, n * sizeof(double));
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, s->n, 2.0, s->merged, s->n, q->c,
                   s->n, -2.0, mo.gradient, s->n);
        if (how->adam) {
            ww_spectral_adam(n, &mo, how->rate, step, s->merged);
        } else {
            momentum_step(n, &mo, how->rate, s->merged);
        }
    }
out:
    ww_free(mo.first);
    ww_free(mo.second);
    ww_free(mo.gradient);
    return rc;
}

static enum ww_err wudi_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                              struct ww_error *err)
{
    const struct descent how = {(unsigned)ww_merge_param(job, "steps"),
                                ww_merge_param(job, "learning_rate"), true};
    struct quadratic q = {0};
    enum ww_err rc = ww_la_ready(err);
    rc = rc ? rc : quadratic_new(job, s, s->m, &q, err);
    if (rc) {
        goto out;
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        const double energy = ww_spectral_energy(s->tau[i], s->m * s->n);
        add_source(s, s->tau[i], s->tau[i], s->m, energy, &q);
    }
    ww_spectral_sum(s, 1.0, s->merged);
    rc = descend(job, s, &q, &how, err);
out:
    quadratic_release(&q);
    return rc;
}

/* The leading k triples of svd multiplied out: s v^T in the first k rows of vt, the
 * matrix in out (may be NULL). */
static void leading(const struct ww_spectral *s, struct ww_svd *svd, size_t k,
                    double *out)
{
    for (size_t i = 0; i < k * s->n; i++) {
        svd->vt[i] *= svd->s[i / s->n];
    }
    if (out) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, k, 1.0, svd->u, svd->r, svd->vt,
                   s->n, 0.0, out, s->n);
    }
}

/* Whole models: merged holds the mean; target has room. */
static enum ww_err add_centred(const struct ww_merge_job *job, struct ww_spectral *s,
                               uint32_t i, size_t k, double *target, struct quadratic *q,
                               struct ww_error *err)
{
    const size_t n = s->m * s->n;
    const double energy = ww_spectral_energy(s->tau[i], n);
    struct ww_svd svd = {0};
    struct ww_svd off = {0};
    enum ww_err rc = ww_svd_of(job, s->m, s->n, s->tau[i], &svd, err);
    if (rc) {
        return rc;
    }
    leading(s, &svd, k, NULL);
    for (size_t e = 0; e < n; e++) {
        s->tau[i][e] -= s->merged[e];
    }
    rc = ww_svd_of(job, s->m, s->n, s->tau[i], &off, err);
    if (rc) {
        goto out;
    }
    leading(s, &off, k, target);
    for (size_t e = 0; e < n; e++) {
        target[e] += s->merged[e];
    }
    add_source(s, target, svd.vt, k, energy, q);
out:
    ww_svd_release(&svd);
    ww_svd_release(&off);
    return rc;
}

static enum ww_err add_adapter(const struct ww_merge_job *job, struct ww_spectral *s,
                               uint32_t i, size_t k, double *target, struct quadratic *q,
                               struct ww_error *err)
{
    const double energy = ww_spectral_energy(s->tau[i], s->m * s->n);
    struct ww_svd svd = {0};
    enum ww_err rc = ww_svd_of(job, s->m, s->n, s->tau[i], &svd, err);
    if (rc) {
        return rc;
    }
    leading(s, &svd, k, target);
    add_source(s, target, s->tau[i], s->m, energy, q);
    ww_svd_release(&svd);
    return WW_OK;
}

static enum ww_err optmerge_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                                  struct ww_error *err)
{
    const bool adapter = ww_merge_param(job, "adapter") != 0.0;
    const double rate = ww_merge_param(job, "learning_rate");
    const struct descent how = {(unsigned)ww_merge_param(job, "steps"),
                                rate > 0.0 ? rate : (adapter ? 1e-4 : 1e-5), !adapter};
    const size_t rank = s->m < s->n ? s->m : s->n;
    const size_t k = rank >= s->n_tau ? rank / s->n_tau : 1;
    struct quadratic q = {0};
    double *target = ww_spectral_new(s->m, s->n);
    enum ww_err rc = target ? ww_la_ready(err) : ww_merge_no_memory(job, err);
    rc = rc ? rc : quadratic_new(job, s, s->m > k ? s->m : k, &q, err);
    if (rc) {
        goto out;
    }
    ww_spectral_sum(s, 1.0 / s->n_tau, s->merged);
    for (uint32_t i = 0; i < s->n_tau; i++) {
        rc = adapter ? add_adapter(job, s, i, k, target, &q, err)
                     : add_centred(job, s, i, k, target, &q, err);
        if (rc) {
            goto out;
        }
    }
    rc = descend(job, s, &q, &how, err);
out:
    ww_free(target);
    quadratic_release(&q);
    return rc;
}

static enum ww_err wudi_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, wudi_solve, scan, err);
}

static enum ww_err optmerge_open(struct ww_merge_job *job, bool *scan,
                                 struct ww_error *err)
{
    return ww_spectral_open(job, optmerge_solve, scan, err);
}

const struct ww_method_ops ww_merge_wudi = WW_SPECTRAL_OPS(wudi_open);
const struct ww_method_ops ww_merge_optmerge = WW_SPECTRAL_OPS(optmerge_open);
