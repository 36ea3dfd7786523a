/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task arithmetic family with a selection: TIES (arXiv 2306.01708), DARE
 * (2311.03099), Breadcrumbs (2312.06795), DELLA (2406.11617). For each model: difference
 * from the base, selection, rescaling, weight; then a plain sum, or one of those that
 * agree with the elected sign. What a pass finds out: the cuts of a selection by
 * magnitude, then the sums of magnitudes before and after, which are exact (tilesum.h).
 * Formulas and special cases are those of mergekit 0.1.5; with plan.paper rescaling is by
 * 1 / density, and TIES trims the whole model at once (trim.h).
 */
#include <string.h>

#include "merge/bracket.h"
#include "merge/elect.h"
#include "merge/kept.h"
#include "merge/kernel.h"
#include "merge/mask.h"
#include "merge/peer.h"
#include "merge/rowrank.h"
#include "merge/select.h"
#include "merge/tilesum.h"
#include "merge/trim.h"
#include "merge/weighted.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/num.h"

#define NO_DIVISOR 1e-8 /* a sum of weights below it divides nothing */
#define NO_MASS 1e-7    /* a sum of magnitudes below it rescales nothing */
#define NO_CUT UINT32_MAX
#define MOST_RANKS 65536 /* of a row, to keep what decides about each */
#define MOST_KEPT_BYTES ((uint64_t)64 << 20)

enum keep { KEEP_TOP, KEEP_MIDDLE, KEEP_RANDOM, KEEP_RANKED };

struct family_source {
    double weight;
    double density;
    double extra; /* gamma, or epsilon */
    double factor;
    uint32_t *last;   /* by rank in a row, own; NULL: see ww_row_odds */
    uint32_t top;     /* cut: kept are those above, */
    uint32_t outlier; /* but not those above this one */
};

struct family {
    enum keep keep;
    bool elect;
    bool normalize;
    double lambda;
    double divisor;
    bool wide;
    bool partial; /* some density is neither 0 nor 1 */
    bool summing; /* the pass at hand takes sums of magnitudes */
    bool rescale;
    uint64_t key; /* of masks */
    struct family_source *sources;
    double *weights; /* of the sources */
    struct ww_select select;
    struct ww_bracket *bracket; /* finds its cuts, NULL: it does so itself */
    struct ww_magsum *sums;     /* [2 n_sources]: all, kept */
    uint8_t *kept; /* [n_sources][kept_bytes]: what the pass of sums selected */
    size_t kept_bytes;
};

/* A block's room, cut from its scratch. */
struct room {
    uint64_t *keys;
    uint64_t *hashes;
    double *numbers;
    uint8_t *rows; /* WW_ROW_KEEP_SCRATCH of a block */
    uint32_t *draws;
    uint8_t *keep;
    uint8_t *outlier;
};

static size_t room_bytes(const struct ww_merge_job *job)
{
    return job->max_block *
           (sizeof(uint64_t) * 3 + WW_ROW_KEEP_SCRATCH(1) + sizeof(uint32_t) + 2);
}

static struct room room_of(const struct ww_merge_job *job, void *scratch)
{
    struct room r;
    size_t n = job->max_block;
    r.keys = scratch;
    r.hashes = r.keys + n;
    r.numbers = (double *)(r.hashes + n);
    r.rows = (uint8_t *)(r.numbers + n);
    r.draws = (uint32_t *)(r.rows + WW_ROW_KEEP_SCRATCH(n));
    r.keep = (uint8_t *)(r.draws + n);
    r.outlier = r.keep + n;
    return r;
}

static void family_close(struct ww_merge_job *job)
{
    struct family *f = job->state;
    if (f) {
        ww_bracket_free(f->bracket);
        ww_select_release(&f->select);
        ww_free(f->kept);
        ww_free(f->sums);
        ww_free(f->weights);
        for (uint32_t i = 0; f->sources && i < job->n_sources; i++) {
            ww_free(f->sources[i].last);
        }
        ww_free(f->sources);
        ww_free(f);
        job->state = NULL;
        job->narrow = false;
        job->spot_stride = 0;
    }
}

/* Ranks from the largest magnitude: [first, end) are kept. */
static enum ww_err kept_ranks(const struct ww_merge_job *job,
                              const struct family_source *s, enum keep keep,
                              uint64_t *first, uint64_t *end, struct ww_error *err)
{
    double n = (double)job->n;
    uint64_t target = (uint64_t)(s->density * n);
    uint64_t outliers = (uint64_t)(s->extra * n);

    *first = 0;
    *end = s->density <= 0 ? 0 : s->density >= 1 ? job->n : ww_max_u64(1, target);
    if (keep == KEEP_TOP || s->density >= 1 || s->density <= 0 || job->n == 0) {
        return WW_OK;
    }
    if (target == 0 || (s->extra > 0 && outliers == 0)) {
        return ww_merge_refuse(
            job, err,
            "%s %g of %.0f elements select none%s; set density to 1 for it, by a filter",
            target == 0 ? "density" : "gamma", target == 0 ? s->density : s->extra, n,
            target == 0 ? "" : " to leave out");
    }
    uint64_t bottom = job->n - target;
    bottom = bottom > outliers ? bottom - outliers : 0;
    *first = job->n - bottom - target;
    *end = job->n - bottom;
    return WW_OK;
}

static enum ww_err open_cuts(struct ww_merge_job *job, struct ww_error *err)
{
    struct family *f = job->state;
    uint32_t per_source = f->keep == KEEP_MIDDLE ? 2 : 1;
    const bool kept = job->plan->order_free || job->plan->ties == WW_TIES_KEPT;
    const bool dropped = !kept && job->plan->ties == WW_TIES_DROPPED;
    enum ww_err rc = ww_select_init(&f->select, job, per_source * job->n_sources, job->n,
                                    f->wide, err);

    for (uint32_t i = 0; i < job->n_sources && !rc; i++) {
        struct family_source *s = &f->sources[i];
        uint64_t first = 0;
        uint64_t end = 0;
        rc = kept_ranks(job, s, f->keep, &first, &end, err);
        if (job->shared) {
            end = ww_trim_rank(job, i);
        }
        s->top = per_source * i;
        s->outlier = f->keep == KEEP_MIDDLE ? s->top + 1 : NO_CUT;
        f->select.cuts[s->top] = (struct ww_cut){
            .vector = i, .rank = end, .all_ties = kept, .no_ties = dropped};
        if (s->outlier != NO_CUT) {
            f->select.cuts[s->outlier] = (struct ww_cut){
                .vector = i, .rank = first, .all_ties = dropped, .no_ties = kept};
        }
    }
    job->local_bytes = f->select.n_cuts * sizeof(uint64_t);
    if (!rc && job->can_narrow && !f->wide) {
        rc = ww_bracket_new(&f->select, job, &f->bracket, err);
    }
    return rc;
}

static struct ww_row_odds odds_of(const struct ww_merge_job *job,
                                  const struct family_source *s)
{
    return (struct ww_row_odds){
        .low = s->density - s->extra,
        .step = 2 * s->extra / (double)(job->n_cols - 1),
        .shared = job->plan->order_free,
        .last = s->last,
    };
}

/* What decides about each rank of a row: rows are many, and their length is one. */
static enum ww_err open_ranks(struct ww_merge_job *job, struct family_source *s,
                              struct ww_error *err)
{
    const struct ww_row_odds odds = odds_of(job, s);

    if (s->density >= 1 || s->density <= 0 || job->n_cols == 0 ||
        job->n_cols > MOST_RANKS) {
        return WW_OK;
    }
    s->last = ww_calloc(job->n_cols, sizeof(*s->last));
    if (!s->last) {
        return ww_merge_no_memory(job, err);
    }
    ww_row_last(&odds, job->n_cols, s->last);
    return WW_OK;
}

static enum ww_err check_ranked(const struct ww_merge_job *job,
                                const struct family_source *s, struct ww_error *err)
{
    if (s->density >= 1 || s->density <= 0) {
        return WW_OK;
    }
    if (s->density - s->extra <= 0 || s->density + s->extra >= 1) {
        return ww_merge_refuse(
            job, err,
            "density %g with epsilon %g leaves (0, 1); choose a smaller "
            "epsilon",
            s->density, s->extra);
    }
    if (job->tensor->rank > 2 || job->n_cols == 1) {
        return ww_merge_refuse(job, err,
                               "rows of %s are ranked, and it has %u axes with rows of "
                               "%.0f; set density to 1 for it",
                               job->tensor->method->name, job->tensor->rank,
                               (double)job->n_cols);
    }
    return WW_OK;
}

static enum ww_err open_sources(struct ww_merge_job *job, const char *extra,
                                struct ww_error *err)
{
    struct family *f = job->state;
    double sum = 0;

    for (uint32_t i = 0; i < job->n_sources; i++) {
        struct family_source *s = &f->sources[i];
        s->weight = ww_merge_source_param(job, i, "weight");
        if (job->plan->peer) {
            s->weight = ww_peer_value(job->tensor->compute, s->weight);
        }
        s->density = ww_merge_source_param(job, i, "density");
        s->extra = extra ? ww_merge_source_param(job, i, extra) : 0;
        s->factor = 1;
        f->weights[i] = s->weight;
        sum += s->weight;
        bool partial = s->density > 0 && s->density < 1;
        f->partial = f->partial || partial;
        if (f->rescale && job->plan->paper && partial) {
            s->factor = 1 / s->density;
        }
        enum ww_err rc = f->keep == KEEP_RANKED ? check_ranked(job, s, err) : WW_OK;
        if (!rc && f->keep == KEEP_RANKED) {
            rc = open_ranks(job, s, err);
        }
        if (rc) {
            return rc;
        }
    }
    if (job->plan->peer) {
        sum = ww_peer_value(job->tensor->compute, sum);
    }
    f->divisor = sum < NO_DIVISOR && sum > -NO_DIVISOR ? 1 : sum;
    f->rescale = f->rescale && !job->plan->paper;
    return WW_OK;
}

static bool by_content(const struct ww_merge_job *job)
{
    const struct family *f = job->state;
    return job->plan->order_free && (f->keep == KEEP_RANDOM || f->keep == KEEP_RANKED);
}

/* The pass of sums: acc is [2 n_sources] sums, of what goes and of what is kept. Where
 * blocks are whole bytes of bits, and these are few, the selection is remembered. */
static enum ww_err start_sums(struct ww_merge_job *job, struct ww_error *err)
{
    struct family *f = job->state;
    const uint64_t bytes = ww_div_up(job->n, 8);

    f->summing = true;
    f->sums = ww_calloc(2 * (size_t)job->n_sources, sizeof(*f->sums));
    job->acc_bytes = 2 * job->n_sources * sizeof(*f->sums);
    job->narrow = job->can_narrow && !f->wide && !by_content(job);
    if (f->sums && job->tile_elements % 8 == 0 && job->max_block % 8 == 0 &&
        bytes <= MOST_KEPT_BYTES / job->n_sources) {
        f->kept_bytes = bytes;
        f->kept = ww_calloc(job->n_sources, bytes);
    }
    return f->sums && (f->kept || !f->kept_bytes) ? WW_OK : ww_merge_no_memory(job, err);
}

static uint8_t *kept_bits(const struct family *f, const struct ww_merge_block *b,
                          uint32_t source)
{
    return f->kept + source * f->kept_bytes + b->first / 8;
}

static enum ww_err family_open(struct ww_merge_job *job, enum keep keep, bool elect,
                               const char *extra, bool *scan, struct ww_error *err)
{
    struct family *f = ww_calloc(1, sizeof(*f));
    job->state = f;
    *scan = false;
    if (!f) {
        return ww_merge_no_memory(job, err);
    }
    f->sources = ww_calloc(job->n_sources, sizeof(*f->sources));
    f->weights = ww_calloc(job->n_sources, sizeof(*f->weights));
    if (!f->sources || !f->weights) {
        return ww_merge_no_memory(job, err);
    }
    f->keep = keep;
    f->elect = elect;
    f->normalize = ww_merge_param(job, "normalize") != 0;
    f->rescale = ww_merge_param(job, "rescale") != 0;
    f->lambda = ww_merge_param(job, "lambda");
    f->wide = job->tensor->compute == WW_DTYPE_F64 && keep != KEEP_RANKED;
    f->key = ww_mask_key(job);
    job->scratch_bytes = room_bytes(job);
    enum ww_err rc = open_sources(job, extra, err);
    if (!rc && !f->partial) {
        return WW_OK; /* all or nothing of each source: there is nothing to find out */
    }
    if (!rc && (keep == KEEP_TOP || keep == KEEP_MIDDLE)) {
        *scan = true;
        rc = open_cuts(job, err);
    } else if (!rc && f->rescale) {
        *scan = true;
        rc = start_sums(job, err);
    }
    return rc;
}

WW_CLONES static void at_most(const uint32_t *restrict draws, uint32_t last, size_t n,
                              uint8_t *restrict keep)
{
    for (size_t i = 0; i < n; i++) {
        keep[i] = draws[i] <= last;
    }
}

static void keep_random(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint32_t source, const struct room *r)
{
    const struct family *f = job->state;
    /* Draws are whole numbers: below is below the next whole one; 0 < density < 1. */
    const double below = f->sources[source].density * 0x1p32;
    const uint32_t whole = (uint32_t)below;
    const uint32_t last = whole - (whole == below);

    ww_mask_draw(f->key, source, b->first, b->n, job->plan->order_free ? r->hashes : NULL,
                 r->draws);
    at_most(r->draws, last, b->n, r->keep);
}

/* The larger the magnitude within its row, the likelier it is kept. */
static void keep_ranked(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint32_t source, const uint32_t *keys, const struct room *r)
{
    const struct family *f = job->state;
    const struct family_source *s = &f->sources[source];
    const struct ww_row_odds odds = odds_of(job, s);

    ww_mask_draw(f->key, source, b->first, b->n, job->plan->order_free ? r->hashes : NULL,
                 r->draws);
    for (size_t row = 0; row < b->n; row += job->n_cols) {
        ww_row_keep(keys + row, r->draws + row, job->n_cols, &odds, r->rows,
                    r->keep + row);
    }
}

/* above[i]: is the element above a cut? */
static void keep_above(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       uint32_t source, uint32_t cut, uint64_t *keys, uint8_t *above)
{
    const struct family *f = job->state;
    const struct ww_cut *c = &f->select.cuts[cut];
    uint64_t *seen = (uint64_t *)b->local + cut;

    if (job->narrow) {
        for (size_t i = 0; i < b->n; i++) {
            keys[i] = b->keys[source][i];
        }
        ww_select_above(c, b->tile, keys, b->n, seen, above);
        return;
    }
    if (!f->wide) {
        ww_select_above_float(c, b->tile, b->x[source], b->n, keys, seen, above);
        return;
    }
    ww_key_magnitudes(b->x[source], b->n, true, keys);
    ww_select_above(c, b->tile, keys, b->n, seen, above);
}

WW_CLONES static void leave_out(const uint8_t *restrict outlier, size_t n,
                                uint8_t *restrict keep)
{
    for (size_t i = 0; i < n; i++) {
        keep[i] = outlier[i] ? 0 : keep[i];
    }
}

/* r->keep for one source of a block. */
static void select_block(const struct ww_merge_job *job, const struct ww_merge_block *b,
                         uint32_t source, const struct room *r)
{
    const struct family *f = job->state;
    const struct family_source *s = &f->sources[source];

    if (s->density >= 1 || s->density <= 0) {
        memset(r->keep, s->density >= 1, b->n);
        return;
    }
    if (f->keep == KEEP_RANDOM) {
        keep_random(job, b, source, r);
        return;
    }
    if (f->keep == KEEP_RANKED) {
        uint32_t *keys = (uint32_t *)r->keys;
        if (!job->narrow) {
            ww_key_magnitudes32(b->x[source], b->n, keys);
        }
        keep_ranked(job, b, source, job->narrow ? b->keys[source] : keys, r);
        return;
    }
    keep_above(job, b, source, s->top, r->keys, r->keep);
    if (s->outlier != NO_CUT) {
        keep_above(job, b, source, s->outlier, r->keys, r->outlier);
        leave_out(r->outlier, b->n, r->keep);
    }
}

static void family_scan(const struct ww_merge_job *job, unsigned pass,
                        const struct ww_merge_block *b, void *acc)
{
    const struct family *f = job->state;
    struct room r = room_of(job, b->scratch);
    struct ww_magsum *sums = acc;
    (void)pass;

    if (f->summing && by_content(job)) {
        ww_mask_hash(job, b, r.hashes);
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        if (job->narrow && !f->summing) {
            ww_bracket_scan(f->bracket, s, b->keys[s], b->n, acc);
            continue;
        }
        if (!f->summing) {
            ww_key_magnitudes(b->x[s], b->n, f->wide, r.keys);
            ww_select_scan(&f->select, s, r.keys, b->n, acc);
            continue;
        }
        select_block(job, b, s, &r);
        if (f->kept) {
            ww_mask_pack(r.keep, b->n, kept_bits(f, b, s));
        }
        if (job->narrow) {
            ww_magsum_add_keys(&sums[2 * s], b->keys[s], r.keep, b->n);
        } else {
            ww_magsum_add_split(&sums[2 * s], b->x[s], r.keep, b->n);
        }
    }
}

static void family_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                        const void *acc)
{
    struct family *f = job->state;
    const struct ww_magsum *sums = acc;
    (void)pass;

    if (job->narrow && !f->summing) {
        ww_bracket_fold(f->bracket, tile, acc);
        return;
    }
    if (!f->summing) {
        ww_select_fold(&f->select, tile, acc);
        return;
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        ww_magsum_merge(&f->sums[2 * i], &sums[2 * i]); /* what goes */
        ww_magsum_merge(&f->sums[2 * i], &sums[2 * i + 1]);
        ww_magsum_merge(&f->sums[2 * i + 1], &sums[2 * i + 1]);
    }
}

static enum ww_err family_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                  struct ww_error *err)
{
    struct family *f = job->state;
    enum ww_err rc = WW_OK;
    (void)pass;

    if (!f->summing) {
        rc = job->narrow ? ww_bracket_scanned(f->bracket, job, again, err)
                         : ww_select_scanned(&f->select, job, again, err);
        if (!rc && !*again && f->rescale) {
            *again = true;
            rc = start_sums(job, err);
        }
        return rc;
    }
    *again = false;
    job->narrow = false;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        double all = ww_magsum_value(&f->sums[2 * s]);
        double kept = ww_magsum_value(&f->sums[2 * s + 1]);
        if (job->plan->peer) {
            all = ww_peer_value(job->tensor->compute, all);
            kept = ww_peer_value(job->tensor->compute, kept);
        }
        f->sources[s].factor = all < NO_MASS || kept < NO_MASS ? 1 : all / kept;
        if (job->plan->peer) {
            f->sources[s].factor =
                ww_peer_value(job->tensor->compute, f->sources[s].factor);
        }
    }
    return WW_OK;
}

/* r->keep for one source of a block of the output: remembered, or found again. */
static void recall_block(const struct ww_merge_job *job, const struct ww_merge_block *b,
                         uint32_t source, const struct room *r)
{
    const struct family *f = job->state;
    if (f->kept) {
        ww_mask_unpack(kept_bits(f, b, source), b->n, r->keep);
    } else {
        select_block(job, b, source, r);
    }
}

/* Elect a sign for each element, then add those that have it. A sum of 0 counts as plus,
 * as in mergekit; between locked models, whose signs may all be turned, it elects none.
 */
static void elect(const struct ww_merge_job *job, const struct ww_merge_block *b,
                  const struct room *r)
{
    const struct family *f = job->state;
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
                       const struct room *r)
{
    const struct family *f = job->state;
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
                       uint32_t source, const struct room *r)
{
    const struct family *f = job->state;
    const struct family_source *s = &f->sources[source];
    const bool by_cuts = f->keep == KEEP_TOP || f->keep == KEEP_MIDDLE;
    const bool partial = s->density > 0 && s->density < 1;
    const bool finite = job->can_narrow; /* nothing was rounded */
    double *x = b->x[source];
    double range[2];

    if (f->kept && b->n % 4 == 0) {
        ww_keep_bits(x, kept_bits(f, b, source), s->factor, s->weight, b->n);
        return;
    }
    if (by_cuts && partial && finite && !f->wide && !f->kept &&
        ww_select_range(&f->select.cuts[s->top], s->outlier == NO_CUT ? 1 : 2, b->tile, x,
                        b->n, (uint64_t *)b->local + s->top, range)) {
        ww_keep_range(x, range, s->factor, s->weight, b->n);
        return;
    }
    recall_block(job, b, source, r);
    ww_keep_bytes(x, r->keep, s->factor, s->weight, b->n);
}

static enum ww_err family_block(const struct ww_merge_job *job,
                                const struct ww_merge_block *b, struct ww_error *err)
{
    const struct family *f = job->state;
    struct room r = room_of(job, b->scratch);
    (void)err;

    if (by_content(job) && !f->kept) {
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

static bool always_rows(const struct ww_merge_job *job)
{
    (void)job;
    return true;
}

/* An open function and the operations of one method of the family. */
#define FAMILY(method, keep, elect, extra, rows, all)                                    \
    static enum ww_err method##_open(struct ww_merge_job *job, bool *scan,               \
                                     struct ww_error *err)                               \
    {                                                                                    \
        return family_open(job, keep, elect, extra, scan, err);                          \
    }                                                                                    \
    const struct ww_method_ops ww_merge_##method = {                                     \
        .deltas = true,                                                                  \
        .small = (keep) != KEEP_RANKED,                                                  \
        .wants_rows = rows,                                                              \
        .open = method##_open,                                                           \
        .scan = family_scan,                                                             \
        .fold = family_fold,                                                             \
        .scanned = family_scanned,                                                       \
        .block = family_block,                                                           \
        .close = family_close,                                                           \
        .whole = all,                                                                    \
    }

FAMILY(ties, KEEP_TOP, true, NULL, NULL, &ww_trim_whole);
FAMILY(dare_linear, KEEP_RANDOM, false, NULL, NULL, NULL);
FAMILY(dare_ties, KEEP_RANDOM, true, NULL, NULL, NULL);
FAMILY(breadcrumbs, KEEP_MIDDLE, false, "gamma", NULL, NULL);
FAMILY(breadcrumbs_ties, KEEP_MIDDLE, true, "gamma", NULL, NULL);
FAMILY(della_linear, KEEP_RANKED, false, "epsilon", always_rows, NULL);
FAMILY(della, KEEP_RANKED, true, "epsilon", always_rows, NULL);
