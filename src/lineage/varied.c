/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fit over tensors whose coefficients differ is a fit of the wrong model: the tensors
 * with the finest steps decide, and decoys take up what is left. Whether it is so is read
 * off the residuals, in units of what rounding leaves.
 */
#include "lineage/varied.h"

#include <math.h>
#include <string.h>

#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MUCH 1.05 /* residual of the one fit, in those of the many */
#define REPLICATES 200
#define FEWEST 6 /* tensors that say how they differ */

struct sums {
    double one;
    double many;
};

static void add_residuals(const struct ww_moments *moments, const double *pooled,
                          const double *own, struct sums *sums)
{
    sums->one += ww_fit_residual(moments, pooled);
    sums->many += ww_fit_residual(moments, own);
}

/* Of the tensors that a source moved. */
struct scatter {
    double n;
    double sum;
    double squares;
    double errors; /* squared */
};

static void add_share(struct scatter *s, double share, double error)
{
    s->n++;
    s->sum += share;
    s->squares += share * share;
    s->errors += error * error;
}

static double even(const struct scatter *s)
{
    const double mean = s->n > 0 ? s->sum / s->n : 0;
    const double variance =
        s->n < FEWEST ? 0 : (s->squares - s->sum * mean) / (s->n - 1) - s->errors / s->n;

    return variance > 0 ? fabs(mean) / sqrt(variance) : HUGE_VAL;
}

/* A tensor's own shares, where it has enough elements; weights[t k + i] counts them where
 * source i moved it, as others say nothing of that source. */
static void fit_tensors(const struct ww_varied_ask *a, struct ww_varied *out,
                        double *weights)
{
    struct sums sums = {0};
    struct scatter scatter[WW_LINEAGE_MAX_SOURCES] = {{0}};

    for (size_t t = 0; t < a->n; t++) {
        struct ww_fit fit;
        if (!a->fitted[t]) {
            continue;
        }
        ww_fit(a->moments[t], a->side, &fit);
        if (fit.used >= WW_FIT_LEAST) {
            for (unsigned i = 0; i < a->k; i++) {
                weights[t * a->k + i] = fit.n_eff[i] > 0 ? (double)fit.used : 0;
                if (fit.n_eff[i] > 0) {
                    add_share(&scatter[i], fit.share[i], fit.error[i]);
                }
            }
            memcpy(out->tensors + t * a->k, fit.share, a->k * sizeof(double));
            add_residuals(a->moments[t], a->pooled, fit.share, &sums);
        }
    }
    for (unsigned i = 0; i < a->k; i++) {
        out->even[i] = even(&scatter[i]);
    }
    out->varies = sums.one > MUCH * sums.many;
}

/* Weighted mean over the tensors that times counts; times NULL: each once. NAN: there are
 * none. */
static double mean(const struct ww_varied_ask *a, const struct ww_varied *v,
                   const double *weights, const uint32_t *times, unsigned i)
{
    double sum = 0;
    double total = 0;

    for (size_t t = 0; t < a->n; t++) {
        const double w = weights[t * a->k + i] * (times ? times[t] : 1);
        sum += w * v->tensors[t * a->k + i];
        total += w;
    }
    if (total <= 0) {
        return NAN;
    }
    return sum / total;
}

static void draw_intervals(const struct ww_varied_ask *a, const double *weights,
                           double *values, uint32_t *times, struct ww_varied *out)
{
    size_t told[WW_LINEAGE_MAX_SOURCES] = {0};
    uint64_t state = a->seed;

    for (unsigned r = 0; r < REPLICATES; r++) {
        memset(times, 0, a->n * sizeof(*times));
        for (size_t t = 0; t < a->n; t++) {
            times[ww_draw(&state) % a->n]++;
        }
        for (unsigned i = 0; i < a->k; i++) {
            const double v = mean(a, out, weights, times, i);
            if (!isnan(v)) {
                values[(size_t)i * REPLICATES + told[i]++] = v;
            }
        }
    }
    for (unsigned i = 0; i < a->k; i++) {
        ww_draw_middle(values + (size_t)i * REPLICATES, told[i], &out->low[i],
                       &out->high[i]);
    }
}

static bool is_told(const struct ww_varied_ask *a, const double *weights, size_t t)
{
    bool told = false;

    for (unsigned i = 0; i < a->k; i++) {
        told |= weights[t * a->k + i] > 0;
    }
    return told;
}

/* That of a layer, else the mean, into the place of tensor t of it. */
static void fill_gap(const struct ww_varied_ask *a, const double *weights, size_t t,
                     struct ww_varied *out)
{
    for (unsigned i = 0; i < a->k; i++) {
        double sum = 0;
        double total = 0;
        for (size_t o = 0; o < a->n; o++) {
            const double w = a->layers[o] == a->layers[t] ? weights[o * a->k + i] : 0;
            sum += w * out->tensors[o * a->k + i];
            total += w;
        }
        out->tensors[t * a->k + i] = total > 0 ? sum / total : out->share[i];
    }
}

/* Tensors without a fit take that of their layer, and else the mean: the first one of a
 * run in one layer is filled, the others take it from there. */
static void fill_gaps(const struct ww_varied_ask *a, const double *weights,
                      struct ww_varied *out)
{
    size_t filled = a->n;

    for (size_t t = 0; t < a->n; t++) {
        double *own = out->tensors + t * a->k;
        if (is_told(a, weights, t)) {
            continue;
        }
        if (filled < a->n && a->layers[filled] == a->layers[t]) {
            memcpy(own, out->tensors + filled * a->k, a->k * sizeof(*own));
        } else {
            fill_gap(a, weights, t, out);
            filled = t;
        }
    }
}

enum ww_err ww_varied_fit(const struct ww_varied_ask *ask, struct ww_varied *out,
                          struct ww_error *err)
{
    double *weights = ww_calloc(ask->n * ask->k + 1, sizeof(*weights));
    double *values = ww_calloc((size_t)ask->k * REPLICATES, sizeof(*values));
    uint32_t *times = ww_calloc(ask->n + 1, sizeof(*times));
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->tensors = ww_calloc(ask->n * ask->k + 1, sizeof(*out->tensors));
    if (!weights || !values || !times || !out->tensors) {
        rc = WW_FAIL_MEMORY(err, "the fits of tensors");
        goto out;
    }
    fit_tensors(ask, out, weights);
    for (unsigned i = 0; i < ask->k; i++) {
        const double share = mean(ask, out, weights, NULL, i);
        out->share[i] = isnan(share) ? 0 : share;
    }
    if (out->varies) {
        draw_intervals(ask, weights, values, times, out);
        fill_gaps(ask, weights, out);
    }
out:
    ww_free(weights);
    ww_free(values);
    ww_free(times);
    return rc;
}
