/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TIES as published (arXiv 2306.01708) keeps the largest changes of the whole model, not
 * of each tensor: a layer that hardly changed may lose everything. Two passes find the
 * magnitude at the cut, one more counts how many larger and equal ones each tensor has;
 * then every tensor selects on its own by rank.
 */
#include "merge/trim.h"

#include "merge/whole.h"
#include "util/alloc.h"
#include "util/num.h"

struct trim {
    uint32_t n_sources;
    uint32_t n_tensors;
    bool counting;
    double *density;  /* [n_sources] */
    uint64_t *wanted; /* [n_sources]: kept of the model */
    uint64_t *larger; /* [n_tensors][n_sources] */
    uint64_t *equal;  /* the same */
    struct ww_whole_cuts cuts;
};

static void trim_end(void *shared)
{
    struct trim *t = shared;
    ww_whole_cuts_release(&t->cuts);
    ww_free(t->density);
    ww_free(t->wanted);
    ww_free(t->larger);
    ww_free(t->equal);
    ww_free(t);
}

static enum ww_err trim_begin(struct ww_merge_job *job, uint64_t n, struct ww_error *err)
{
    struct trim *t = ww_calloc(1, sizeof(*t));
    job->shared = t;
    if (!t) {
        return ww_merge_no_memory(job, err);
    }
    t->n_sources = job->n_sources;
    t->n_tensors = job->plan->n_tensors;
    t->density = ww_merge_source_params(job, "density");
    t->wanted = ww_calloc(t->n_sources, sizeof(*t->wanted));
    t->larger = ww_calloc((size_t)t->n_tensors * t->n_sources, sizeof(*t->larger));
    t->equal = ww_calloc((size_t)t->n_tensors * t->n_sources, sizeof(*t->equal));
    if (!t->density || !t->wanted || !t->larger || !t->equal) {
        return ww_merge_no_memory(job, err);
    }
    enum ww_err rc = ww_whole_cuts_init(&t->cuts, job, t->n_sources, n, err);
    for (uint32_t s = 0; s < t->n_sources && !rc; s++) {
        const double d = t->density[s];
        t->wanted[s] = d <= 0 ? 0 : d >= 1 ? n : ww_max_u64(1, (uint64_t)(d * (double)n));
        t->cuts.select.cuts[s].vector = s;
        t->cuts.select.cuts[s].rank = t->wanted[s];
    }
    return rc;
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    const struct trim *t = job->shared;
    *scan = true;
    for (uint32_t s = 0; s < t->n_sources; s++) {
        if (ww_merge_source_param(job, s, "density") != t->density[s]) {
            return ww_merge_refuse(
                job, err,
                "density %g of model %u is %g elsewhere; the paper trims "
                "the whole model at once, so it must be one number",
                ww_merge_source_param(job, s, "density"), s, t->density[s]);
        }
    }
    job->scratch_bytes = job->max_block * sizeof(uint64_t);
    job->acc_bytes =
        t->counting ? 2 * t->n_sources * sizeof(uint64_t) : t->cuts.acc_bytes;
    return WW_OK;
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    const struct trim *t = job->shared;
    uint64_t *keys = b->scratch;
    uint64_t *counts = acc; /* larger, equal of each source */
    (void)pass;

    for (uint32_t s = 0; s < t->n_sources; s++) {
        const uint64_t key = t->cuts.select.cuts[s].key;
        ww_key_magnitudes(b->x[s], b->n, false, keys);
        if (!t->counting) {
            ww_select_scan(&t->cuts.select, s, keys, b->n, acc);
            continue;
        }
        for (size_t i = 0; i < b->n; i++) {
            counts[2 * s] += keys[i] > key;
            counts[2 * s + 1] += keys[i] == key;
        }
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct trim *t = job->shared;
    const uint64_t *counts = acc;
    const size_t row = (size_t)job->index * t->n_sources;
    (void)pass;

    if (!t->counting) {
        ww_select_fold(&t->cuts.select, tile, acc);
        return;
    }
    for (uint32_t s = 0; s < t->n_sources; s++) {
        t->larger[row + s] += counts[2 * s];
        t->equal[row + s] += counts[2 * s + 1];
    }
}

/* larger becomes the rank of the cut in each tensor. */
static void share_out(struct trim *t, bool all_ties)
{
    for (uint32_t s = 0; s < t->n_sources; s++) {
        uint64_t left = t->wanted[s];
        for (uint32_t k = 0; k < t->n_tensors; k++) {
            left -= ww_min_u64(left, t->larger[(size_t)k * t->n_sources + s]);
        }
        for (uint32_t k = 0; k < t->n_tensors; k++) {
            const size_t at = (size_t)k * t->n_sources + s;
            const uint64_t ties =
                all_ties ? t->equal[at] : ww_min_u64(left, t->equal[at]);
            t->larger[at] += ties;
            left -= ww_min_u64(left, ties);
        }
    }
}

static enum ww_err trim_passed(struct ww_merge_job *job, bool *again,
                               struct ww_error *err)
{
    struct trim *t = job->shared;
    enum ww_err rc = WW_OK;

    *again = !t->counting;
    if (t->counting) {
        share_out(t, job->plan->order_free);
        return WW_OK;
    }
    rc = ww_whole_cuts_passed(&t->cuts, err);
    t->counting = t->cuts.done;
    return rc;
}

uint64_t ww_trim_rank(const struct ww_merge_job *job, uint32_t source)
{
    const struct trim *t = job->shared;
    return t->larger[(size_t)ww_whole_index(job) * t->n_sources + source];
}

static bool is_wanted(const struct ww_merge_plan *plan)
{
    return plan->paper;
}

const struct ww_whole_ops ww_trim_whole = {
    .wanted = is_wanted,
    .begin = trim_begin,
    .tensor = {.deltas = true, .open = pass_open, .scan = pass_scan, .fold = pass_fold},
    .passed = trim_passed,
    .end = trim_end,
};
