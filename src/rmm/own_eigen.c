/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jacobi's method: slower than LAPACK, but the same bits everywhere, and the matrices are
 * as small as an adapter's rank.
 */
#include "la/exact_eigen.h"
#include "rmm/own.h"

/* Falling values, columns of v with them. */
static void sort(size_t n, double *values, double *v)
{
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t k = i + 1; k < n; k++) {
            best = values[k] > values[best] ? k : best;
        }
        const double value = values[i];
        values[i] = values[best];
        values[best] = value;
        for (size_t k = 0; k < n && best != i; k++) {
            const double x = v[k * n + i];
            v[k * n + i] = v[k * n + best];
            v[k * n + best] = x;
        }
    }
}

void ww_own_eigen(size_t n, double *a, double *values, double *v)
{
    if (!ww_exact_eigen(a, n, values,
                        v)) { /* what the rotations came to, as good as any */
        for (size_t i = 0; i < n; i++) {
            values[i] = a[i * n + i];
        }
    }
    sort(n, values, v);
}
