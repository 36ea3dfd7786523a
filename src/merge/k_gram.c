/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of gramcoef.h over a whole tensor (one pass, then a sum), over its rows (no
 * pass: a row's inner products are taken where the row is merged), and for nuslerp over
 * its columns. With differences the result is the base and a combination of them.
 */
#include "merge/gramcoef.h"
#include "merge/kernel.h"
#include "merge/peer.h"
#include "merge/stored.h"
#include "merge/tilesum.h"
#include "merge/weighted.h"
#include "util/alloc.h"

struct gram_state {
    struct ww_tilesum sums;
    double *w;          /* [n_sources] or NULL */
    double *c;          /* [n_vectors], or of all columns one after the other */
    uint64_t n_columns; /* 0: one set of coefficients */
    bool by_row;
};

static void gram_close(struct ww_merge_job *job)
{
    struct gram_state *st = job->state;
    if (st) {
        ww_tilesum_release(&st->sums);
        ww_free(st->w);
        ww_free(st->c);
        ww_free(st);
        job->state = NULL;
    }
}

static enum ww_err gram_open(struct ww_merge_job *job, uint32_t n_vectors, bool by_row,
                             bool *scan, struct ww_error *err)
{
    struct gram_state *st = ww_calloc(1, sizeof(*st));
    job->state = st;
    *scan = !by_row;
    if (!st) {
        return ww_merge_no_memory(job, err);
    }
    st->by_row = by_row;
    st->c = ww_calloc(n_vectors, sizeof(*st->c));
    if (!st->c) {
        return ww_merge_no_memory(job, err);
    }
    return by_row ? WW_OK : ww_tilesum_init(&st->sums, job, WW_GRAM_SUMS(n_vectors), err);
}

static void gram_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc)
{
    struct gram_state *st = job->state;
    (void)pass;
    ww_tilesum_fold(&st->sums, tile, acc);
}

static void scan_sources(const struct ww_merge_job *job, unsigned pass,
                         const struct ww_merge_block *b, void *acc)
{
    (void)pass;
    ww_gram_add(b->x, job->n_sources, b->n, acc);
}

/* With differences where they are merged. */
static bool scan_stored(const struct ww_merge_job *job, unsigned pass,
                        const struct ww_merge_block *b, const uint8_t *const *x,
                        const uint8_t *base, void *acc)
{
    const uint8_t *from = job->ops->deltas ? base : NULL;
    (void)pass;
    return job->n_sources >= 2 && job->n_sources <= WW_STORED_VECTORS &&
           ww_stored_gram(x, job->n_sources, from, b->n, acc);
}

static struct ww_gram total(const struct ww_merge_job *job, uint32_t n)
{
    struct gram_state *st = job->state;
    return (struct ww_gram){ww_tilesum_total(&st->sums, job->n_tiles), n};
}

static enum ww_err combine(const struct ww_merge_job *job, const struct ww_merge_block *b,
                           struct ww_error *err)
{
    const struct gram_state *st = job->state;
    (void)err;
    ww_weighted_sum(b->x, st->c, job->n_sources, b->n, b->out);
    if (job->tensor->method->ops->deltas && b->base) {
        ww_weighted_onto(b->base, 1, b->n, b->out);
    }
    return WW_OK;
}

static bool combine_form(const struct ww_merge_job *job, struct ww_merge_form *form)
{
    const struct gram_state *st = job->state;
    *form = (struct ww_merge_form){.w = st->c, .divisor = 1, .lambda = 1};
    return !st->by_row && st->n_columns == 0;
}

/* One row of a block at a time, with pointers moved along. */
static void row_of(const struct ww_merge_job *job, const struct ww_merge_block *b,
                   uint64_t row, double **x)
{
    for (uint32_t i = 0; i < job->n_sources; i++) {
        x[i] = b->x[i] + row * job->n_cols;
    }
}

static void combine_row(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint64_t row, double *const *x, const double *c)
{
    double *out = b->out + row * job->n_cols;
    ww_weighted_sum(x, c, job->n_sources, job->n_cols, out);
    if (b->base) {
        ww_weighted_onto(b->base + row * job->n_cols, 1, job->n_cols, out);
    }
}

/* slerp: from the base towards the other, whatever their order in the recipe. */

static enum ww_err slerp_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return gram_open(job, 2, false, scan, err);
}

static void slerp_scan(const struct ww_merge_job *job, unsigned pass,
                       const struct ww_merge_block *b, void *acc)
{
    double *pair[2] = {(double *)(uintptr_t)b->base, b->x[0]}; /* which are read alone */
    (void)job;
    (void)pass;
    ww_gram_add(pair, 2, b->n, acc);
}

static bool slerp_scan_stored(const struct ww_merge_job *job, unsigned pass,
                              const struct ww_merge_block *b, const uint8_t *const *x,
                              const uint8_t *base, void *acc)
{
    const uint8_t *const pair[2] = {base, x[0]};
    (void)job;
    (void)pass;
    return ww_stored_gram(pair, 2, NULL, b->n, acc);
}

static enum ww_err slerp_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                 struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, 2);
    (void)pass;
    (void)err;
    *again = false;
    ww_coef_slerp(&g, ww_merge_param(job, "t"), st->c);
    return WW_OK;
}

/* The peer's coefficients are float32 from its own sums; ours are rounded to that. */
static void peer_slerp(const struct ww_merge_job *job, const struct ww_merge_block *b)
{
    const struct gram_state *st = job->state;
    const enum ww_dtype dtype = job->tensor->compute;
    const enum ww_dtype wide = dtype == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
    const double c[2] = {ww_peer_value(wide, st->c[0]), ww_peer_value(wide, st->c[1])};

    for (size_t i = 0; i < b->n; i++) {
        b->out[i] = c[0] * b->base[i];
        b->x[0][i] *= c[1];
    }
    ww_peer_float(wide, b->out, b->n);
    ww_peer_float(wide, b->x[0], b->n);
    for (size_t i = 0; i < b->n; i++) {
        b->out[i] += b->x[0][i];
    }
    ww_peer_round(dtype, b->out, b->n);
}

static enum ww_err slerp_block(const struct ww_merge_job *job,
                               const struct ww_merge_block *b, struct ww_error *err)
{
    const struct gram_state *st = job->state;
    (void)err;
    if (job->plan->peer) {
        peer_slerp(job, b);
        return WW_OK;
    }
    ww_weighted_sum((double *const[]){(double *)(uintptr_t)b->base, b->x[0]}, st->c, 2,
                    b->n, b->out);
    return WW_OK;
}

static bool slerp_form(const struct ww_merge_job *job, struct ww_merge_form *form)
{
    const bool sums = combine_form(job, form);
    form->base_is_first = true;
    return sums;
}

const struct ww_method_ops ww_merge_slerp = {
    .open = slerp_open,
    .scan = slerp_scan,
    .scan_stored = slerp_scan_stored,
    .form = slerp_form,
    .fold = gram_fold,
    .scanned = slerp_scanned,
    .block = slerp_block,
    .close = gram_close,
};

/* nuslerp */

static bool nuslerp_rows(const struct ww_merge_job *job)
{
    return ww_merge_param(job, "nuslerp_flatten") == 0 &&
           (ww_merge_param(job, "nuslerp_row_wise") == 0 || job->tensor->rank < 2);
}

static double nuslerp_t(const struct ww_merge_job *job)
{
    double a = ww_merge_source_param(job, 0, "weight");
    double b = ww_merge_source_param(job, 1, "weight");
    double sum = a + b;
    return sum < 1e-6 && sum > -1e-6 ? 0.5 : b / sum;
}

static enum ww_err nuslerp_open(struct ww_merge_job *job, bool *scan,
                                struct ww_error *err)
{
    bool flat = ww_merge_param(job, "nuslerp_flatten") != 0;
    bool rows = nuslerp_rows(job);
    enum ww_err rc = gram_open(job, 2, rows, scan, err);

    if (rc || flat || rows || job->n == 0) {
        return rc;
    }
    struct gram_state *st = job->state;
    st->n_columns = job->n / job->tensor->shape[0];
    ww_free(st->c);
    st->c = ww_calloc(st->n_columns, 2 * sizeof(*st->c));
    if (!st->c) {
        return ww_merge_no_memory(job, err);
    }
    ww_tilesum_release(&st->sums);
    return ww_tilesum_init(&st->sums, job, WW_GRAM_SUMS(2) * st->n_columns, err);
}

static void nuslerp_scan(const struct ww_merge_job *job, unsigned pass,
                         const struct ww_merge_block *b, void *acc)
{
    const struct gram_state *st = job->state;
    double *sums = acc;

    if (st->n_columns == 0) {
        scan_sources(job, pass, b, acc);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        double *g = sums + (b->first + i) % st->n_columns * WW_GRAM_SUMS(2);
        g[0] += b->x[0][i] * b->x[0][i];
        g[1] += b->x[0][i] * b->x[1][i];
        g[2] += b->x[1][i] * b->x[1][i];
    }
}

static bool nuslerp_scan_stored(const struct ww_merge_job *job, unsigned pass,
                                const struct ww_merge_block *b, const uint8_t *const *x,
                                const uint8_t *base, void *acc)
{
    const struct gram_state *st = job->state;
    return st->n_columns == 0 && scan_stored(job, pass, b, x, base, acc);
}

static enum ww_err nuslerp_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                   struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, 2);
    (void)pass;
    (void)err;
    *again = false;
    ww_coef_nuslerp(&g, nuslerp_t(job), st->c);
    for (uint64_t k = 1; k < st->n_columns; k++) {
        g.upper += WW_GRAM_SUMS(2);
        ww_coef_nuslerp(&g, nuslerp_t(job), st->c + 2 * k);
    }
    return WW_OK;
}

static enum ww_err nuslerp_block(const struct ww_merge_job *job,
                                 const struct ww_merge_block *b, struct ww_error *err)
{
    const struct gram_state *st = job->state;
    double upper[WW_GRAM_SUMS(2)];
    double c[2];
    double *x[2];

    for (size_t i = 0; st->n_columns && i < b->n; i++) {
        const double *of = st->c + 2 * ((b->first + i) % st->n_columns);
        double v = of[0] * b->x[0][i] + of[1] * b->x[1][i];
        b->out[i] = b->base ? b->base[i] + v : v;
    }
    for (uint64_t row = 0; st->by_row && row < b->n / job->n_cols; row++) {
        row_of(job, b, row, x);
        upper[0] = upper[1] = upper[2] = 0;
        ww_gram_add(x, 2, job->n_cols, upper);
        ww_coef_nuslerp(&(struct ww_gram){upper, 2}, nuslerp_t(job), c);
        combine_row(job, b, row, x, c);
    }
    return st->n_columns || st->by_row ? WW_OK : combine(job, b, err);
}

const struct ww_method_ops ww_merge_nuslerp = {
    .deltas = true,
    .wants_rows = nuslerp_rows,
    .open = nuslerp_open,
    .scan = nuslerp_scan,
    .scan_stored = nuslerp_scan_stored,
    .form = combine_form,
    .fold = gram_fold,
    .scanned = nuslerp_scanned,
    .block = nuslerp_block,
    .close = gram_close,
};

/* multislerp */

static enum ww_err multislerp_open(struct ww_merge_job *job, bool *scan,
                                   struct ww_error *err)
{
    enum ww_err rc = gram_open(job, job->n_sources, false, scan, err);
    struct gram_state *st = job->state;
    double sum = 0;

    if (rc) {
        return rc;
    }
    st->w = ww_merge_source_params(job, "weight");
    if (!st->w) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        sum += st->w[i];
    }
    if (ww_merge_param(job, "normalize_weights") == 0) {
        return WW_OK;
    }
    if (sum == 0) {
        return ww_merge_refuse(job, err,
                               "the weights sum to 0 and are divided by the sum");
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        st->w[i] /= sum;
    }
    return WW_OK;
}

static enum ww_err multislerp_scanned(struct ww_merge_job *job, unsigned pass,
                                      bool *again, struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, job->n_sources);
    (void)pass;
    *again = false;
    if (job->n_sources == 1) {
        st->c[0] = 1; /* alone it is taken as it is */
        return WW_OK;
    }
    if (!ww_coef_multislerp(&g, st->w, ww_merge_param(job, "eps"), st->c)) {
        return ww_merge_refuse(job, err,
                               "the weighted directions of %u models cancel, there is no "
                               "mean on the sphere",
                               job->n_sources);
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_multislerp = {
    .deltas = true,
    .open = multislerp_open,
    .scan = scan_sources,
    .scan_stored = scan_stored,
    .form = combine_form,
    .fold = gram_fold,
    .scanned = multislerp_scanned,
    .block = combine,
    .close = gram_close,
};

/* karcher */

static enum ww_err whole_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return gram_open(job, job->n_sources, false, scan, err);
}

static enum ww_err karcher_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                   struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, job->n_sources);
    (void)pass;
    (void)err;
    *again = false;
    ww_coef_karcher(&g, (uint32_t)ww_merge_param(job, "max_iter"),
                    ww_merge_param(job, "tol"), st->c);
    return WW_OK;
}

const struct ww_method_ops ww_merge_karcher = {
    .open = whole_open,
    .scan = scan_sources,
    .scan_stored = scan_stored,
    .form = combine_form,
    .fold = gram_fold,
    .scanned = karcher_scanned,
    .block = combine,
    .close = gram_close,
};

/* model_stock */

static bool stock_rows(const struct ww_merge_job *job)
{
    return ww_merge_param(job, "filter_wise") != 0;
}

static enum ww_err stock_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    job->scratch_bytes = WW_GRAM_SUMS(job->n_sources) * sizeof(double);
    return gram_open(job, job->n_sources, stock_rows(job), scan, err);
}

static enum ww_err stock_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                 struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, job->n_sources);
    (void)pass;
    (void)err;
    *again = false;
    ww_coef_model_stock(&g, st->c);
    return WW_OK;
}

static enum ww_err stock_block(const struct ww_merge_job *job,
                               const struct ww_merge_block *b, struct ww_error *err)
{
    const struct gram_state *st = job->state;
    double c[WW_GRAM_MAX];
    double *x[WW_GRAM_MAX];
    double *upper = b->scratch;

    if (!st->by_row) {
        return combine(job, b, err);
    }
    for (uint64_t row = 0; row < b->n / job->n_cols; row++) {
        row_of(job, b, row, x);
        for (size_t i = 0; i < WW_GRAM_SUMS(job->n_sources); i++) {
            upper[i] = 0;
        }
        ww_gram_add(x, job->n_sources, job->n_cols, upper);
        ww_coef_model_stock(&(struct ww_gram){upper, job->n_sources}, c);
        combine_row(job, b, row, x, c);
    }
    return WW_OK;
}

const struct ww_method_ops ww_merge_model_stock = {
    .deltas = true,
    .wants_rows = stock_rows,
    .open = stock_open,
    .scan = scan_sources,
    .scan_stored = scan_stored,
    .form = combine_form,
    .fold = gram_fold,
    .scanned = stock_scanned,
    .block = stock_block,
    .close = gram_close,
};

/* geometric_median: of differences from the first model, so that nothing cancels in the
 * distances; they do not change when all points are moved. */

static void median_scan(const struct ww_merge_job *job, unsigned pass,
                        const struct ww_merge_block *b, void *acc)
{
    (void)pass;
    for (uint32_t i = job->n_sources; i-- > 0;) {
        ww_weighted_delta(b->x[i], b->x[0], b->n);
    }
    ww_gram_add(b->x, job->n_sources, b->n, acc);
}

static enum ww_err median_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                  struct ww_error *err)
{
    struct gram_state *st = job->state;
    struct ww_gram g = total(job, job->n_sources);
    (void)pass;
    (void)err;
    *again = false;
    ww_coef_median(&g, (uint32_t)ww_merge_param(job, "max_iter"),
                   ww_merge_param(job, "eps"), st->c);
    return WW_OK;
}

const struct ww_method_ops ww_merge_geometric_median = {
    .open = whole_open,
    .scan = median_scan,
    .form = combine_form,
    .fold = gram_fold,
    .scanned = median_scanned,
    .block = combine,
    .close = gram_close,
};
