/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCB-Merging (arXiv 2410.02396): changes compete within their model and across models,
 * over the whole model at once. For a change t of one of N models, with a its magnitude
 * clamped between two quantiles and m that magnitude scaled to [0, 1] in its model:
 *     s = exp(N m^2) tanh(how far the models agree),
 * everything of a model below the quantile of `pcb_ratio` becomes 0 and the rest is
 * scaled to [0, 1] again; the result is sum w sign(t) a s / sum s. The authors' programs
 * measure agreement in three ways, which `inter` chooses. Quantiles are exact: two passes
 * for those of a, rounded to float, four for those of s, where what lies at the quantile
 * must become exactly 0. Only counts go over tensors, so the order of
 * elements does not matter.
 */
#include <math.h>
#include <string.h>

#include "la/fixmath.h"
#include "merge/kernel.h"
#include "merge/weighted.h"
#include "merge/whole.h"
#include "util/alloc.h"
#include "util/clones.h"

#define LEAST_SUM 1e-12

enum inter {
    INTER_RAW,    /* tanh(t sum of t): the package */
    INTER_SCALED, /* tanh(t sum of sign m): the script for vision models */
    INTER_PAIRS   /* sum of tanh(sign m, sign m): the script that searches */
};

struct pcb_model {
    double low; /* of a */
    double high;
    double least; /* of s */
    double most;
};

struct pcb {
    uint32_t n_sources;
    enum inter inter;
    double r;
    double ratio;
    bool scoring; /* the pass at hand looks at s, else at a */
    struct ww_whole_cuts cuts;
    struct pcb_model *models;
};

/* Of a block: a, sign m and s of every source, cut from the scratch. */
struct pcb_room {
    double *a[WW_MERGE_MOST_SOURCES];
    double *part[WW_MERGE_MOST_SOURCES];
    double *s[WW_MERGE_MOST_SOURCES];
    double *with;
    double *term;
    uint64_t *keys;
};

static void room_of(const struct ww_merge_job *job, void *scratch, struct pcb_room *room)
{
    double *next = scratch;
    for (uint32_t i = 0; i < job->n_sources; i++) {
        room->a[i] = next;
        room->part[i] = next + job->max_block;
        room->s[i] = next + 2 * job->max_block;
        next += 3 * job->max_block;
    }
    room->with = next;
    room->term = next + job->max_block;
    room->keys = (uint64_t *)(next + 2 * job->max_block);
}

static void set_room(struct ww_merge_job *job)
{
    job->scratch_bytes =
        (3 * (size_t)job->n_sources + 3) * job->max_block * sizeof(double);
}

static double scaled(double a, const struct pcb_model *m)
{
    return m->high > m->low ? (a - m->low) / (m->high - m->low) : 0;
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static double sign_of(double v)
{
    return v > 0 ? 1 : v < 0 ? -1 : 0;
}

WW_CLONES static void add_products(const double *restrict x, const double *restrict y,
                                   size_t n, double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = x[i] * y[i];
    }
}

/* How far the models agree with one of them: room->with. */
static void agreement(const struct pcb *p, const struct ww_merge_block *b,
                      const struct pcb_room *room, uint32_t source)
{
    double *const *all = p->inter == INTER_RAW ? b->x : room->part;
    const double *own = p->inter == INTER_PAIRS ? room->part[source] : b->x[source];

    memset(room->with, 0, b->n * sizeof(*room->with));
    for (uint32_t k = 0; k < p->n_sources; k++) {
        const double *term = all[k];
        if (p->inter == INTER_PAIRS) {
            add_products(own, all[k], b->n, room->term);
            ww_fix_tanh_n(room->term, b->n, room->term);
            term = room->term;
        }
        ww_weighted_add(term, b->n, room->with);
    }
    if (p->inter != INTER_PAIRS) {
        add_products(own, room->with, b->n, room->term);
        ww_fix_tanh_n(room->term, b->n, room->with);
    }
}

WW_CLONES static void place(const double *restrict x, size_t n, struct pcb_model m,
                            double *restrict a, double *restrict part)
{
    for (size_t i = 0; i < n; i++) {
        a[i] = clamp(fabs(x[i]), m.low, m.high);
        part[i] = sign_of(x[i]) * scaled(a[i], &m);
    }
}

WW_CLONES static void powers(const double *restrict part, size_t n, double factor,
                             double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = factor * part[i] * part[i];
    }
}

/* a and s of a block. */
static void score(const struct pcb *p, const struct ww_merge_block *b,
                  const struct pcb_room *room)
{
    for (uint32_t k = 0; k < p->n_sources; k++) {
        place(b->x[k], b->n, p->models[k], room->a[k], room->part[k]);
    }
    for (uint32_t k = 0; k < p->n_sources; k++) {
        agreement(p, b, room, k);
        powers(room->part[k], b->n, p->n_sources, room->s[k]);
        ww_fix_exp_n(room->s[k], b->n, room->s[k]);
        for (size_t i = 0; i < b->n; i++) {
            room->s[k][i] = room->s[k][i] * room->with[i];
        }
    }
}

/* The cut through the element of an index in ascending order. */
static struct ww_cut cut_at(uint32_t vector, uint64_t n, double index)
{
    const uint64_t at = index <= 0 ? 0 : (uint64_t)index;
    return (struct ww_cut){
        .vector = vector, .rank = n - (at < n ? at : n - 1), .all_ties = true};
}

static enum ww_err start_cuts(struct ww_merge_job *job, struct pcb *p, uint64_t n,
                              struct ww_error *err)
{
    enum ww_err rc =
        ww_whole_cuts_init(&p->cuts, job, 2 * p->n_sources, n, p->scoring, err);
    const double all = (double)n;

    for (uint32_t k = 0; k < p->n_sources && !rc; k++) {
        struct ww_cut *cut = &p->cuts.select.cuts[2 * k];
        cut[0] = cut_at(k, n, p->scoring ? all * (1 - p->ratio) : all * p->r);
        cut[1] = cut_at(k, n, p->scoring ? all : all * (1 - p->r) - 1);
    }
    return rc;
}

static void pcb_end(void *shared)
{
    struct pcb *p = shared;
    ww_whole_cuts_release(&p->cuts);
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
    p->n_sources = job->n_sources;
    p->inter = (enum inter)ww_merge_param(job, "inter");
    p->r = ww_merge_param(job, "clamp");
    p->ratio = ww_merge_param(job, "pcb_ratio");
    p->models = ww_calloc(p->n_sources, sizeof(*p->models));
    return p->models ? start_cuts(job, p, n, err) : ww_merge_no_memory(job, err);
}

static enum ww_err pass_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    const struct pcb *p = job->shared;
    *scan = true;
    if (ww_merge_param(job, "pcb_ratio") != p->ratio ||
        ww_merge_param(job, "clamp") != p->r ||
        ww_merge_param(job, "inter") != (double)p->inter) {
        return ww_merge_refuse(
            job, err,
            "the whole model competes at once, so pcb_ratio, clamp and "
            "inter must be the same for all tensors");
    }
    set_room(job);
    job->acc_bytes = p->cuts.acc_bytes;
    return WW_OK;
}

static void pass_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *b, void *acc)
{
    const struct pcb *p = job->shared;
    struct pcb_room room;
    (void)pass;

    room_of(job, b->scratch, &room);
    if (p->scoring) {
        score(p, b, &room);
    }
    for (uint32_t k = 0; k < p->n_sources; k++) {
        for (size_t i = 0; i < b->n && p->scoring; i++) {
            room.keys[i] = ww_key_signed_wide(room.s[k][i]);
        }
        if (!p->scoring) {
            ww_key_magnitudes(b->x[k], b->n, false, room.keys);
        }
        ww_select_scan(&p->cuts.select, k, room.keys, b->n, acc);
    }
}

static void pass_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct pcb *p = job->shared;
    (void)pass;
    ww_select_fold(&p->cuts.select, tile, acc);
}

static enum ww_err pcb_passed(struct ww_merge_job *job, bool *again, struct ww_error *err)
{
    struct pcb *p = job->shared;
    const uint64_t n = p->cuts.n;
    enum ww_err rc = ww_whole_cuts_passed(&p->cuts, err);

    *again = !p->cuts.done || !p->scoring;
    if (rc || !p->cuts.done) {
        return rc;
    }
    for (uint32_t k = 0; k < p->n_sources; k++) {
        const struct ww_cut *cut = &p->cuts.select.cuts[2 * k];
        struct pcb_model *m = &p->models[k];
        if (p->scoring) {
            m->least = ww_key_signed_wide_value(cut[0].key);
            m->most = ww_key_signed_wide_value(cut[1].key);
        } else {
            m->low = ww_whole_cut_magnitude(&cut[0]);
            m->high = ww_whole_cut_magnitude(&cut[1]);
        }
    }
    if (p->scoring) {
        return WW_OK;
    }
    ww_whole_cuts_release(&p->cuts);
    p->scoring = true;
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
    set_room(job);
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

static enum ww_err pcb_block(const struct ww_merge_job *job,
                             const struct ww_merge_block *b, struct ww_error *err)
{
    const struct pcb *p = job->shared;
    const struct ww_weighted *w = job->state;
    struct pcb_room room;
    (void)err;

    room_of(job, b->scratch, &room);
    score(p, b, &room);
    for (size_t i = 0; i < b->n; i++) {
        double sum = 0;
        double total = 0;
        for (uint32_t k = 0; k < p->n_sources; k++) {
            const struct pcb_model *m = &p->models[k];
            const double s = clamp(room.s[k][i], m->least, m->most);
            const double share =
                m->most > m->least ? (s - m->least) / (m->most - m->least) : 0;
            sum += w->w[k] * sign_of(b->x[k][i]) * room.a[k][i] * share;
            total += share;
        }
        b->out[i] = sum / (total > LEAST_SUM ? total : LEAST_SUM);
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
