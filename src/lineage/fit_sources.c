/* SPDX-License-Identifier: Apache-2.0 */
/* Which sources the sums tell apart, and which of them decide what is used. */
#include "lineage/fit_work.h"

#include <math.h>

#define COLLINEAR 1e-9
#define FARTHER 1.5 /* so many times as long is another model's task vector */
#define FINE 64     /* in steps: rounding of task vectors as long as this is even */

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

/* Of a task vector, the base's part of it included. */
static double length_of(const struct ww_moments *moments, unsigned i)
{
    double sum = 0;

    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = moments->bins[b];
        sum +=
            bin ? bin->z[(i + 1) * (moments->k + 1) + i + 1] / ww_fit_variance(bin) : 0;
    }
    return sum;
}

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
    struct ww_fit_system s;

    ww_fit_weigh(moments, NULL, none, 0, &s);
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
