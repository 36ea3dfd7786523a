/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCB-Merging (arXiv 2410.02396): changes compete within their model and across models,
 * over the whole model at once. For a change t of one of N models, with a its magnitude
 * clamped between two quantiles and m that magnitude scaled to [0, 1] in its model:
 *     s = exp(N m^2) tanh(how far the models agree),
 * everything of a model below the quantile of `pcb_ratio` becomes 0 and the rest is
 * scaled to [0, 1] again; the result is sum w sign(t) a s / sum s. The authors' programs
 * measure agreement in three ways, which `inter` chooses. Quantiles are exact
 * (quantile.h): those of a, rounded to float, then those of s, where what lies at the
 * quantile must become exactly 0. s is dear, so a near one says which elements are in
 * question: those in a bracket, and in the end those of which something is left. Only
 * counts go over tensors, so the order of elements does not matter.
 */
#include <math.h>
#include <string.h>

#include "merge/kernel.h"
#include "merge/mask.h"
#include "merge/pcb_score.h"
#include "merge/quantile.h"
#include "merge/select.h"
#include "merge/weighted.h"
#include "merge/whole.h"
#include "util/alloc.h"
#include "util/clones.h"

#define LEAST_SUM 1e-12
#define MOST_MAGNITUDE 0x7fffffffU

struct pcb {
    struct ww_pcb_rule rule;
    double r;
    double ratio;
    bool scoring;             /* the pass at hand looks at s, else at a */
    struct ww_quantiles cuts; /* two of each model */
    struct ww_pcb_model *models;
};

/* The rank from the largest of an index in ascending order. */
static uint64_t rank_of(uint64_t n, double index)
{
    const uint64_t at = index <= 0 ? 0 : (uint64_t)index;
    return n - (at < n ? at : n - 1);
}

static enum ww_err start_cuts(struct ww_merge_job *job, struct pcb *p, uint64_t n,
                              struct ww_error *err)
{
    const uint32_t n_sources = p->rule.n_sources;
    enum ww_err rc = ww_quantiles_init(&p->cuts, job, n_sources, 2 * n_sources, n, err);
    const double all = (double)n;

    p->cuts.lowest = p->scoring ? ww_key_signed_wide(-(double)INFINITY) : 0;
    p->cuts.highest = p->scoring ? ww_key_signed_wide((double)INFINITY) : MOST_MAGNITUDE;
    for (uint32_t k = 0; k < n_sources && !rc; k++) {
        struct ww_quantile *cut = &p->cuts.cuts[(size_t)2 * k];
        cut[0].vector = k;
        cut[0].rank = rank_of(n, p->scoring ? all * (1 - p->ratio) : all * p->r);
        cut[1].vector = k;
        cut[1].rank = rank_of(n, p->scoring ? all : all * (1 - p->r) - 1);
    }
    return rc;
}

static void pcb_end(void *shared)
{
    struct pcb *p = shared;
    ww_quantiles_release(&p->cuts);
    ww_free(p->models);
    ww_free(p);
}

static enum ww_err pcb_begin(struct ww_merge_job *job, uint64_t n, struct ww_error *err)
{
    struct pcb *p = ww_calloc(1, sizeof(*p));
    job->shared = p;
    if (!p) {
        return ww_merge_no_memory(job, err);
    }
    p->r = ww_merge_param(job, "clamp");
    p->ratio = ww_merge_param(job, "pcb_ratio");
    p->models = ww_calloc(job->n_sources, sizeof(*p->models));
    p->rule =
        (struct ww_pcb_rule){.n_sources = job->n_sources,
                             .inter = (enum ww_pcb_inter)ww_merge_param(job, "inter"),
                             .models = p->models};
    return p->models ? start_cuts(job, p, n, err) : ww_merge_no_memory(job, err);
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct pcb *p = job->shared;
    *scan = true;
    if (ww_merge_param(job, "pcb_ratio") != p->ratio ||
        ww_merge_param(job, "clamp") != p->r ||
        ww_merge_param(job, "inter") != (double)p->rule.inter) {
        return ww_merge_refuse(
            job, err,
            "the whole model competes at once, so pcb_ratio, clamp and "
            "inter must be the same for all tensors");
    }
    job->scratch_bytes = ww_pcb_room_bytes(job);
    job->narrow = job->can_narrow && !p->scoring;
    ww_quantiles_open(&p->cuts, job);
    return WW_OK;
}

static void scan_magnitudes(const struct ww_merge_job *job,
                            const struct ww_merge_block *b,
                            const struct ww_pcb_room *room, void *acc)
{
    struct pcb *p = job->shared;

    for (uint32_t k = 0; k < p->rule.n_sources; k++) {
        const uint32_t *keys = job->narrow ? b->keys[k] : room->index;
        if (!job->narrow) {
            ww_key_magnitudes32(b->x[k], b->n, room->index);
        }
        if (p->cuts.sampling) {
            ww_quantiles_sample32(&p->cuts, k, keys, b->n);
            continue;
        }
        for (uint32_t c = 2 * k; c < 2 * k + 2; c++) {
            if (!p->cuts.cuts[c].done) {
                ww_quantiles_scan32(&p->cuts, c, keys, b->n, acc);
            }
        }
    }
}

/* What is not a number is marked too, so that it comes out and is refused. */
WW_CLONES static void mark_between(const double *restrict s, const double *restrict slack,
                                   size_t n, double low, double high,
                                   uint8_t *restrict mark)
{
    for (size_t i = 0; i < n; i++) {
        mark[i] |= !(s[i] + slack[i] < low) & !(s[i] - slack[i] > high);
    }
}

WW_CLONES static uint64_t count_above(const double *restrict s, size_t n, double high,
                                      const uint8_t *restrict mark)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += (s[i] > high) & (mark[i] == 0);
    }
    return count;
}

/* Leaves the changes of marked elements alone, one after the other; says how many. */
static size_t keep_marked(const struct ww_pcb_rule *rule, const struct ww_merge_block *b,
                          const struct ww_pcb_room *room)
{
    const size_t m = ww_mask_places(room->mark, b->n, room->index);

    for (uint32_t k = 0; k < rule->n_sources; k++) {
        double *x = b->x[k];
        for (size_t j = 0; j < m; j++) {
            x[j] = x[room->index[j]];
        }
    }
    return m;
}

static void set_keys(const struct ww_pcb_room *room, uint32_t source, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        room->keys[i] = ww_key_signed_wide(room->s[source][i]);
    }
}

static void sample_scores(struct pcb *p, const struct ww_merge_block *b,
                          const struct ww_pcb_room *room)
{
    ww_pcb_score(&p->rule, b->x, b->n, room);
    for (uint32_t k = 0; k < p->rule.n_sources; k++) {
        set_keys(room, k, b->n);
        ww_quantiles_sample(&p->cuts, k, room->keys, b->n);
    }
}

static void scan_scores(const struct pcb *p, const struct ww_merge_block *b,
                        const struct ww_pcb_room *room, void *acc)
{
    const struct ww_quantile *cuts = p->cuts.cuts;
    const uint32_t n_cuts = p->cuts.n_cuts;

    ww_pcb_near(&p->rule, b->x, b->n, room);
    memset(room->mark, 0, b->n);
    for (uint32_t c = 0; c < n_cuts; c++) {
        if (!cuts[c].done) {
            mark_between(room->s[c / 2], room->slack[c / 2], b->n,
                         ww_key_signed_wide_value(cuts[c].low),
                         ww_key_signed_wide_value(cuts[c].high), room->mark);
        }
    }
    for (uint32_t c = 0; c < n_cuts; c++) {
        if (!cuts[c].done) {
            const double high = ww_key_signed_wide_value(cuts[c].high);
            ww_quantiles_larger(c, count_above(room->s[c / 2], b->n, high, room->mark),
                                acc);
        }
    }
    const size_t m = keep_marked(&p->rule, b, room);
    ww_pcb_score(&p->rule, b->x, m, room);
    for (uint32_t c = 0; c < n_cuts; c++) {
        if (!cuts[c].done) {
            set_keys(room, c / 2, m);
            ww_quantiles_scan(&p->cuts, c, room->keys, m, acc);
        }
    }
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    struct pcb *p = job->shared;
    struct ww_pcb_room room;
    (void)pass;

    ww_pcb_room_of(job, b->scratch, &room);
    if (!p->scoring) {
        scan_magnitudes(job, b, &room, acc);
    } else if (p->cuts.sampling) {
        sample_scores(p, b, &room);
    } else {
        scan_scores(p, b, &room, acc);
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct pcb *p = job->shared;
    (void)pass;
    (void)tile;
    ww_quantiles_fold(&p->cuts, acc);
}

static double magnitude_of(uint64_t key)
{
    const uint32_t bits = (uint32_t)key;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return (double)value;
}

static enum ww_err pcb_passed(struct ww_merge_job *job, bool *again, struct ww_error *err)
{
    struct pcb *p = job->shared;
    const uint64_t n = p->cuts.n;
    enum ww_err rc = ww_quantiles_passed(&p->cuts, job, again, err);

    if (rc || *again) {
        return rc;
    }
    for (uint32_t k = 0; k < p->rule.n_sources; k++) {
        const struct ww_quantile *cut = &p->cuts.cuts[(size_t)2 * k];
        struct ww_pcb_model *m = &p->models[k];
        if (p->scoring) {
            m->least = ww_key_signed_wide_value(cut[0].key);
            m->most = ww_key_signed_wide_value(cut[1].key);
        } else {
            m->low = magnitude_of(cut[0].key);
            m->high = magnitude_of(cut[1].key);
        }
    }
    if (p->scoring) {
        return WW_OK;
    }
    ww_quantiles_release(&p->cuts);
    p->scoring = true;
    *again = true;
    return start_cuts(job, p, n, err);
}

static enum ww_err pcb_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    struct ww_weighted *w = ww_calloc(1, sizeof(*w));
    job->state = w;
    *scan = false;
    if (!w) {
        return ww_merge_no_memory(job, err);
    }
    job->scratch_bytes = ww_pcb_room_bytes(job);
    w->lambda = ww_merge_param(job, "lambda");
    w->w = ww_merge_source_params(job, "weight");
    return w->w ? WW_OK : ww_merge_no_memory(job, err);
}

static void pcb_close(struct ww_merge_job *job)
{
    struct ww_weighted *w = job->state;
    if (w) {
        ww_free(w->w);
        ww_free(w);
        job->state = NULL;
    }
}

/* Where no model has anything above its quantile the sum is 0. */
static enum ww_err pcb_block(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, struct ww_error *err)
{
    const struct pcb *p = job->shared;
    const struct ww_weighted *w = job->state;
    struct ww_pcb_room room;
    (void)err;

    ww_pcb_room_of(job, b->scratch, &room);
    ww_pcb_near(&p->rule, b->x, b->n, &room);
    memset(room.mark, 0, b->n);
    for (uint32_t k = 0; k < p->rule.n_sources; k++) {
        mark_between(room.s[k], room.slack[k], b->n, p->models[k].least, (double)INFINITY,
                     room.mark);
    }
    const size_t m = keep_marked(&p->rule, b, &room);
    ww_pcb_score(&p->rule, b->x, m, &room);
    memset(room.with, 0, m * sizeof(*room.with));
    memset(room.term, 0, m * sizeof(*room.term));
    for (uint32_t k = 0; k < p->rule.n_sources; k++) {
        ww_pcb_add(b->x[k], room.a[k], room.s[k], p->models[k], w->w[k], m, room.with,
                   room.term);
    }
    memset(b->out, 0, b->n * sizeof(*b->out));
    for (size_t j = 0; j < m; j++) {
        const double total = room.term[j];
        b->out[room.index[j]] = room.with[j] / (total > LEAST_SUM ? total : LEAST_SUM);
    }
    ww_weighted_onto(b->base, w->lambda, b->n, b->out);
    return WW_OK;
}

static const struct ww_whole_ops whole = {
    .begin = pcb_begin,
    .tensor = {.deltas = true, .open = pass_open, .scan = pass_scan, .fold = pass_fold},
    .passed = pcb_passed,
    .end = pcb_end,
};

const struct ww_method_ops ww_merge_pcb = {
    .deltas = true,
    .open = pcb_open,
    .block = pcb_block,
    .close = pcb_close,
    .whole = &whole,
};
