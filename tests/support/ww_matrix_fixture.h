/* SPDX-License-Identifier: Apache-2.0 */
/* Random matrices and plain products, for tests of the dense solvers. */
#ifndef WW_MATRIX_FIXTURE_H
#define WW_MATRIX_FIXTURE_H

#include "ww_random.h"
#include "ww_test.h"

static inline double uniform(uint64_t *seed)
{
    return (double)(fx_random(seed) >> 11) / 9007199254740992.0;
}

static inline double normal(uint64_t *seed)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) {
        sum += uniform(seed);
    }
    return sum;
}

static inline double *random_matrix(size_t m, size_t n, uint64_t *seed)
{
    double *a = calloc(m * n + 1, sizeof(*a));
    assert_non_null(a);
    for (size_t i = 0; i < m * n; i++) {
        a[i] = normal(seed);
    }
    return a;
}

static inline double *copy_of(const double *a, size_t n)
{
    double *copy = calloc(n + 1, sizeof(*copy));
    assert_non_null(copy);
    memcpy(copy, a, n * sizeof(*a));
    return copy;
}

static inline double *transpose_of(const double *a, size_t m, size_t n)
{
    double *t = calloc(m * n + 1, sizeof(*t));
    assert_non_null(t);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            t[j * m + i] = a[i * n + j];
        }
    }
    return t;
}

static inline double *product(size_t m, size_t n, size_t k, const double *a,
                              const double *b)
{
    double *c = calloc(m * n + 1, sizeof(*c));
    assert_non_null(c);
    for (size_t i = 0; i < m; i++) {
        for (size_t p = 0; p < k; p++) {
            for (size_t j = 0; j < n; j++) {
                c[i * n + j] += a[i * k + p] * b[p * n + j];
            }
        }
    }
    return c;
}

static inline double norm_of(const double *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * a[i];
    }
    return sqrt(sum);
}

/* |a - b| / |b| */
static inline double distance(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sqrt(sum) / norm_of(b, n);
}

static inline double identity_error(const double *a, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n * n; i++) {
        worst = fmax(worst, fabs(a[i] - (i % (n + 1) == 0 ? 1.0 : 0.0)));
    }
    return worst;
}

#endif
