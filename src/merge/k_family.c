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
#include "merge/sparse.h"
#include "merge/mask.h"
#include "merge/peer.h"
#include "merge/trim.h"
#include "util/alloc.h"
#include "util/num.h"

#define NO_DIVISOR 1e-8  /* a sum of weights below it divides nothing */
#define MOST_RANKS 65536 /* of a row, to keep what decides about each */

static void family_close(struct ww_merge_job *job)
{
    struct ww_sparse *f = job->state;
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
                              const struct ww_sparse_source *s, enum ww_sparse_keep keep,
                              uint64_t *first, uint64_t *end, struct ww_error *err)
{
    double n = (double)job->n;
    uint64_t target = (uint64_t)(s->density * n);
    uint64_t outliers = (uint64_t)(s->extra * n);

    *first = 0;
    *end = s->density <= 0 ? 0 : s->density >= 1 ? job->n : ww_max_u64(1, target);
    if (keep == WW_KEEP_TOP || s->density >= 1 || s->density <= 0 || job->n == 0) {
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
    struct ww_sparse *f = job->state;
    uint32_t per_source = f->keep == WW_KEEP_MIDDLE ? 2 : 1;
    const bool kept = job->plan->order_free || job->plan->ties == WW_TIES_KEPT;
    const bool dropped = !kept && job->plan->ties == WW_TIES_DROPPED;
    enum ww_err rc = ww_select_init(&f->select, job, per_source * job->n_sources, job->n,
                                    f->wide, err);

    for (uint32_t i = 0; i < job->n_sources && !rc; i++) {
        struct ww_sparse_source *s = &f->sources[i];
        uint64_t first = 0;
        uint64_t end = 0;
        rc = kept_ranks(job, s, f->keep, &first, &end, err);
        if (job->shared) {
            end = ww_trim_rank(job, i);
        }
        s->top = per_source * i;
        s->outlier = f->keep == WW_KEEP_MIDDLE ? s->top + 1 : WW_SPARSE_NO_CUT;
        f->select.cuts[s->top] = (struct ww_cut){
            .vector = i, .rank = end, .all_ties = kept, .no_ties = dropped};
        if (s->outlier != WW_SPARSE_NO_CUT) {
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

/* What decides about each rank of a row: rows are many, and their length is one. */
static enum ww_err open_ranks(struct ww_merge_job *job, struct ww_sparse_source *s,
                              struct ww_error *err)
{
    const struct ww_row_odds odds = ww_sparse_odds(job, s);

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
                                const struct ww_sparse_source *s, struct ww_error *err)
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
    struct ww_sparse *f = job->state;
    double sum = 0;

    for (uint32_t i = 0; i < job->n_sources; i++) {
        struct ww_sparse_source *s = &f->sources[i];
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
        enum ww_err rc = f->keep == WW_KEEP_RANKED ? check_ranked(job, s, err) : WW_OK;
        if (!rc && f->keep == WW_KEEP_RANKED) {
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

static enum ww_err family_open(struct ww_merge_job *job, enum ww_sparse_keep keep,
                               bool elect, const char *extra, bool *scan,
                               struct ww_error *err)
{
    struct ww_sparse *f = ww_calloc(1, sizeof(*f));
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
    f->wide = job->tensor->compute == WW_DTYPE_F64 && keep != WW_KEEP_RANKED;
    f->key = ww_mask_key(job);
    job->scratch_bytes = ww_sparse_room_bytes(job);
    enum ww_err rc = open_sources(job, extra, err);
    if (!rc && !f->partial) {
        return WW_OK; /* all or nothing of each source: there is nothing to find out */
    }
    if (!rc && (keep == WW_KEEP_TOP || keep == WW_KEEP_MIDDLE)) {
        *scan = true;
        rc = open_cuts(job, err);
    } else if (!rc && f->rescale) {
        *scan = true;
        rc = ww_sparse_start_sums(job, err);
    }
    return rc;
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
        .small = (keep) != WW_KEEP_RANKED,                                               \
        .wants_rows = rows,                                                              \
        .open = method##_open,                                                           \
        .scan = ww_sparse_scan,                                                          \
        .scan_stored = ww_sparse_scan_stored,                                            \
        .fold = ww_sparse_fold,                                                          \
        .scanned = ww_sparse_scanned,                                                    \
        .block = ww_sparse_block,                                                        \
        .block_stored = ww_sparse_block_stored,                                          \
        .close = family_close,                                                           \
        .whole = all,                                                                    \
    }

FAMILY(ties, WW_KEEP_TOP, true, NULL, NULL, &ww_trim_whole);
FAMILY(dare_linear, WW_KEEP_RANDOM, false, NULL, NULL, NULL);
FAMILY(dare_ties, WW_KEEP_RANDOM, true, NULL, NULL, NULL);
FAMILY(breadcrumbs, WW_KEEP_MIDDLE, false, "gamma", NULL, NULL);
FAMILY(breadcrumbs_ties, WW_KEEP_MIDDLE, true, "gamma", NULL, NULL);
FAMILY(della_linear, WW_KEEP_RANKED, false, "epsilon", always_rows, NULL);
FAMILY(della, WW_KEEP_RANKED, true, "epsilon", always_rows, NULL);
