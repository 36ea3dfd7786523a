/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jacobi's method, cyclic by rows: slower than LAPACK, but the same bits everywhere, and
 * the matrices are as small as an adapter's rank. Rotations as in Golub and Van Loan,
 * Matrix Computations, 8.5.
 */
#include <math.h>
#include <string.h>

#include "rmm/own.h"

#define MAX_SWEEPS 40

static double off_diagonal(size_t n, const double *a)
{
    double sum = 0;

    for (size_t p = 0; p < n; p++) {
        for (size_t q = p + 1; q < n; q++) {
            sum += a[p * n + q] * a[p * n + q];
        }
    }
    return sum;
}

static void rotate(size_t n, double *a, double *v, size_t p, size_t q)
{
    const double apq = a[p * n + q];
    const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
    const double t = (theta < 0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1);
    const double s = t * c;

    for (size_t k = 0; k < n; k++) {
        const double akp = a[k * n + p];
        const double akq = a[k * n + q];
        a[k * n + p] = c * akp - s * akq;
        a[k * n + q] = s * akp + c * akq;
    }
    for (size_t k = 0; k < n; k++) {
        const double apk = a[p * n + k];
        const double aqk = a[q * n + k];
        a[p * n + k] = c * apk - s * aqk;
        a[q * n + k] = s * apk + c * aqk;
    }
    for (size_t k = 0; k < n; k++) {
        const double vkp = v[k * n + p];
        const double vkq = v[k * n + q];
        v[k * n + p] = c * vkp - s * vkq;
        v[k * n + q] = s * vkp + c * vkq;
    }
}

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
    double total = off_diagonal(n, a);

    memset(v, 0, n * n * sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        v[i * n + i] = 1;
        total += a[i * n + i] * a[i * n + i];
    }
    for (unsigned sweep = 0; sweep < MAX_SWEEPS && off_diagonal(n, a) > 1e-30 * total;
         sweep++) {
        for (size_t p = 0; p < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                if (a[p * n + q] != 0) {
                    rotate(n, a, v, p, q);
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = a[i * n + i];
    }
    sort(n, values, v);
}
