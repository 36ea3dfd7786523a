/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The estimator. In a bin of step u the rounding of the suspect has variance u^2/12, and
 * whatever came after the merge adds tau^2 everywhere. Weights follow from both, tau^2
 * from what the bins leave over, in turns until it stands.
 *
 * Rounding in blocks also changes the size of weights: a quantiser that looks for the
 * scale of least error makes them shorter by the share of that error, one that scales by
 * the largest weight cuts others off. So Q(S) = g S + noise, that is y = (g - 1) B +
 * g sum a_i x_i + noise, and a source that decayed, whose task vector points against the
 * base, would take up what is the quantiser's. In bins of such rounding the base is a
 * column of its own, fitted with g in turns.
 */
#include "lineage/fit.h"

#include <math.h>
#include <string.h>

#include "lineage/draws.h"
#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_Z (WW_LINEAGE_MAX_SOURCES + 1)
#define TURNS 20
#define ENOUGH 1000 /* elements of a bin that says something about tau^2 */
#define MORE 1.1    /* times its rounding: chance leaves 1.03 of ENOUGH elements */
#define REPLICATES 200
#define COLLINEAR 1e-9

/* Variance of rounding to the steps of a bin. */
static double rounding(const struct ww_moments_bin *bin)
{
    return bin->steps / (double)bin->n / 12;
}

struct system {
    double xx[MAX_Z * MAX_Z]; /* rows of k */
    double xy[MAX_Z];
};

/* The base's column, where a bin has one. */
struct size {
    double scale; /* g; 1 where there is none */
    double bb;    /* 0 where there is none */
};

/* (1, -a) of the sums in a row of k + 1 */
static double left_over(const double *row, unsigned k, const double *a)
{
    double sum = row[0];

    for (unsigned i = 0; i < k; i++) {
        sum -= a[i] * row[i + 1];
    }
    return sum;
}

/* Least squares of y - g sum a x on the base, as g - 1 = <B, y - sum a x> / <B, B + sum a
 * x>. */
static struct size size_of(const struct ww_moments_bin *bin, unsigned k, const double *a)
{
    struct size s = {1, 0};

    if (2 * bin->coarse > bin->n && bin->base[k + 1] > 0) {
        const double rest = left_over(bin->base, k, a);
        const double all = bin->base[k + 1] + bin->base[0] - rest;
        if (all > 0 && 2 * fabs(rest) < all) {
            s = (struct size){1 + rest / all, bin->base[k + 1]};
        }
    }
    return s;
}

/* Sum i, j of the products without what the base has of both. */
static double clear(const struct ww_moments_bin *bin, unsigned k, const struct size *s,
                    unsigned i, unsigned j)
{
    const double z = bin->z[i * (k + 1) + j];

    return s->bb > 0 ? z - bin->base[i] * bin->base[j] / s->bb : z;
}

/* Of the sources in use alone: with many controls the others are most of the sums. A
 * source whose share lies below zero enters with its sign turned, so that all unknowns
 * are at least 0. side NULL: all are in use as they are. */
static void weigh(const struct ww_moments *moments, const int8_t *side, const double *a,
                  double tau2, struct system *s)
{
    const unsigned k = moments->k;

    memset(s->xx, 0, (size_t)k * k * sizeof(*s->xx));
    memset(s->xy, 0, sizeof(s->xy));
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (!bin) {
            continue;
        }
        const struct size size = size_of(bin, k, a);
        const double w = size.scale / (rounding(bin) + tau2);
        for (unsigned i = 0; i < k; i++) {
            const double wi = side ? w * side[i] : w;
            s->xy[i] += wi * clear(bin, k, &size, 0, i + 1);
            for (unsigned j = 0; j < k && wi != 0; j++) {
                s->xx[i * k + j] += (side ? wi * side[j] : wi) * size.scale *
                                    clear(bin, k, &size, i + 1, j + 1);
            }
        }
    }
}

/* (1, -g a) Z (1, -g a)^T */
static double residual(const struct ww_moments_bin *bin, unsigned k, const double *a,
                       const struct size *s)
{
    double sum = 0;

    for (unsigned i = 0; i <= k; i++) {
        double row = 0;
        if (i && a[i - 1] == 0) {
            continue;
        }
        for (unsigned j = 0; j <= k; j++) {
            row += clear(bin, k, s, i, j) * (j ? -s->scale * a[j - 1] : 1);
        }
        sum += row * (i ? -s->scale * a[i - 1] : 1);
    }
    return sum > 0 ? sum : 0;
}

double ww_fit_residual(const struct ww_moments *moments, const double *shares)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (bin) {
            const struct size size = size_of(bin, moments->k, shares);
            sum += residual(bin, moments->k, shares, &size) / rounding(bin);
        }
    }
    return sum;
}

double ww_fit_rounding(const struct ww_moments *moments, double tau2)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (bin) {
            sum += (double)bin->n * rounding(bin) / (rounding(bin) + tau2);
        }
    }
    return sum;
}

double ww_fit_excess(const struct ww_moments *moments, const double *shares, double tau2)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (bin) {
            const struct size size = size_of(bin, moments->k, shares);
            sum += residual(bin, moments->k, shares, &size) / (rounding(bin) + tau2);
        }
    }
    return sum - ww_fit_rounding(moments, tau2);
}

static double noise(const struct ww_moments *moments, const double *a, double tau2)
{
    double sum = 0;
    double weights = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (!bin || bin->n < ENOUGH) {
            continue;
        }
        const struct size size = size_of(bin, moments->k, a);
        const double w = 1 / (rounding(bin) + tau2);
        const double p = (double)bin->n * w * w;
        sum += p * (residual(bin, moments->k, a, &size) / (double)bin->n - rounding(bin));
        weights += p;
    }
    return weights > 0 && sum > 0 ? sum / weights : 0;
}

/* Rounding leaves the twelfth of the squared step of the largest value, or less. */
static bool leaves_more(const struct ww_moments *moments, const double *a)
{
    bool more = false;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (bin && bin->n >= ENOUGH) {
            const struct size size = size_of(bin, moments->k, a);
            more |= residual(bin, moments->k, a, &size) >
                    MORE * rounding(bin) * (double)bin->n;
        }
    }
    return more;
}

static void effective(const struct ww_moments *moments, double tau2, double *n_eff)
{
    for (unsigned i = 0; i < moments->k; i++) {
        double one = 0;
        double two = 0;
        for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
            const struct ww_moments_bin *bin = moments->bins[b];
            if (bin) {
                const double w = 1 / (rounding(bin) + tau2);
                one += w * bin->z[(i + 1) * (moments->k + 1) + i + 1];
                two += w * w * bin->q[i];
            }
        }
        n_eff[i] = two > 0 ? one * one / two : 0;
    }
}

static void errors(const struct system *s, unsigned k, struct ww_fit *out)
{
    bool active[WW_LINEAGE_MAX_SOURCES] = {false};
    double diagonal[MAX_Z];

    for (unsigned i = 0; i < k; i++) {
        active[i] = out->share[i] != 0;
    }
    if (ww_inverse_diagonal(s->xx, k, k, active, diagonal)) {
        for (unsigned i = 0; i < k; i++) {
            out->error[i] = sqrt(diagonal[i] > 0 ? diagonal[i] : 0);
        }
    }
}

static double size_changed(const struct ww_moments *moments, const struct ww_fit *fit)
{
    const unsigned k = moments->k;
    double sum = 0;
    double weights = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (!bin) {
            continue;
        }
        const struct size size = size_of(bin, k, fit->share);
        for (unsigned i = 1; i <= k; i++) {
            const double w = clear(bin, k, &size, i, i) / (rounding(bin) + fit->tau2);
            sum += w * fabs(size.scale - 1);
            weights += w;
        }
    }
    return weights > 0 ? sum / weights : 0;
}

/* The farthest that a share moved. */
static double moved_by(const double *before, const double *now, unsigned k)
{
    double most = 0;

    for (unsigned i = 0; i < k; i++) {
        most = fmax(most, fabs(now[i] - before[i]));
    }
    return most;
}

static double turn(const struct ww_moments *moments, const int8_t *side, struct system *s,
                   struct ww_fit *fit)
{
    double before[WW_LINEAGE_MAX_SOURCES];
    bool use[WW_LINEAGE_MAX_SOURCES];

    memcpy(before, fit->share, sizeof(before));
    weigh(moments, side, before, fit->tau2, s);
    for (unsigned i = 0; i < moments->k; i++) {
        use[i] = side[i] != WW_SIDE_OUT;
    }
    ww_nnls(s->xx, moments->k, s->xy, moments->k, use, fit->share);
    for (unsigned i = 0; i < moments->k; i++) {
        fit->share[i] = fit->share[i] > 0 ? fit->share[i] * side[i] : 0;
    }
    return moved_by(before, fit->share, moments->k);
}

static bool has_sizes(const struct ww_moments *moments)
{
    bool any = false;

    for (unsigned b = 0; b < WW_MOMENTS_BINS && !any; b++) {
        any = moments->bins[b] && moments->bins[b]->coarse > 0;
    }
    return any;
}

void ww_fit(const struct ww_moments *moments, const int8_t *side, struct ww_fit *out)
{
    const bool sizes = has_sizes(moments);
    struct system s;
    double moved = INFINITY;

    memset(out, 0, sizeof(*out));
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        out->used += moments->bins[b] ? moments->bins[b]->n : 0;
    }
    if (out->used < WW_FIT_LEAST) {
        return;
    }
    for (unsigned i = 0; i < TURNS && moved > 1e-6; i++) {
        const double before = out->tau2;
        const double shares = turn(moments, side, &s, out);
        out->tau2 = noise(moments, out->share, out->tau2);
        moved = before > 0 || out->tau2 > 0
                    ? fabs(out->tau2 - before) / (before > out->tau2 ? before : out->tau2)
                    : 0;
        moved = sizes ? fmax(moved, shares) : moved;
    }
    (void)turn(moments, side, &s, out);
    errors(&s, moments->k, out);
    effective(moments, out->tau2, out->n_eff);
    out->size = size_changed(moments, out);
    out->more = leaves_more(moments, out->share);
}

double ww_fit_margin(const struct ww_fit *fit, unsigned i, double least)
{
    return fmax(1.96 * fit->error[i], least) + fabs(fit->share[i]) * fit->size;
}

void ww_fit_lengths(const struct ww_moments *moments, double *lengths)
{
    const unsigned k = moments->k;

    for (unsigned i = 0; i < k; i++) {
        double sum = 0;
        for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
            sum += moments->bins[b] ? moments->bins[b]->z[(i + 1) * (k + 2)] : 0;
        }
        lengths[i] = sqrt(sum);
    }
}

void ww_fit_stay_on(int8_t side, double *low, double *high)
{
    if (side == WW_SIDE_MINUS) {
        *high = fmin(0, *high);
    } else {
        *low = fmax(0, *low);
    }
}

/* Of a task vector, the base's part of it included. */
static double length_of(const struct ww_moments *moments, unsigned i)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        sum += bin ? bin->z[(i + 1) * (moments->k + 1) + i + 1] / rounding(bin) : 0;
    }
    return sum;
}

#define FARTHER 1.5 /* so many times as long is another model's task vector */
#define FINE 64     /* in steps: rounding of task vectors as long as this is even */

bool ww_fit_decides(const struct ww_moments *moments, const int8_t *side, bool *decides)
{
    double of_sources = 0;
    double of_others = 0;
    struct ww_fit fit;

    ww_fit(moments, side, &fit);
    for (unsigned i = 0; i < moments->k; i++) {
        /* Roots are taken of squares in units of the variance of rounding. */
        const double steps =
            fit.used ? sqrt(length_of(moments, i) / 12 / (double)fit.used) : 0;
        decides[i] = side[i] && fabs(fit.share[i]) > WW_LINEAGE_LEAST;
        of_sources = decides[i] ? fmax(of_sources, steps) : of_sources;
        of_others = decides[i] ? of_others : fmax(of_others, steps);
    }
    return fit.used >= WW_FIT_LEAST && of_sources > 0 && of_sources < FINE &&
           of_others > FARTHER * of_sources;
}

void ww_fit_collinear(const struct ww_moments *moments, uint32_t *same)
{
    const unsigned k = moments->k;
    static const double none[WW_LINEAGE_MAX_SOURCES];
    struct system s;

    weigh(moments, NULL, none, 0, &s);
    for (unsigned i = 0; i < k; i++) {
        const double length = length_of(moments, i);
        same[i] = length > 0 && s.xx[i * k + i] > COLLINEAR * length ? i : WW_NONE;
        for (unsigned j = 0; j < i && same[i] == i; j++) {
            const double ij = s.xx[i * k + j];
            const double both = s.xx[i * k + i] * s.xx[j * k + j];
            if (same[j] == j && both - ij * ij <= COLLINEAR * both) {
                same[i] = j;
            }
        }
    }
}

static enum ww_err replicate(const struct ww_moments *const *blocks, size_t n, unsigned k,
                             const int8_t *side, uint64_t *state, uint32_t *times,
                             struct ww_fit *out, struct ww_error *err)
{
    struct ww_moments *pool = ww_moments_new(k);
    enum ww_err rc = pool ? WW_OK : WW_FAIL_MEMORY(err, "a fit");

    memset(times, 0, n * sizeof(*times));
    for (size_t i = 0; i < n; i++) {
        times[ww_draw(state) % n]++;
    }
    for (size_t i = 0; i < n && !rc; i++) {
        if (times[i]) {
            rc = ww_moments_add(pool, blocks[i], times[i], err);
        }
    }
    if (!rc) {
        ww_fit(pool, side, out);
    }
    ww_moments_free(pool);
    return rc;
}

enum ww_err ww_fit_bootstrap(const struct ww_moments *const *blocks, size_t n, unsigned k,
                             const int8_t *side, uint64_t seed, double *low, double *high,
                             struct ww_error *err)
{
    double *values = ww_calloc((size_t)k * REPLICATES, sizeof(*values));
    uint32_t *times = ww_calloc(n, sizeof(*times));
    size_t told[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_fit fit;
    uint64_t state = seed;
    enum ww_err rc = WW_OK;

    if (!values || !times) {
        rc = WW_FAIL_MEMORY(err, "a fit");
        goto out;
    }
    for (unsigned r = 0; r < REPLICATES && !rc; r++) {
        rc = replicate(blocks, n, k, side, &state, times, &fit, err);
        for (unsigned i = 0; i < k && !rc; i++) {
            if (fit.n_eff[i] > 0) { /* the source differs from the base in some block */
                values[(size_t)i * REPLICATES + told[i]++] = fit.share[i];
            }
        }
    }
    for (unsigned i = 0; i < k && !rc; i++) {
        ww_draw_middle(values + (size_t)i * REPLICATES, told[i], &low[i], &high[i]);
    }
out:
    ww_free(values);
    ww_free(times);
    return rc;
}
