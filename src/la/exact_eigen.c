/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jacobi's method (Golub and Van Loan, 8.5): rotations by which one element off the
 * diagonal vanishes, row after row, until what is left off the diagonal is below
 * rounding. Only + - * / and sqrt in one order, so the bits do not depend on the machine.
 */
#include "la/exact_eigen.h"

#include <math.h>

#define MAX_SWEEPS 60

static double off_diagonal(const double *a, size_t n, double *all)
{
    double off = 0;
    *all = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double square = a[i * n + j] * a[i * n + j];
            *all += square;
            off += i == j ? 0 : square;
        }
    }
    return off;
}

static void turn(double *x, double *y, double c, double s)
{
    double a = *x;
    double b = *y;
    *x = c * a - s * b;
    *y = s * a + c * b;
}

static void rotate(double *a, double *vectors, size_t n, size_t p, size_t q)
{
    double apq = a[p * n + q];
    if (apq == 0) {
        return;
    }
    double tau = (a[q * n + q] - a[p * n + p]) / (2 * apq);
    double t = (tau >= 0 ? 1 : -1) / ((tau >= 0 ? tau : -tau) + sqrt(1 + tau * tau));
    double c = 1 / sqrt(1 + t * t);
    double s = t * c;
    for (size_t k = 0; k < n; k++) {
        turn(&a[k * n + p], &a[k * n + q], c, s);
    }
    for (size_t k = 0; k < n; k++) {
        turn(&a[p * n + k], &a[q * n + k], c, s);
    }
    a[p * n + q] = 0;
    a[q * n + p] = 0;
    for (size_t k = 0; k < n; k++) {
        turn(&vectors[k * n + p], &vectors[k * n + q], c, s);
    }
}

bool ww_exact_eigen(double *a, size_t n, double *values, double *vectors)
{
    for (size_t i = 0; i < n * n; i++) {
        vectors[i] = i % (n + 1) == 0 ? 1 : 0;
    }
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        double all;
        double off = off_diagonal(a, n, &all);
        if (!isfinite(all)) {
            return false;
        }
        if (off <= all * 0x1p-104) {
            for (size_t i = 0; i < n; i++) {
                values[i] = a[i * n + i];
            }
            return true;
        }
        for (size_t p = 0; p + 1 < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                rotate(a, vectors, n, p, q);
            }
        }
    }
    return false;
}
