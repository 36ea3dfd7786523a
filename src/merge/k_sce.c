/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCE (arXiv 2408.07990): keep the elements whose changes vary most between the models,
 * weigh the models by the energy of what is left, erase minority signs. Thresholds as in
 * mergekit 0.1.5; note that its bound on the energy is absolute, so that small changes
 * are always weighted equally. ComPEFT (arXiv 2311.13171) is here as well: it needs the
 * same two passes, a cut and a sum of squares.
 */
#include <math.h>
#include <string.h>

#include "arch/core_dot.h"
#include "merge/kernel.h"
#include "merge/select.h"
#include "merge/tilesum.h"
#include "merge/weighted.h"
#include "util/alloc.h"
#include "util/num.h"

#define NO_ENERGY 1e-6
#define NO_WEIGHT 1e-6

struct sce {
    struct ww_select select;
    struct ww_tilesum sums;
    double *w;         /* [n_sources] */
    double *magnitude; /* [n_sources], of ComPEFT */
    double topk;
    double lambda;
    bool wide;
    bool selecting;
    bool energies; /* the pass at hand sums squares */
};

static void sce_close(struct ww_merge_job *job)
{
    struct sce *c = job->state;
    if (c) {
        ww_select_release(&c->select);
        ww_tilesum_release(&c->sums);
        ww_free(c->w);
        ww_free(c->magnitude);
        ww_free(c);
        job->state = NULL;
    }
}

static enum ww_err make(struct ww_merge_job *job, struct ww_error *err)
{
    struct sce *c = ww_calloc(1, sizeof(*c));
    job->state = c;
    if (!c) {
        return ww_merge_no_memory(job, err);
    }
    c->wide = job->tensor->compute == WW_DTYPE_F64;
    c->w = ww_calloc(job->n_sources, sizeof(*c->w));
    job->scratch_bytes = job->max_block * (sizeof(uint64_t) + sizeof(double) + 1);
    return c->w ? WW_OK : ww_merge_no_memory(job, err);
}

static enum ww_err start_sums(struct ww_merge_job *job, size_t n_sums,
                              struct ww_error *err)
{
    struct sce *c = job->state;
    c->energies = true;
    return ww_tilesum_init(&c->sums, job, n_sums, err);
}

static enum ww_err sce_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    enum ww_err rc = make(job, err);
    struct sce *c = job->state;

    *scan = false;
    if (rc) {
        return rc;
    }
    c->topk = ww_merge_param(job, "select_topk");
    if (c->topk <= 0) {
        return WW_OK;
    }
    *scan = true;
    c->selecting = c->topk < 1;
    if (!c->selecting) {
        return start_sums(job, job->n_sources, err);
    }
    job->local_bytes = sizeof(uint64_t);
    rc = ww_select_init(&c->select, job, 1, job->n, c->wide, err);
    if (!rc) {
        c->select.cuts[0].all_ties =
            job->plan->order_free || job->plan->ties == WW_TIES_KEPT;
        c->select.cuts[0].no_ties = job->plan->ties == WW_TIES_DROPPED;
    }
    return rc;
}

/* Population variance of the changes of one element. */
static double variance(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       size_t i)
{
    double n = (double)job->n_sources;
    double mean = 0;
    double sum = 0;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        mean += b->x[s][i];
    }
    mean /= n;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        double d = b->x[s][i] - mean;
        sum += d * d;
    }
    return sum / n;
}

static void variance_keys(const struct ww_merge_job *job, const struct ww_merge_block *b,
                          uint64_t *keys)
{
    const struct sce *c = job->state;
    for (size_t i = 0; i < b->n; i++) {
        keys[i] = ww_key_magnitude(variance(job, b, i), c->wide);
    }
}

/* Clear what is not selected. */
static void mask_block(const struct ww_merge_job *job, const struct ww_merge_block *b)
{
    const struct sce *c = job->state;
    uint64_t *keys = b->scratch;
    uint8_t *keep = (uint8_t *)(keys + job->max_block) + job->max_block * sizeof(double);

    if (!c->selecting) {
        return;
    }
    variance_keys(job, b, keys);
    ww_select_above(&c->select.cuts[0], b->tile, keys, b->n, b->local, keep);
    for (uint32_t s = 0; s < job->n_sources; s++) {
        for (size_t i = 0; i < b->n; i++) {
            b->x[s][i] = keep[i] ? b->x[s][i] : 0;
        }
    }
}

static void sce_scan(const struct ww_merge_job *job, unsigned pass,
                     const struct ww_merge_block *b, void *acc)
{
    const struct sce *c = job->state;
    double *sums = acc;
    (void)pass;

    if (!c->energies) {
        variance_keys(job, b, b->scratch);
        ww_select_scan(&c->select, 0, b->scratch, b->n, acc);
        return;
    }
    mask_block(job, b);
    for (uint32_t s = 0; s < job->n_sources; s++) {
        sums[s] += ww_dot(b->x[s], b->x[s], b->n);
    }
}

static void sce_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                     const void *acc)
{
    struct sce *c = job->state;
    (void)pass;
    if (c->energies) {
        ww_tilesum_fold(&c->sums, tile, acc);
        return;
    }
    ww_select_fold(&c->select, tile, acc);
}

static void weigh(struct ww_merge_job *job)
{
    struct sce *c = job->state;
    const double *sums = ww_tilesum_total(&c->sums, job->n_tiles);
    double total = 0;

    for (uint32_t s = 0; s < job->n_sources; s++) {
        c->w[s] = job->n ? sums[s] / (double)job->n : 0;
        total += c->w[s];
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        c->w[s] = total < NO_ENERGY ? 1 / (double)job->n_sources : c->w[s] / total;
    }
}

static enum ww_err sce_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                               struct ww_error *err)
{
    struct sce *c = job->state;

    *again = false;
    if (c->energies) {
        weigh(job);
        return WW_OK;
    }
    if (pass == 0) {
        uint64_t varying = job->n - c->select.zeros[0];
        c->select.cuts[0].rank = (uint64_t)(c->topk * (double)varying);
    }
    enum ww_err rc = ww_select_scanned(&c->select, job, again, err);
    if (!rc && !*again) {
        *again = true;
        rc = start_sums(job, job->n_sources, err);
    }
    return rc;
}

static enum ww_err sce_block(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, struct ww_error *err)
{
    const struct sce *c = job->state;
    (void)err;

    if (c->topk <= 0) {
        memcpy(b->out, b->base, b->n * sizeof(*b->out));
        return WW_OK;
    }
    mask_block(job, b);
    for (size_t i = 0; i < b->n; i++) {
        double elected = 0;
        double sum = 0;
        double divisor = 0;
        for (uint32_t s = 0; s < job->n_sources; s++) {
            elected += b->x[s][i];
        }
        for (uint32_t s = 0; s < job->n_sources; s++) {
            double d = b->x[s][i];
            bool plus = elected > 0 || (elected == 0 && !job->plan->order_free);
            bool yes = plus ? d > 0 : elected < 0 && d < 0;
            sum += yes ? c->w[s] * d : 0;
            divisor += yes ? c->w[s] : 0;
        }
        b->out[i] = b->base[i] + sum / (divisor > NO_WEIGHT ? divisor : NO_WEIGHT);
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_sce = {
    .deltas = true,
    .open = sce_open,
    .scan = sce_scan,
    .fold = sce_fold,
    .scanned = sce_scanned,
    .block = sce_block,
    .close = sce_close,
};

/* compeft: the signs of the largest changes, all of one size: alpha standard deviations.
 */

static enum ww_err compeft_open(struct ww_merge_job *job, bool *scan,
                                struct ww_error *err)
{
    enum ww_err rc = make(job, err);
    struct sce *c = job->state;

    *scan = true;
    if (rc) {
        return rc;
    }
    ww_free(c->w);
    c->w = ww_merge_source_params(job, "weight");
    c->magnitude = ww_calloc(job->n_sources, sizeof(*c->magnitude));
    if (!c->w || !c->magnitude) {
        return ww_merge_no_memory(job, err);
    }
    c->lambda = ww_merge_param(job, "lambda");
    job->local_bytes = job->n_sources * sizeof(uint64_t);
    rc = ww_select_init(&c->select, job, job->n_sources, job->n, c->wide, err);
    for (uint32_t s = 0; s < job->n_sources && !rc; s++) {
        double density = ww_merge_source_param(job, s, "density");
        uint64_t k = (uint64_t)(density * (double)job->n);
        c->select.cuts[s] = (struct ww_cut){.vector = s,
                                            .rank = density > 0 ? ww_max_u64(1, k) : 0,
                                            .all_ties = job->plan->order_free};
    }
    return rc;
}

static void compeft_scan(const struct ww_merge_job *job, unsigned pass,
                         const struct ww_merge_block *b, void *acc)
{
    const struct sce *c = job->state;
    double *sums = acc;
    (void)pass;

    for (uint32_t s = 0; s < job->n_sources; s++) {
        if (!c->energies) {
            ww_key_magnitudes(b->x[s], b->n, c->wide, b->scratch);
            ww_select_scan(&c->select, s, b->scratch, b->n, acc);
            continue;
        }
        for (size_t i = 0; i < b->n; i++) {
            sums[2 * s] += b->x[s][i];
        }
        sums[2 * s + 1] += ww_dot(b->x[s], b->x[s], b->n);
    }
}

static enum ww_err compeft_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                   struct ww_error *err)
{
    struct sce *c = job->state;
    (void)pass;

    *again = false;
    if (!c->energies) {
        enum ww_err rc = ww_select_scanned(&c->select, job, again, err);
        if (!rc && !*again) {
            *again = true;
            rc = start_sums(job, 2 * (size_t)job->n_sources, err);
        }
        return rc;
    }
    const double *sums = ww_tilesum_total(&c->sums, job->n_tiles);
    double n = job->n ? (double)job->n : 1;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        double mean = sums[2 * s] / n;
        double v = sums[2 * s + 1] / n - mean * mean;
        c->magnitude[s] = ww_merge_source_param(job, s, "alpha") * sqrt(v > 0 ? v : 0);
    }
    return WW_OK;
}

static enum ww_err compeft_block(const struct ww_merge_job *job,
                                 const struct ww_merge_block *b, struct ww_error *err)
{
    const struct sce *c = job->state;
    uint64_t *keys = b->scratch;
    uint8_t *keep = (uint8_t *)(keys + job->max_block) + job->max_block * sizeof(double);
    uint64_t *seen = b->local;
    (void)err;

    for (uint32_t s = 0; s < job->n_sources; s++) {
        ww_key_magnitudes(b->x[s], b->n, c->wide, keys);
        ww_select_above(&c->select.cuts[s], b->tile, keys, b->n, &seen[s], keep);
        for (size_t i = 0; i < b->n; i++) {
            double d = b->x[s][i];
            double sign = d > 0 ? 1 : d < 0 ? -1 : 0;
            b->x[s][i] = keep[i] ? sign * c->magnitude[s] : 0;
        }
    }
    ww_weighted_sum(b->x, c->w, job->n_sources, b->n, b->out);
    ww_weighted_onto(b->base, c->lambda, b->n, b->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_compeft = {
    .deltas = true,
    .open = compeft_open,
    .scan = compeft_scan,
    .fold = sce_fold,
    .scanned = compeft_scanned,
    .block = compeft_block,
    .close = sce_close,
};
