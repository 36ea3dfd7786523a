/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_threshold.h"

#include <math.h>
#include <stdint.h>

#include "lineage/draws.h"

double ww_family_wise_z(double chance, size_t n)
{
    const double tail = chance / (n > 0 ? (double)n : 1);
    double low = 0;
    double high = 40;

    for (int i = 0; i < 80; i++) {
        const double mid = (low + high) / 2;
        if (erfc(mid / sqrt(2.0)) / 2 > tail) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return high;
}

/* The k-th of n in order, by Hoare's selection around members that are drawn. */
static double nth(double *x, size_t n, size_t k)
{
    const ptrdiff_t want = (ptrdiff_t)k;
    ptrdiff_t from = 0;
    ptrdiff_t to = (ptrdiff_t)n - 1;

    while (from < to) {
        const size_t length = (size_t)(to - from) + 1;
        const double at = x[from + (ptrdiff_t)(ww_mix64(length) % length)];
        ptrdiff_t low = from;
        ptrdiff_t high = to;
        while (low <= high) {
            for (; x[low] < at; low++) {
            }
            for (; x[high] > at; high--) {
            }
            if (low <= high) {
                const double swapped = x[low];
                x[low++] = x[high];
                x[high--] = swapped;
            }
        }
        /* What lies between the two is equal to the drawn one. */
        if (want > high && want < low) {
            break;
        }
        from = want >= low ? low : from;
        to = want <= high ? high : to;
    }
    return x[k];
}

/* Median and spread of the members, sources being few among them. */
double ww_empirical_threshold(double *values, size_t n, double z)
{
    const double median = nth(values, n, n / 2);

    for (size_t i = 0; i < n; i++) {
        values[i] = fabs(values[i] - median);
    }
    return median + z * 1.4826 * nth(values, n, n / 2);
}
