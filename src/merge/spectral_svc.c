/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Singular value calibration (arXiv 2602.05536) after a sum: directions that several
 * sources share are counted several times in a sum, and their singular values are divided
 * by how much. For the left singular vector u_r of the sum and a_i = u_r^T tau_i, the
 * part of source i is s_i = <a_m, a_i> / |a_i|^2, and sigma_r becomes sigma_r N / sum
 * max(alpha, s_i).
 */
#include "la/la.h"
#include "merge/spectral.h"
#include "util/alloc.h"

/* total[r] += max(alpha, s_i) for one source; part: r x n. */
static void add_shares(const struct ww_spectral *s, const struct ww_svd *sum,
                       const double *tau, double alpha, double *part, double *total)
{
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, sum->r, s->n, s->m, 1.0, sum->u, sum->r,
               tau, s->n, 0.0, part, s->n);
    for (size_t r = 0; r < sum->r; r++) {
        const double *a = part + r * s->n;
        const double *v = sum->vt + r * s->n;
        double along = 0.0;
        double square = 0.0;
        for (size_t j = 0; j < s->n; j++) {
            along += sum->s[r] * v[j] * a[j];
            square += a[j] * a[j];
        }
        const double share = square > 0.0 ? along / square : 0.0;
        total[r] += share > alpha ? share : alpha;
    }
}

static enum ww_err svc_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                             struct ww_error *err)
{
    const double alpha = ww_merge_param(job, "alpha");
    struct ww_svd sum = {0};
    double *part = NULL;
    double *total = NULL;
    ww_spectral_sum(s, 1.0, s->merged);
    enum ww_err rc = ww_svd_of(job, s->m, s->n, s->merged, &sum, err);
    if (rc) {
        return rc;
    }
    part = ww_spectral_new(sum.r, s->n);
    total = ww_spectral_new(sum.r, 1);
    if (!part || !total) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        add_shares(s, &sum, s->tau[i], alpha, part, total);
    }
    for (size_t i = 0; i < s->m * sum.r; i++) {
        const size_t r = i % sum.r;
        sum.u[i] *= sum.s[r] * s->n_tau / total[r];
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, sum.r, 1.0, sum.u, sum.r, sum.vt,
               s->n, 0.0, s->merged, s->n);
out:
    ww_free(part);
    ww_free(total);
    ww_svd_release(&sum);
    return rc;
}

static enum ww_err svc_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, svc_solve, scan, err);
}

const struct ww_method_ops ww_merge_svc = WW_SPECTRAL_OPS(svc_open);
