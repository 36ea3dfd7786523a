/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SWUDI and ASWUDI (arXiv 2606.07289): the end of WUDI's gradient flow in closed form.
 * With
 *     C = sum tau_i^T tau_i / |tau_i|^2,   D = sum tau_i tau_i^T tau_i / |tau_i|^2
 * and C = V diag(l) V^T the result is tau_0 - tau_0 V f V^T + D V (f / l) V^T, where f
 * says how far each direction has come: 1 - exp(-t l) for SWUDI, 1 for ASWUDI, 0 beyond
 * the largest directions that are kept.
 *
 * C = A^T A for the stack A of all tau_i / |tau_i|. Where A has fewer rows than columns,
 * the eigensystem of P = A A^T = W diag(l) W^T is used instead, and everything that C's
 * null space adds is zero, because tau_0 and D lie in the row space of A:
 *     tau - tau_0 = [sum |tau_i| (P_ii W_i (f / l) - c W_i f)] W^T A
 * with W_i the rows of W and P_ii the block of P that belong to source i, and
 * tau_0 = c sum tau_i.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/spectral.h"
#include "util/alloc.h"

#define LEAST 1e-8 /* eigenvalues are no smaller */

struct spectrum {
    size_t total; /* columns: eigenvalues of C, of which `known` are given */
    size_t known;
    const double *values; /* ascending */
};

typedef size_t (*keep_fn)(const struct ww_merge_job *job, const struct ww_spectral *s,
                          const struct spectrum *spectrum);

struct rule {
    keep_fn keep;  /* how many of the largest directions */
    bool complete; /* f = 1 instead of the flow after a time */
};

/* Eigenvalue k of C in descending order. */
static double value_at(const struct spectrum *sp, size_t k)
{
    const double value = k < sp->known ? sp->values[sp->known - 1 - k] : 0.0;
    return value > LEAST ? value : LEAST;
}

static size_t keep_share(const struct ww_merge_job *job, const struct ww_spectral *s,
                         const struct spectrum *sp)
{
    const double keep = ceil(ww_merge_param(job, "ratio") * (double)sp->total);
    (void)s;
    return keep < 1.0 ? 1 : (size_t)keep;
}

static size_t keep_participating(const struct spectrum *sp)
{
    double sum = 0.0;
    double squares = 0.0;
    for (size_t k = 0; k < sp->total; k++) {
        sum += sqrt(value_at(sp, k));
        squares += value_at(sp, k);
    }
    const double keep = ceil(sum * sum / squares);
    return keep < (double)sp->total ? (size_t)keep : sp->total;
}

/* Gavish and Donoho's threshold for an unknown noise level is omega times the median
 * singular value; `published` takes their median of the Marchenko-Pastur law, computed by
 * the cubic fit of their paper, otherwise the constant of the authors of ASWUDI. */
static size_t keep_above_noise(const struct spectrum *sp, double beta, bool published)
{
    const double half = (double)sp->total / 2.0;
    const size_t upper = (size_t)half;
    const double median =
        sp->total % 2 ? sqrt(value_at(sp, upper))
                      : 0.5 * (sqrt(value_at(sp, upper)) + sqrt(value_at(sp, upper - 1)));
    const double omega =
        sqrt(2.0 * (beta + 1.0) +
             8.0 * beta / (beta + 1.0 + sqrt(beta * beta + 14.0 * beta + 1.0)));
    const double stand_in =
        beta >= 1.0 ? sqrt(2.0 + sqrt(3.0)) : sqrt((1.0 - beta) * (1.0 - beta) + beta);
    const double ratio =
        published ? ((0.56 * beta - 0.95) * beta + 1.82) * beta + 1.43 : omega / stand_in;
    size_t keep = 0;
    while (keep < sp->total && sqrt(value_at(sp, keep)) > ratio * median) {
        keep++;
    }
    return keep > 0 ? keep : 1;
}

static size_t keep_adaptive(const struct ww_merge_job *job, const struct ww_spectral *s,
                            const struct spectrum *sp)
{
    const double beta =
        s->m < s->n ? (double)s->m / (double)s->n : (double)s->n / (double)s->m;
    const double threshold = ww_merge_param(job, "threshold");
    return threshold == 0.0 ? keep_participating(sp)
                            : keep_above_noise(sp, beta, threshold == 2.0);
}

/* f by ascending eigenvalue. */
static void filter(const struct ww_merge_job *job, const struct ww_spectral *s,
                   const struct rule *rule, const struct spectrum *sp, double *f)
{
    const size_t keep = rule->keep(job, s, sp);
    const double time = rule->complete ? 0.0 : ww_merge_param(job, "steps");
    for (size_t i = 0; i < sp->known; i++) {
        const size_t k = sp->known - 1 - i;
        f[i] = k >= keep ? 0.0 : rule->complete ? 1.0 : -expm1(-time * value_at(sp, k));
    }
}

static double start_factor(const struct ww_merge_job *job, const struct ww_spectral *s)
{
    return ww_merge_param(job, "start_sum") != 0.0 ? 1.0 : 1.0 / s->n_tau;
}

/* c += tau^T tau / energy and d += tau tau^T tau / energy, by the smaller square. */
static enum ww_err add_source(const struct ww_merge_job *job, const struct ww_spectral *s,
                              const double *tau, double *c, double *d,
                              struct ww_error *err)
{
    const bool rows = s->m < s->n;
    const size_t side = rows ? s->m : s->n;
    const double factor = 1.0 / ww_spectral_energy(tau, s->m * s->n);
    double *square = ww_spectral_new(side, side);
    if (!square) {
        return ww_merge_no_memory(job, err);
    }
    ww_la_syrk(rows ? WW_LA_PLAIN : WW_LA_TRANSPOSED, side, rows ? s->n : s->m, factor,
               tau, s->n, 0.0, square);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, side, 1.0, rows ? square : tau, side,
               rows ? tau : square, s->n, 1.0, d, s->n);
    if (rows) {
        ww_la_syrk(WW_LA_TRANSPOSED, s->n, s->m, factor, tau, s->n, 1.0, c);
    } else {
        for (size_t k = 0; k < side * side; k++) {
            c[k] += square[k];
        }
    }
    ww_free(square);
    return WW_OK;
}

/* By C itself: merged = tau_0 + [D Z^T (f / l) - tau_0 Z^T f] Z, rows of Z eigenvectors.
 */
static enum ww_err solve_columns(const struct ww_merge_job *job, struct ww_spectral *s,
                                 const struct rule *rule, struct ww_error *err)
{
    const size_t m = s->m;
    const size_t n = s->n;
    double *z = ww_spectral_new(n, n);
    double *d = ww_spectral_new(m, n);
    double *part = ww_spectral_new(m, n);
    double *values = ww_spectral_new(2 * n, 1);
    double *f = values ? values + n : NULL;
    enum ww_err rc = WW_OK;
    if (!z || !d || !part || !values) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        rc = add_source(job, s, s->tau[i], z, d, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_la_eigen(n, z, values, err);
    if (rc) {
        goto out;
    }
    const struct spectrum sp = {n, n, values};
    filter(job, s, rule, &sp, f);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, m, n, n, 1.0, d, n, z, n, 0.0, part, n);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, m, n, n, 1.0, s->merged, n, z, n, 0.0, d,
               n);
    for (size_t i = 0; i < m * n; i++) {
        const size_t k = i % n;
        part[i] = part[i] * (f[k] / value_at(&sp, n - 1 - k)) - d[i] * f[k];
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, n, n, 1.0, part, n, z, n, 1.0, s->merged, n);
out:
    ww_free(z);
    ww_free(d);
    ww_free(part);
    ww_free(values);
    return rc;
}

/* The stack A, and |tau_i|. */
static void stack_sources(const struct ww_spectral *s, double *a, double *norms)
{
    const size_t each = s->m * s->n;
    for (uint32_t i = 0; i < s->n_tau; i++) {
        norms[i] = sqrt(ww_spectral_energy(s->tau[i], each));
        for (size_t k = 0; k < each; k++) {
            a[i * each + k] = s->tau[i][k] / norms[i];
        }
    }
}

static enum ww_err solve_rows(const struct ww_merge_job *job, struct ww_spectral *s,
                              const struct rule *rule, struct ww_error *err)
{
    const size_t m = s->m;
    const size_t n = s->n;
    const size_t side = m * s->n_tau;
    const double c = start_factor(job, s);
    double *a = ww_spectral_new(side, n);
    double *p = ww_spectral_new(side, side);
    double *w = ww_spectral_new(side, side); /* rows are eigenvectors */
    double *part = ww_spectral_new(m, side);
    double *values = ww_spectral_new(2 * side + s->n_tau, 1);
    enum ww_err rc = WW_OK;
    if (!a || !p || !w || !part || !values) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    double *f = values + side;
    double *norms = f + side;
    stack_sources(s, a, norms);
    ww_la_syrk(WW_LA_PLAIN, side, n, 1.0, a, n, 0.0, p);
    memcpy(w, p, side * side * sizeof(double));
    rc = ww_la_eigen(side, w, values, err);
    if (rc) {
        goto out;
    }
    const struct spectrum sp = {n, side, values};
    filter(job, s, rule, &sp, f);
    for (uint32_t i = 0; i < s->n_tau; i++) { /* sum |tau_i| P_ii W_i */
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, m, side, m, norms[i],
                   p + i * m * (side + 1), side, w + i * m, side, i ? 1.0 : 0.0, part,
                   side);
    }
    for (size_t row = 0; row < m; row++) {
        for (size_t k = 0; k < side; k++) {
            double sum = 0.0;
            for (uint32_t i = 0; i < s->n_tau; i++) {
                sum += norms[i] * w[k * side + i * m + row];
            }
            double *entry = part + row * side + k;
            *entry = *entry * (f[k] / value_at(&sp, side - 1 - k)) - c * sum * f[k];
        }
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, side, side, 1.0, part, side, w, side, 0.0, p,
               side);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, n, side, 1.0, p, side, a, n, 1.0, s->merged,
               n);
out:
    ww_free(a);
    ww_free(p);
    ww_free(w);
    ww_free(part);
    ww_free(values);
    return rc;
}

static enum ww_err solve(const struct ww_merge_job *job, struct ww_spectral *s,
                         const struct rule *rule, struct ww_error *err)
{
    enum ww_err rc = ww_la_ready(err);

    if (rc) {
        return rc;
    }
    ww_spectral_sum(s, start_factor(job, s), s->merged);
    return s->m * s->n_tau < s->n ? solve_rows(job, s, rule, err)
                                  : solve_columns(job, s, rule, err);
}

static enum ww_err swudi_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                               struct ww_error *err)
{
    static const struct rule rule = {keep_share, false};
    return solve(job, s, &rule, err);
}

static enum ww_err aswudi_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                                struct ww_error *err)
{
    static const struct rule rule = {keep_adaptive, true};
    return solve(job, s, &rule, err);
}

static enum ww_err swudi_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, swudi_solve, scan, err);
}

static enum ww_err aswudi_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, aswudi_solve, scan, err);
}

const struct ww_method_ops ww_merge_swudi = WW_SPECTRAL_OPS(swudi_open);
const struct ww_method_ops ww_merge_aswudi = WW_SPECTRAL_OPS(aswudi_open);
