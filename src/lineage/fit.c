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
#include "lineage/fit_work.h"

#include <math.h>
#include <string.h>

#include "lineage/nnls.h"

#define TURNS 20
#define ENOUGH 1000 /* elements of a bin that says something about tau^2 */
#define MORE 1.1    /* times its rounding: chance leaves 1.03 of ENOUGH elements */

static double noise(const struct ww_moments *moments, const double *a, double tau2)
{
    double sum = 0;
    double weights = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (!bin || bin->n < ENOUGH) {
            continue;
        }
        const struct ww_fit_size size = ww_fit_size_of(bin, moments->k, a);
        const double w = 1 / (ww_fit_variance(bin) + tau2);
        const double p = (double)bin->n * w * w;
        sum += p * (ww_fit_left(bin, moments->k, a, &size) / (double)bin->n -
                    ww_fit_variance(bin));
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
            const struct ww_fit_size size = ww_fit_size_of(bin, moments->k, a);
            more |= ww_fit_left(bin, moments->k, a, &size) >
                    MORE * ww_fit_variance(bin) * (double)bin->n;
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
                const double w = 1 / (ww_fit_variance(bin) + tau2);
                one += w * bin->z[(i + 1) * (moments->k + 1) + i + 1];
                two += w * w * bin->q[i];
            }
        }
        n_eff[i] = two > 0 ? one * one / two : 0;
    }
}

static void errors(const struct ww_fit_system *s, unsigned k, struct ww_fit *out)
{
    bool active[WW_LINEAGE_MAX_SOURCES] = {false};
    double diagonal[WW_LINEAGE_MAX_SOURCES];

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
        const struct ww_fit_size size = ww_fit_size_of(bin, k, fit->share);
        for (unsigned i = 1; i <= k; i++) {
            const double w =
                ww_fit_clear(bin, k, &size, i, i) / (ww_fit_variance(bin) + fit->tau2);
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

static double turn(const struct ww_moments *moments, const int8_t *side,
                   struct ww_fit_system *s, struct ww_fit *fit)
{
    double before[WW_LINEAGE_MAX_SOURCES];
    bool use[WW_LINEAGE_MAX_SOURCES];

    memcpy(before, fit->share, sizeof(before));
    ww_fit_weigh(moments, side, before, fit->tau2, s);
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
    struct ww_fit_system s;
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

void ww_fit_with(const struct ww_moments *moments, const int8_t *side, double tau2,
                 struct ww_fit *out)
{
    struct ww_fit_system s;
    double moved = INFINITY;

    memset(out, 0, sizeof(*out));
    out->tau2 = tau2;
    for (unsigned i = 0; i < TURNS && moved > 1e-6; i++) {
        moved = turn(moments, side, &s, out);
    }
}

double ww_fit_margin(const struct ww_fit *fit, unsigned i, double least)
{
    return fmax(1.96 * fit->error[i], least) + fabs(fit->share[i]) * fit->size;
}

void ww_fit_stay_on(int8_t side, double *low, double *high)
{
    if (side == WW_SIDE_MINUS) {
        *high = fmin(0, *high);
    } else {
        *low = fmax(0, *low);
    }
}
