/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept, rescaled, weighted and added: a plain sum, or those of the elected sign.
 */
#include <math.h>
#include <string.h>

#include "merge/elect.h"
#include "merge/sparse.h"
#include "merge/kept.h"
#include "merge/mask.h"
#include "merge/peer.h"
#include "merge/stored_kept.h"
#include "merge/weighted.h"

/* r->keep for one source of a block of the output: remembered, or found again. */
static void recall_block(const struct ww_merge_job *job, const struct ww_merge_block *b,
                         uint32_t source, const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    if (f->kept) {
        ww_mask_unpack(ww_sparse_kept_bits(f, b, source), b->n, r->keep);
    } else {
        ww_sparse_select(job, b, source, r);
    }
}

/* Elect a sign for each element, then add those that have it. A sum of 0 counts as plus,
 * as in mergekit; between locked models, whose signs may all be turned, it elects none.
 */
static void elect(const struct ww_merge_job *job, const struct ww_merge_block *b,
                  const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    const struct ww_election election = {.x = b->x,
                                         .weights = f->weights,
                                         .n_x = job->n_sources,
                                         .zero = job->plan->order_free ? 0 : 1,
                                         .normalize = f->normalize};
    double *divisor = r->numbers;
    double *numerator = (double *)r->hashes;

    if (job->n_sources <= WW_ELECT_FEW && !job->plan->peer) {
        ww_elect_few(&election, b->n, b->out);
        return;
    }
    memset(divisor, 0, b->n * sizeof(*divisor));
    memset(numerator, 0, b->n * sizeof(*numerator));
    for (uint32_t s = 0; s < job->n_sources; s++) {
        ww_elect_add(&election, s, b->out, b->n, numerator, divisor);
        if (job->plan->peer) {
            ww_peer_float(job->tensor->compute, numerator, b->n);
            ww_peer_float(job->tensor->compute, divisor, b->n);
        }
    }
    if (job->plan->peer) {
        ww_peer_round(job->tensor->compute, numerator, b->n);
        ww_peer_round(job->tensor->compute, divisor, b->n);
    }
    if (f->normalize) {
        ww_elect_divide(numerator, divisor, b->n, b->out);
    } else {
        memcpy(b->out, numerator, b->n * sizeof(*b->out));
    }
}

/* The same steps, each rounded. */
static void peer_block(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    const enum ww_dtype dtype = job->tensor->compute;

    for (uint32_t s = 0; s < job->n_sources; s++) {
        recall_block(job, b, s, r);
        ww_keep_bytes(b->x[s], r->keep, f->sources[s].factor, 1, b->n);
        ww_peer_round(dtype, b->x[s], b->n);
        ww_keep_bytes(b->x[s], r->keep, 1, f->sources[s].weight, b->n);
        ww_peer_round(dtype, b->x[s], b->n);
    }
    ww_peer_sum(dtype, b->x, job->n_sources, b->n, b->out);
    if (f->elect) {
        elect(job, b, r);
        ww_peer_round(dtype, b->out, b->n);
    }
    ww_peer_onto(dtype, b->base, f->normalize && !f->elect ? f->divisor : 1, f->lambda,
                 b->n, b->out);
}

/* What is kept of a source in the output, rescaled and weighted: in one reading where the
 * selection is a range of magnitudes, or remembered. No range holds what overflowed the
 * dtype that is computed in, which has to come out to be refused. */
static void keep_block(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       uint32_t source, const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_source *s = &f->sources[source];
    const bool by_cuts = f->keep == WW_KEEP_TOP || f->keep == WW_KEEP_MIDDLE;
    const bool partial = s->density > 0 && s->density < 1;
    const bool finite = job->can_narrow; /* nothing was rounded */
    double *x = b->x[source];
    double range[2];

    if (f->kept && b->n % 4 == 0) {
        ww_keep_bits(x, ww_sparse_kept_bits(f, b, source), s->factor, s->weight, b->n);
        return;
    }
    if (by_cuts && partial && finite && !f->wide && !f->kept &&
        ww_select_range(&f->select.cuts[s->top], s->outlier == WW_SPARSE_NO_CUT ? 1 : 2,
                        b->tile, x, b->n, (uint64_t *)b->local + s->top, range)) {
        ww_keep_range(x, range, s->factor, s->weight, b->n);
        return;
    }
    recall_block(job, b, source, r);
    ww_keep_bytes(x, r->keep, s->factor, s->weight, b->n);
}

enum ww_err ww_sparse_block(const struct ww_merge_job *job,
                            const struct ww_merge_block *b, struct ww_error *err)
{
    const struct ww_sparse *f = job->state;
    struct ww_sparse_room r = ww_sparse_room(job, b->scratch);
    (void)err;

    if (ww_sparse_by_content(job) && !f->kept) {
        ww_mask_hash(job, b, r.hashes);
    }
    if (job->plan->peer) {
        peer_block(job, b, &r);
        return WW_OK;
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        keep_block(job, b, s, &r);
    }
    if (!f->elect || job->n_sources > WW_ELECT_FEW) {
        ww_weighted_total(b->x, job->n_sources, b->n, b->out);
    }
    if (f->elect) {
        elect(job, b, &r);
    } else if (f->normalize) {
        ww_weighted_divide(b->out, f->divisor, b->n);
    }
    ww_weighted_onto(b->base, f->lambda, b->n, b->out);
    return WW_OK;
}

/* How a source is selected from in a block, as keep_block does it; count: see
 * ww_select_bounds. */
static bool selected_stored(const struct ww_merge_job *job,
                            const struct ww_merge_block *b, uint32_t source,
                            struct ww_stored_kept_source *out, bool count[2])
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_source *s = &f->sources[source];

    out->factor = s->factor;
    out->weight = s->weight;
    out->bits = f->kept ? ww_sparse_kept_bits(f, b, source) : NULL;
    out->range[0] = s->density > 0 ? 0 : (double)INFINITY;
    out->range[1] = (double)INFINITY;
    if (f->kept || s->density >= 1 || s->density <= 0) {
        return true;
    }
    return (f->keep == WW_KEEP_TOP || f->keep == WW_KEEP_MIDDLE) && s->factor == 1 &&
           ww_select_bounds(&f->select.cuts[s->top],
                            s->outlier == WW_SPARSE_NO_CUT ? 1 : 2, b->tile, b->n,
                            (const uint64_t *)b->local + s->top, out->range, count);
}

bool ww_sparse_block_stored(const struct ww_merge_job *job,
                            const struct ww_merge_block *b, const uint8_t *const *x,
                            const uint8_t *base, uint8_t *out)
{
    const struct ww_sparse *f = job->state;
    struct ww_stored_kept kept = {.n_x = job->n_sources,
                                  .elect = f->elect,
                                  .normalize = f->normalize,
                                  .divisor = f->divisor,
                                  .lambda = f->lambda};
    bool count[WW_STORED_KEPT_MOST][2] = {{false}};

    if (!job->can_narrow || f->wide || job->n_sources < 2 ||
        job->n_sources > WW_STORED_KEPT_MOST) {
        return false;
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        if (!selected_stored(job, b, s, &kept.sources[s], count[s])) {
            return false;
        }
    }
    if (!ww_stored_kept(&kept, x, base, b->n, out)) {
        return false;
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        for (uint32_t c = 0; c < 2; c++) {
            const uint32_t cut = f->sources[s].top + c;
            if (count[s][c]) {
                ((uint64_t *)b->local)[cut] +=
                    ww_stored_count(x[s], base, b->n, (uint32_t)f->select.cuts[cut].key);
            }
        }
    }
    return true;
}
