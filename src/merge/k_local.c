/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods that decide element by element: nearswap, MagMax (arXiv 2407.06322), RAM (arXiv
 * 2601.13572), consensus over TALL masks (arXiv 2405.07813), imported masks, and Fisher
 * averages over imported diagonals (arXiv 2111.09832). Nothing is summed over a tensor
 * but the counts of RAM plus, which are whole numbers: all of them are order-free.
 */
#include <math.h>

#include "merge/kernel.h"
#include "merge/moved.h"
#include "merge/weighted.h"
#include "util/alloc.h"

struct local {
    double *w;     /* [n_sources] */
    double *limit; /* [n_sources], of consensus */
    double lambda;
    double epsilon;
    uint64_t *shared; /* [n_sources], of RAM plus */
    uint64_t *unique;
    double *factor; /* [n_sources], of what one model alone changed */
};

static void local_close(struct ww_merge_job *job)
{
    struct local *l = job->state;
    if (l) {
        ww_free(l->w);
        ww_free(l->limit);
        ww_free(l->shared);
        ww_free(l->unique);
        ww_free(l->factor);
        ww_free(l);
        job->state = NULL;
    }
}

static enum ww_err local_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    *scan = false;
    job->state = ww_calloc(1, sizeof(struct local));
    return job->state ? WW_OK : ww_merge_no_memory(job, err);
}

/* nearswap: the closer the two are, the more of the second is taken. */

static enum ww_err nearswap_open(struct ww_merge_job *job, bool *scan,
                                 struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    if (!rc) {
        ((struct local *)job->state)->lambda = ww_merge_param(job, "t");
    }
    return rc;
}

static enum ww_err nearswap_block(const struct ww_merge_job *job,
                                  const struct ww_merge_block *b, struct ww_error *err)
{
    double t = ((const struct local *)job->state)->lambda;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        double distance = fabs(b->base[i] - b->x[0][i]);
        double v = t / (distance > 1e-6 ? distance : 1e-6);
        v = v < 0 ? 0 : v > 1 ? 1 : v;
        b->out[i] = v * b->x[0][i] + (1 - v) * b->base[i];
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_nearswap = {
    .open = nearswap_open,
    .block = nearswap_block,
    .close = local_close,
};

/* magmax: of each element the largest change, of equal ones the first model's. */

static enum ww_err magmax_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    if (!rc) {
        ((struct local *)job->state)->lambda = ww_merge_param(job, "lambda");
    }
    return rc;
}

static enum ww_err magmax_block(const struct ww_merge_job *job,
                                const struct ww_merge_block *b, struct ww_error *err)
{
    const struct local *l = job->state;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        double best = b->x[0][i];
        for (uint32_t s = 1; s < job->n_sources; s++) {
            best = fabs(b->x[s][i]) > fabs(best) ? b->x[s][i] : best;
        }
        b->out[i] = best;
    }
    ww_weighted_onto(b->base, l->lambda, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_magmax = {
    .deltas = true,
    .open = magmax_open,
    .block = magmax_block,
    .close = local_close,
};

/* ram: changes that several models made are averaged over those, lone ones kept whole. */

static enum ww_err ram_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    struct local *l = job->state;
    if (rc) {
        return rc;
    }
    l->epsilon = ww_merge_param(job, "epsilon");
    l->factor = ww_calloc(job->n_sources, sizeof(*l->factor));
    if (!l->factor) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        l->factor[s] = 1;
    }
    return WW_OK;
}

static uint32_t count_active(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, size_t i, double epsilon)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        n += fabs(b->x[s][i]) > epsilon;
    }
    return n;
}

static enum ww_err ram_block(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, struct ww_error *err)
{
    const struct local *l = job->state;
    uint64_t took = 0;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        uint32_t n = count_active(job, b, i, l->epsilon);
        double sum = 0;
        for (uint32_t s = 0; s < job->n_sources && n > 0; s++) {
            double d = b->x[s][i];
            if (fabs(d) > l->epsilon) {
                sum += n == 1 ? l->factor[s] * d : d;
                took |= UINT64_C(1) << s;
            }
        }
        b->out[i] = b->base[i] + (n > 1 ? sum / (double)n : sum);
    }
    ww_moved_took(job, took);
    return WW_OK;
}

const struct ww_method_ops ww_merge_ram = {
    .deltas = true,
    .tells = true,
    .open = ram_open,
    .block = ram_block,
    .close = local_close,
};

static enum ww_err ramplus_open(struct ww_merge_job *job, bool *scan,
                                struct ww_error *err)
{
    enum ww_err rc = ram_open(job, scan, err);
    struct local *l = job->state;
    if (rc) {
        return rc;
    }
    *scan = true;
    l->shared = ww_calloc(job->n_sources, sizeof(*l->shared));
    l->unique = ww_calloc(job->n_sources, sizeof(*l->unique));
    job->acc_bytes = 2 * job->n_sources * sizeof(uint64_t);
    return l->shared && l->unique ? WW_OK : ww_merge_no_memory(job, err);
}

static void ramplus_scan(const struct ww_merge_job *job, unsigned pass,
                         const struct ww_merge_block *b, void *acc)
{
    const struct local *l = job->state;
    uint64_t *counts = acc; /* shared, unique of each source */
    (void)pass;
    for (size_t i = 0; i < b->n; i++) {
        uint32_t n = count_active(job, b, i, l->epsilon);
        for (uint32_t s = 0; s < job->n_sources && n > 0; s++) {
            counts[2 * s + (n == 1)] += fabs(b->x[s][i]) > l->epsilon;
        }
    }
}

static void ramplus_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                         const void *acc)
{
    struct local *l = job->state;
    const uint64_t *counts = acc;
    (void)pass;
    (void)tile;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        l->shared[s] += counts[2 * s];
        l->unique[s] += counts[2 * s + 1];
    }
}

static enum ww_err ramplus_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                   struct ww_error *err)
{
    struct local *l = job->state;
    double r = ww_merge_param(job, "r");
    double alpha = ww_merge_param(job, "alpha");
    (void)pass;
    (void)err;
    *again = false;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        double unique = (double)l->unique[s];
        double rho = (double)l->shared[s] / (unique > l->epsilon ? unique : l->epsilon);
        l->factor[s] = 1 + r * (rho < alpha ? rho : alpha);
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_ramplus_tl = {
    .deltas = true,
    .tells = true,
    .open = ramplus_open,
    .scan = ramplus_scan,
    .fold = ramplus_fold,
    .scanned = ramplus_scanned,
    .block = ram_block,
    .close = local_close,
};

/* consensus: the merged change, where enough models want it. */

static enum ww_err consensus_open(struct ww_merge_job *job, bool *scan,
                                  struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    struct local *l = job->state;
    if (rc) {
        return rc;
    }
    l->lambda = ww_merge_param(job, "lambda");
    l->epsilon = ww_merge_param(job, "k");
    l->w = ww_merge_source_params(job, "weight");
    l->limit = ww_merge_source_params(job, "mask_lambda");
    if (!l->w || !l->limit) {
        return ww_merge_no_memory(job, err);
    }
    if (l->epsilon > job->n_sources) {
        return ww_merge_refuse(job, err, "k of %g models is more than the %u there are",
                               l->epsilon, job->n_sources);
    }
    return WW_OK;
}

static enum ww_err consensus_block(const struct ww_merge_job *job,
                                   const struct ww_merge_block *b, struct ww_error *err)
{
    const struct local *l = job->state;
    (void)err;
    ww_weighted_sum(b->x, l->w, job->n_sources, b->n, b->out);
    for (size_t i = 0; i < b->n; i++) {
        double votes = 0;
        for (uint32_t s = 0; s < job->n_sources; s++) {
            double d = b->x[s][i];
            votes += fabs(d) > l->limit[s] * fabs(b->out[i] - d);
        }
        b->out[i] = votes >= l->epsilon ? b->out[i] : 0;
    }
    ww_weighted_onto(b->base, l->lambda, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_consensus = {
    .deltas = true,
    .open = consensus_open,
    .block = consensus_block,
    .close = local_close,
};

/* masks: task arithmetic through imported masks. */

static enum ww_err masks_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    struct local *l = job->state;
    if (rc) {
        return rc;
    }
    l->lambda = ww_merge_param(job, "lambda");
    l->w = ww_merge_source_params(job, "weight");
    return l->w ? WW_OK : ww_merge_no_memory(job, err);
}

static enum ww_err masks_block(const struct ww_merge_job *job,
                               const struct ww_merge_block *b, struct ww_error *err)
{
    const struct local *l = job->state;
    (void)err;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        const double *mask = b->x[job->n_sources + s];
        for (size_t i = 0; i < b->n; i++) {
            b->x[s][i] = mask[i] * b->x[s][i];
        }
    }
    ww_weighted_sum(b->x, l->w, job->n_sources, b->n, b->out);
    ww_weighted_onto(b->base, l->lambda, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_masks = {
    .deltas = true,
    .open = masks_open,
    .block = masks_block,
    .close = local_close,
};

/* fisher: the average weighted by how much each model's loss minds a change. */

static enum ww_err fisher_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    enum ww_err rc = local_open(job, scan, err);
    struct local *l = job->state;
    if (rc) {
        return rc;
    }
    l->epsilon = ww_merge_param(job, "floor");
    l->w = ww_merge_source_params(job, "weight");
    if (!l->w) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        if (l->w[s] <= 0) {
            return ww_merge_refuse(job, err,
                                   "weight %g of a Fisher average, expected more "
                                   "than 0",
                                   l->w[s]);
        }
    }
    return WW_OK;
}

static enum ww_err fisher_block(const struct ww_merge_job *job,
                                const struct ww_merge_block *b, struct ww_error *err)
{
    const struct local *l = job->state;

    for (size_t i = 0; i < b->n; i++) {
        double sum = 0;
        double divisor = 0;
        for (uint32_t s = 0; s < job->n_sources; s++) {
            double f = b->x[job->n_sources + s][i];
            if (f < 0) {
                return ww_merge_refuse(job, err,
                                       "Fisher value %g of model %u is below 0, it is a "
                                       "mean of squares",
                                       f, s);
            }
            f = l->w[s] * (f > l->epsilon ? f : l->epsilon);
            sum += f * b->x[s][i];
            divisor += f;
        }
        b->out[i] = sum / divisor;
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_fisher = {
    .open = fisher_open,
    .block = fisher_block,
    .close = local_close,
};
