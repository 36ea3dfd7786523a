/* SPDX-License-Identifier: Apache-2.0 */
/* Dominance, crowding, volume. Plain loops: sets have tens of points, some a thousand. */
#include "evo/pareto.h"

#include <math.h>
#include <string.h>

#define ADDS 1e-9 /* of what the first one did: less is rounding */

static bool has_nan(const double *a, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        if (isnan(a[i])) {
            return true;
        }
    }
    return false;
}

bool ww_pareto_dominates(const double *a, const double *b, uint32_t k)
{
    bool better = has_nan(b, k);
    if (has_nan(a, k) || better) {
        return better && !has_nan(a, k);
    }
    for (uint32_t i = 0; i < k; i++) {
        if (a[i] < b[i]) {
            return false;
        }
        better = better || a[i] > b[i];
    }
    return better;
}

static bool equal(const double *a, const double *b, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

size_t ww_pareto_front(const double *points, size_t n, uint32_t k, bool *in_front)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const double *a = points + i * k;
        in_front[i] = !has_nan(a, k);
        for (size_t j = 0; in_front[i] && j < n; j++) {
            const double *b = points + j * k;
            in_front[i] = !ww_pareto_dominates(b, a, k) && !(j < i && equal(a, b, k));
        }
        found += in_front[i];
    }
    return found;
}

/* Nearest values above and below in one objective; the range to *range. */
static void neighbours(const double *points, size_t n, uint32_t k, uint32_t objective,
                       size_t at, double *gap, double *range)
{
    const double own = points[at * k + objective];
    double below = -INFINITY;
    double above = INFINITY;
    double low = own;
    double high = own;
    for (size_t j = 0; j < n; j++) {
        const double v = points[j * k + objective];
        low = v < low ? v : low;
        high = v > high ? v : high;
        if (j == at) {
            continue;
        }
        if ((v < own || (v == own && j < at)) && v > below) {
            below = v;
        } else if ((v > own || (v == own && j > at)) && v < above) {
            above = v;
        }
    }
    *gap = above - below;
    *range = high - low;
}

void ww_pareto_crowding(const double *points, size_t n, uint32_t k, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        for (uint32_t o = 0; o < k; o++) {
            double gap = 0;
            double range = 0;
            neighbours(points, n, k, o, i, &gap, &range);
            out[i] += range > 0 ? gap / range : 0;
        }
    }
}

/* Points sorted by the last objective, highest first; the volume is a stack of slices,
 * each as thick as the step to the next point, and a slice is a volume of one objective
 * less. */
static double volume(const double *points, const size_t *of, size_t n, uint32_t stride,
                     uint32_t k, const double *reference)
{
    size_t order[WW_PARETO_MAX_VOLUME];
    double sum = 0;
    if (k == 1) {
        double best = reference[0];
        for (size_t i = 0; i < n; i++) {
            double v = points[of[i] * stride];
            best = v > best ? v : best;
        }
        return best - reference[0];
    }
    for (size_t i = 0; i < n; i++) {
        size_t place = i;
        while (place > 0 && points[order[place - 1] * stride + k - 1] <
                                points[of[i] * stride + k - 1]) {
            order[place] = order[place - 1];
            place--;
        }
        order[place] = of[i];
    }
    for (size_t i = 0; i < n; i++) {
        double top = points[order[i] * stride + k - 1];
        double next =
            i + 1 < n ? points[order[i + 1] * stride + k - 1] : reference[k - 1];
        next = next > reference[k - 1] ? next : reference[k - 1];
        if (top > next) {
            sum += (top - next) * volume(points, order, i + 1, stride, k - 1, reference);
        }
    }
    return sum;
}

double ww_pareto_volume(const double *points, size_t n, uint32_t k,
                        const double *reference)
{
    size_t all[WW_PARETO_MAX_VOLUME];
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < WW_PARETO_MAX_VOLUME; i++) {
        if (!has_nan(points + i * k, k)) {
            all[kept++] = i;
        }
    }
    return kept ? volume(points, all, kept, k, k, reference) : 0;
}

/* Its own volume without what the taken ones have of it. */
static double volume_added(const double *points, size_t at, const uint32_t *taken,
                           size_t n, uint32_t k, const double *reference)
{
    double common[WW_PARETO_MAX_VOLUME * WW_PARETO_MAX_OBJECTIVES];
    const double *own = points + at * k;
    double product = 1;
    for (uint32_t o = 0; o < k; o++) {
        if (!(own[o] > reference[o])) {
            return 0;
        }
        product *= own[o] - reference[o];
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t o = 0; o < k; o++) {
            const double other = points[(size_t)taken[i] * k + o];
            common[i * k + o] = other < own[o] ? other : own[o];
        }
    }
    return product - ww_pareto_volume(common, n, k, reference);
}

/* A point adds the less the more there are, so only those are asked that added more than
 * the best so far when they were asked before (Minoux 1978). */
size_t ww_pareto_pick(const double *points, size_t n, uint32_t k, const double *reference,
                      size_t want, double *most, uint32_t *out)
{
    size_t taken = 0;
    double first = 0;
    for (size_t i = 0; i < n; i++) {
        most[i] = (double)INFINITY;
    }
    for (; taken < want && taken < WW_PARETO_MAX_VOLUME; taken++) {
        double adds = 0;
        for (size_t i = 0; i < n; i++) {
            most[i] = most[i] > adds ? volume_added(points, i, out, taken, k, reference)
                                     : most[i];
            if (most[i] > adds) {
                adds = most[i];
                out[taken] = (uint32_t)i;
            }
        }
        if (adds <= ADDS * first) {
            break;
        }
        first = adds > first ? adds : first;
        most[out[taken]] = 0;
    }
    return taken;
}
