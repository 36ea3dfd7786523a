/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of the bins, by weights that follow from rounding and noise, and what shares
 * leave of them. */
#include "lineage/fit_work.h"

#include <math.h>
#include <string.h>

/* (1, -a) of the sums in a row of k + 1 */
static double left_over(const double *row, unsigned k, const double *a)
{
    double sum = row[0];

    for (unsigned i = 0; i < k; i++) {
        sum -= a[i] * row[i + 1];
    }
    return sum;
}

struct ww_fit_size ww_fit_size_of(const struct ww_moments_bin *bin, unsigned k,
                                  const double *a)
{
    struct ww_fit_size s = {1, 0};

    if (2 * bin->coarse > bin->n && bin->base[k + 1] > 0) {
        const double rest = left_over(bin->base, k, a);
        const double all = bin->base[k + 1] + bin->base[0] - rest;
        if (all > 0 && 2 * fabs(rest) < all) {
            s = (struct ww_fit_size){1 + rest / all, bin->base[k + 1]};
        }
    }
    return s;
}

double ww_fit_clear(const struct ww_moments_bin *bin, unsigned k,
                    const struct ww_fit_size *s, unsigned i, unsigned j)
{
    const double z = bin->z[i * (k + 1) + j];

    return s->bb > 0 ? z - bin->base[i] * bin->base[j] / s->bb : z;
}

void ww_fit_weigh(const struct ww_moments *moments, const int8_t *side, const double *a,
                  double tau2, struct ww_fit_system *s)
{
    const unsigned k = moments->k;

    memset(s->xx, 0, (size_t)k * k * sizeof(*s->xx));
    memset(s->xy, 0, sizeof(s->xy));
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        if (!bin) {
            continue;
        }
        const struct ww_fit_size size = ww_fit_size_of(bin, k, a);
        const double w = size.scale / (ww_fit_variance(bin) + tau2);
        for (unsigned i = 0; i < k; i++) {
            const double wi = side ? w * side[i] : w;
            s->xy[i] += wi * ww_fit_clear(bin, k, &size, 0, i + 1);
            for (unsigned j = 0; j < k && wi != 0; j++) {
                s->xx[i * k + j] += (side ? wi * side[j] : wi) * size.scale *
                                    ww_fit_clear(bin, k, &size, i + 1, j + 1);
            }
        }
    }
}

double ww_fit_left(const struct ww_moments_bin *bin, unsigned k, const double *a,
                   const struct ww_fit_size *s)
{
    double sum = 0;

    for (unsigned i = 0; i <= k; i++) {
        double row = 0;
        if (i && a[i - 1] == 0) {
            continue;
        }
        for (unsigned j = 0; j <= k; j++) {
            row += ww_fit_clear(bin, k, s, i, j) * (j ? -s->scale * a[j - 1] : 1);
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
            const struct ww_fit_size size = ww_fit_size_of(bin, moments->k, shares);
            sum += ww_fit_left(bin, moments->k, shares, &size) / ww_fit_variance(bin);
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
            sum += (double)bin->n * ww_fit_variance(bin) / (ww_fit_variance(bin) + tau2);
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
            const struct ww_fit_size size = ww_fit_size_of(bin, moments->k, shares);
            sum += ww_fit_left(bin, moments->k, shares, &size) /
                   (ww_fit_variance(bin) + tau2);
        }
    }
    return sum - ww_fit_rounding(moments, tau2);
}
