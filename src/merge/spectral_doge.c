/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOGE (arXiv 2501.01230): one correction D for all tasks, learnt on the weights alone.
 * With l_j = `eta` / |tau_j| and M = sum l_j tau_j it descends
 *     sum_j |rowsum(tau_j^2 - tau_j (M + sum l D))|^2
 * by Adam, without what a gradient has in a space that all tasks share: the leading R / 6
 * left singular vectors of every task's leading R / N ones side by side. The result is
 * sum l_j (tau_j + D) where tau_j is among the share `keep` of largest magnitudes of its
 * model. That share is taken over the whole model.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/spectral.h"
#include "merge/whole.h"
#include "util/alloc.h"
#include "util/num.h"

struct doge {
    double keep;
    uint32_t n_sources;
    struct ww_whole_cuts cuts;
};

static void doge_end(void *shared)
{
    struct doge *d = shared;
    ww_whole_cuts_release(&d->cuts);
    ww_free(d);
}

static enum ww_err doge_begin(struct ww_merge_job *job, uint64_t n, struct ww_error *err)
{
    struct doge *d = ww_calloc(1, sizeof(*d));
    job->shared = d;
    if (!d) {
        return ww_merge_no_memory(job, err);
    }
    d->n_sources = job->n_sources;
    d->keep = ww_merge_param(job, "keep");
    enum ww_err rc = ww_whole_cuts_init(&d->cuts, job, d->n_sources, n, err);
    for (uint32_t i = 0; i < d->n_sources && !rc; i++) {
        d->cuts.select.cuts[i].vector = i;
        d->cuts.select.cuts[i].rank = ww_max_u64(1, (uint64_t)(d->keep * (double)n));
    }
    return rc;
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    const struct doge *d = job->shared;
    *scan = true;
    if (ww_merge_param(job, "keep") != d->keep) {
        return ww_merge_refuse(
            job, err,
            "the share is kept of the whole model, so keep must be the "
            "same for all tensors");
    }
    job->acc_bytes = d->cuts.acc_bytes;
    job->scratch_bytes = job->max_block * sizeof(uint64_t);
    job->state = ww_merge_source_params(job, "weight");
    return job->state ? WW_OK : ww_merge_no_memory(job, err);
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    const struct doge *d = job->shared;
    const double *weight = job->state;
    uint64_t *keys = b->scratch;
    (void)pass;
    for (uint32_t i = 0; i < d->n_sources; i++) {
        for (size_t e = 0; e < b->n; e++) {
            keys[e] = ww_key_magnitude(weight[i] * b->x[i][e], false);
        }
        ww_select_scan(&d->cuts.select, i, keys, b->n, acc);
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct doge *d = job->shared;
    (void)pass;
    ww_select_fold(&d->cuts.select, tile, acc);
}

static void pass_close(struct ww_merge_job *job)
{
    ww_free(job->state);
    job->state = NULL;
}

static enum ww_err doge_passed(struct ww_merge_job *job, bool *again,
                               struct ww_error *err)
{
    struct doge *d = job->shared;
    enum ww_err rc = ww_whole_cuts_passed(&d->cuts, err);
    *again = !d->cuts.done;
    return rc;
}

/* What the descent works on. */
struct descent {
    double *rates;  /* [n_tau]: l_j */
    double sum;     /* of them */
    double *m;      /* M */
    double *shared; /* rows x n_shared, orthonormal columns */
    size_t n_shared;
    double *along; /* n_shared x columns */
    struct ww_moments moments;
    double *step; /* D */
};

static void release(struct descent *d)
{
    double *const all[] = {d->rates,
                           d->m,
                           d->shared,
                           d->along,
                           d->moments.first,
                           d->moments.second,
                           d->moments.gradient,
                           d->step};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ww_free(all[i]);
    }
}

static enum ww_err allocate(const struct ww_merge_job *job, const struct ww_spectral *s,
                            struct descent *d, struct ww_error *err)
{
    const size_t rank = s->m < s->n ? s->m : s->n;
    d->n_shared = rank / 6;
    d->rates = ww_spectral_new(s->n_tau, 1);
    d->m = ww_spectral_new(s->m, s->n);
    d->shared = ww_spectral_new(s->m, d->n_shared + 1);
    d->along = ww_spectral_new(d->n_shared + 1, s->n);
    d->moments.first = ww_spectral_new(s->m, s->n);
    d->moments.second = ww_spectral_new(s->m, s->n);
    d->moments.gradient = ww_spectral_new(s->m, s->n);
    d->step = ww_spectral_new(s->m, s->n);
    return d->rates && d->m && d->shared && d->along && d->moments.first &&
                   d->moments.second && d->moments.gradient && d->step
               ? WW_OK
               : ww_merge_no_memory(job, err);
}

/* Leading left vectors of every task side by side, then their own leading ones. */
static enum ww_err find_shared(const struct ww_merge_job *job,
                               const struct ww_spectral *s, struct descent *d,
                               struct ww_error *err)
{
    const size_t rank = s->m < s->n ? s->m : s->n;
    const size_t each = rank / s->n_tau;
    const size_t width = each * s->n_tau;
    double *side = ww_spectral_new(s->m, width + 1);
    struct ww_svd svd = {0};
    enum ww_err rc = side ? WW_OK : ww_merge_no_memory(job, err);

    d->n_shared = width == 0 ? 0 : d->n_shared < width ? d->n_shared : width;
    for (uint32_t j = 0; j < s->n_tau && d->n_shared > 0 && !rc; j++) {
        rc = ww_svd_of(job, s->m, s->n, s->tau[j], &svd, err);
        for (size_t row = 0; row < s->m && !rc; row++) {
            memcpy(side + row * width + j * each, svd.u + row * svd.r,
                   each * sizeof(double));
        }
        ww_svd_release(&svd);
    }
    if (!rc && d->n_shared > 0) {
        rc = ww_svd_of(job, s->m, width, side, &svd, err);
    }
    for (size_t row = 0; row < s->m && d->n_shared > 0 && !rc; row++) {
        memcpy(d->shared + row * d->n_shared, svd.u + row * svd.r,
               d->n_shared * sizeof(double));
    }
    ww_svd_release(&svd);
    ww_free(side);
    return rc;
}

static void set_gradient(const struct ww_spectral *s, struct descent *d)
{
    double *g = d->moments.gradient;
    memset(g, 0, s->m * s->n * sizeof(*g));
    for (size_t row = 0; row < s->m; row++) {
        const size_t at = row * s->n;
        for (uint32_t j = 0; j < s->n_tau; j++) {
            const double *tau = s->tau[j] + at;
            double rest = 0;
            for (size_t c = 0; c < s->n; c++) {
                rest += tau[c] * (tau[c] - (d->m[at + c] + d->sum * d->step[at + c]));
            }
            for (size_t c = 0; c < s->n; c++) {
                g[at + c] -= 2 * rest * d->sum * tau[c];
            }
        }
    }
    if (d->n_shared > 0) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, d->n_shared, s->n, s->m, 1.0, d->shared,
                   d->n_shared, g, s->n, 0.0, d->along, s->n);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, d->n_shared, -1.0, d->shared,
                   d->n_shared, d->along, s->n, 1.0, g, s->n);
    }
}

static void combine(const struct ww_merge_job *job, struct ww_spectral *s,
                    const struct descent *d)
{
    const struct doge *shared = job->shared;
    memset(s->merged, 0, s->m * s->n * sizeof(double));
    for (uint32_t j = 0; j < s->n_tau; j++) {
        const uint64_t key = shared->cuts.select.cuts[j].key;
        for (size_t e = 0; e < s->m * s->n; e++) {
            if (ww_key_magnitude(s->tau[j][e], false) >= key) {
                s->merged[e] += d->rates[j] * (s->tau[j][e] + d->step[e]);
            }
        }
    }
}

static enum ww_err doge_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                              struct ww_error *err)
{
    const unsigned steps = (unsigned)ww_merge_param(job, "steps");
    const double rate = ww_merge_param(job, "learning_rate");
    const size_t n = s->m * s->n;
    struct descent d = {0};
    enum ww_err rc = allocate(job, s, &d, err);
    if (rc) {
        goto out;
    }
    for (uint32_t j = 0; j < s->n_tau; j++) {
        d.rates[j] = ww_merge_param(job, "eta") / sqrt(ww_spectral_energy(s->tau[j], n));
        d.sum += d.rates[j];
        for (size_t e = 0; e < n; e++) {
            d.m[e] += d.rates[j] * s->tau[j][e];
        }
    }
    rc = find_shared(job, s, &d, err);
    if (rc) {
        goto out;
    }
    for (unsigned step = 1; step <= steps; step++) {
        set_gradient(s, &d);
        ww_spectral_adam(n, &d.moments, rate, step, d.step);
    }
    combine(job, s, &d);
out:
    release(&d);
    return rc;
}

static enum ww_err doge_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, doge_solve, scan, err);
}

static const struct ww_whole_ops whole = {
    .begin = doge_begin,
    .tensor = {.deltas = true,
               .open = pass_open,
               .scan = pass_scan,
               .fold = pass_fold,
               .close = pass_close},
    .passed = doge_passed,
    .end = doge_end,
};

const struct ww_method_ops ww_merge_doge = WW_SPECTRAL_WHOLE(doge_open, &whole);
