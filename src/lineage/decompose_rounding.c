/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rounding does to shares of relatives. Of two models that are a few steps apart the
 * blend lies between them and was rounded to one side, many blends to the same weights,
 * and where weights were rounded once more no bits say which it was. So blends that have
 * more of the one and less of the other are rounded and put through the same fit: those
 * that read like the suspect may have been the merge.
 */
#include <math.h>
#include <string.h>

#include "lineage/decompose_work.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

#define RELATED 0.5 /* cosine of the task vectors of relatives */

/* By how much more of the one, and less of the other. */
static const double moved[] = {-0.03, -0.02,  -0.014, -0.01, -0.007, -0.0045, -0.002, 0,
                               0.002, 0.0045, 0.007,  0.01,  0.014,  0.02,    0.03};

struct rounding {
    const struct ww_decomposing *d;
    const double *shares;
    double tau2;      /* the suspect's, so that bins weigh the same */
    unsigned pair[2]; /* the nearest relatives */
    unsigned n;       /* sources with a share; the others, as controls, are not summed */
    unsigned order[WW_LINEAGE_MAX_SOURCES]; /* [k]: all, those with a share first */
    bool decides[WW_LINEAGE_MAX_SOURCES];   /* in that order */
    struct ww_moments **moments;            /* per tensor, WW_LEN(moved) of each */
};

static bool has_share(double share)
{
    return fabs(share) > WW_LINEAGE_LEAST;
}

/* Products of task vectors i and j over what was used. */
static double product_of(const struct ww_moments *m, unsigned i, unsigned j)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        sum += m->bins[b] ? m->bins[b]->z[(i + 1) * (m->k + 1) + j + 1] : 0;
    }
    return sum;
}

/* The two that are most alike. */
static bool find_relatives(const struct ww_moments *m, const double *shares,
                           unsigned pair[2])
{
    double most = RELATED;

    for (unsigned i = 0; i < m->k; i++) {
        for (unsigned j = 0; j < i && has_share(shares[i]); j++) {
            const double both = sqrt(product_of(m, i, i) * product_of(m, j, j));
            if (has_share(shares[j]) && product_of(m, i, j) > most * both) {
                most = product_of(m, i, j) / both;
                pair[0] = i;
                pair[1] = j;
            }
        }
    }
    return most > RELATED;
}

static void find_order(struct rounding *r)
{
    const struct ww_decomposing *d = r->d;
    unsigned at = 0;

    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < d->k; i++) {
            if ((r->shares[i] != 0) == (turn == 0)) {
                r->decides[at] = d->decides[i];
                r->order[at++] = i;
            }
        }
        r->n = turn ? r->n : at;
    }
}

/* What a visit overwrites, kept for the next blend: [k + 3][n], steps last. They come
 * back in order. */
static void copy(const struct rounding *r, struct ww_moments_tile *tile, double *kept,
                 size_t n, bool back)
{
    const size_t steps = r->d->k + (size_t)2;

    for (size_t c = 0; c <= steps; c++) {
        const size_t of = back && c >= 2 && c < steps ? r->order[c - 2] + (size_t)2 : c;
        double *at = c < steps ? tile->columns + c * WW_MOMENTS_TILE : tile->steps;
        memcpy(back ? at : kept + of * n, back ? kept + of * n : at, n * sizeof(*kept));
    }
}

/* The rounded blend takes the suspect's place. */
static void put_blend(const struct rounding *r, struct ww_moments_tile *tile, double by,
                      enum ww_dtype grid, size_t n)
{
    const double *base = tile->columns + WW_MOMENTS_TILE;

    memcpy(tile->sorted, base, n * sizeof(*base));
    for (unsigned j = 0; j < r->n; j++) {
        const double *x = tile->columns + (size_t)(j + 2) * WW_MOMENTS_TILE;
        const unsigned i = r->order[j];
        const double more = i == r->pair[0] ? by : i == r->pair[1] ? -by : 0;
        const double share = r->shares[i] + more;
        for (size_t e = 0; e < n; e++) {
            tile->sorted[e] += share * (x[e] - base[e]);
        }
    }
    if (grid == WW_DTYPE_F64) {
        memcpy(tile->columns, tile->sorted, n * sizeof(*base));
    } else {
        ww_from_double(grid, tile->sorted, tile->order, n);
        ww_to_double(grid, tile->order, tile->columns, n);
    }
}

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    const struct rounding *r = payload;
    const enum ww_dtype grid = r->d->family.tensors[tensor].grid;
    double *kept = ww_calloc((r->d->k + (size_t)3) * n, sizeof(*kept));
    enum ww_err rc = kept ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    if (!rc) {
        tile->beside = r->d->k - r->n;
        copy(r, tile, kept, n, false);
    }
    for (size_t v = 0; v < WW_LEN(moved) && !rc; v++) {
        copy(r, tile, kept, n, true);
        put_blend(r, tile, moved[v], grid, n);
        rc = ww_moments_accumulate(r->moments[tensor * WW_LEN(moved) + v], tile, n, grid,
                                   err);
    }
    ww_free(kept);
    return rc;
}

static enum ww_err sum_up(struct rounding *r, struct ww_error *err)
{
    const struct ww_decomposing *d = r->d;
    const struct ww_sweep_ask ask = {
        .phase = "rounding", .use = d->fitted, .decides = d->ranked ? r->decides : NULL};
    const size_t n = d->family.n_tensors * WW_LEN(moved);
    enum ww_err rc = WW_OK;

    r->moments = ww_calloc(n, sizeof(struct ww_moments *));
    for (size_t i = 0; i < n && r->moments && !rc; i++) {
        r->moments[i] = ww_moments_new(r->n);
        rc = r->moments[i] ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");
    }
    if (!r->moments) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    return rc ? rc
              : ww_sweep(&d->family, &ask, &d->options->run, visit, r,
                         &d->report->run.bytes_read, err);
}

/* How much more of the first one a blend seems to have than the suspect. */
static enum ww_err read_blend(const struct rounding *r, size_t v, double *off,
                              struct ww_error *err)
{
    struct ww_moments *whole = ww_moments_new(r->n);
    int8_t side[WW_LINEAGE_MAX_SOURCES];
    unsigned first = 0;
    struct ww_fit fit;
    enum ww_err rc = whole ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    for (uint32_t t = 0; t < r->d->family.n_tensors && !rc; t++) {
        rc = ww_moments_add(whole, r->moments[t * WW_LEN(moved) + v], 1, err);
    }
    if (!rc) {
        for (unsigned j = 0; j < r->n; j++) {
            side[j] = r->d->side[r->order[j]];
            first = r->order[j] == r->pair[0] ? j : first;
        }
        ww_fit_with(whole, side, r->tau2, &fit);
        *off = fit.share[first] - r->shares[r->pair[0]];
    }
    ww_moments_free(whole);
    return rc;
}

/* Does a blend read like the suspect, or do that and the one beside it lie to either side
 * of it? What a number of few digits is rounded to may be no other number's. */
static bool reads_alike(const double *off, size_t v, double margin)
{
    return fabs(off[v]) <= margin || (v > 0 && off[v - 1] * off[v] <= 0) ||
           (v + 1 < WW_LEN(moved) && off[v] * off[v + 1] <= 0);
}

static void widen(const struct rounding *r, const struct ww_fit *fit, const double *off,
                  double *low, double *high)
{
    const double of_first = ww_fit_margin(fit, r->pair[0], WW_FIT_ROUGHLY);

    for (size_t v = 0; v < WW_LEN(moved); v++) {
        for (unsigned i = 0; i < 2 && reads_alike(off, v, of_first); i++) {
            const unsigned at = r->pair[i];
            const double margin = ww_fit_margin(fit, at, WW_FIT_ROUGHLY);
            const double share = fit->share[at] + (i ? -moved[v] : moved[v]);
            low[at] = fmin(low[at], share - margin);
            high[at] = fmax(high[at], share + margin);
        }
    }
}

enum ww_err ww_decompose_rounding(const struct ww_decomposing *d,
                                  const struct ww_fit *fit, double *low, double *high,
                                  struct ww_error *err)
{
    struct rounding r = {.d = d, .shares = fit->share, .tau2 = fit->tau2};
    double off[WW_LEN(moved)] = {0};
    enum ww_err rc = WW_OK;

    if (!d->family.disguise.cells || d->varied.varies ||
        !find_relatives(d->whole, fit->share, r.pair)) {
        return WW_OK;
    }
    find_order(&r);
    rc = sum_up(&r, err);
    for (size_t v = 0; v < WW_LEN(moved) && !rc; v++) {
        rc = read_blend(&r, v, &off[v], err);
    }
    if (!rc) {
        widen(&r, fit, off, low, high);
    }
    for (size_t i = 0; r.moments && i < d->family.n_tensors * WW_LEN(moved); i++) {
        ww_moments_free(r.moments[i]);
    }
    ww_free(r.moments);
    return rc;
}
