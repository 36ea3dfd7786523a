/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear systems by LAPACK. Row-major b a^-1 is column-major a^T \ b^T, so division from
 * the right is the natural one here and needs no copy.
 */
#include "la/la.h"

#include <stdint.h>

#include "la/la_int.h"
#include "la/openblas.h"
#include "util/alloc.h"

#define BLOCK 64

static enum ww_err singular(const char *what, size_t n, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNSUPPORTED, "a %zu x %zu matrix is not %s", n, n, what);
}

enum ww_err ww_la_invert(size_t n, double *a, struct ww_error *err)
{
    lapack_int info = 0;
    const lapack_int order = ww_la_int(n);
    const lapack_int n_work = ww_la_int(n * BLOCK);
    lapack_int *pivots = ww_calloc(n, sizeof(*pivots));
    double *work = ww_calloc(n * BLOCK, sizeof(*work));
    enum ww_err rc = WW_OK;
    if (!pivots || !work) {
        rc = WW_FAIL_MEMORY(err, "a %zu x %zu matrix", n, n);
        goto out;
    }
    if (n == 0) {
        goto out;
    }
    rc = ww_la_ready(err);
    if (rc) {
        goto out;
    }
    LAPACK_dgetrf(&order, &order, a, &order, pivots, &info);
    if (!info) {
        LAPACK_dgetri(&order, a, &order, pivots, work, &n_work, &info);
    }
    if (info) {
        rc = singular("invertible", n, err);
    }
out:
    ww_free(pivots);
    ww_free(work);
    return rc;
}

enum ww_err ww_la_divide(size_t m, size_t n, double *b, double *a, struct ww_error *err)
{
    lapack_int info = 0;
    const lapack_int order = ww_la_int(n);
    const lapack_int n_rhs = ww_la_int(m);
    enum ww_err rc = WW_OK;
    if (m == 0 || n == 0) {
        return WW_OK;
    }
    lapack_int *pivots = ww_calloc(n, sizeof(*pivots));
    if (!pivots) {
        return WW_FAIL_MEMORY(err, "a %zu x %zu matrix", n, n);
    }
    rc = ww_la_ready(err);
    if (rc) {
        goto out;
    }
    LAPACK_dgetrf(&order, &order, a, &order, pivots, &info);
    if (info) {
        rc = singular("invertible", n, err);
        goto out;
    }
    LAPACK_dgetrs("N", &order, &n_rhs, a, &order, pivots, b, &order, &info);
    WW_INVARIANT(info == 0);
out:
    ww_free(pivots);
    return rc;
}

enum ww_err ww_la_cholesky(size_t n, double *a, struct ww_error *err)
{
    lapack_int info = 0;
    const lapack_int order = ww_la_int(n);
    if (n == 0) {
        return WW_OK;
    }
    enum ww_err rc = ww_la_ready(err);
    if (rc) {
        return rc;
    }
    /* Row-major lower is column-major upper: a = U^T U with U = L^T. */
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            a[i * n + j] = a[j * n + i];
        }
    }
    LAPACK_dpotrf("U", &order, a, &order, &info);
    if (info) {
        return singular("positive definite", n, err);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            a[i * n + j] = 0.0;
        }
    }
    return WW_OK;
}

enum ww_err ww_la_cholesky_divide(size_t m, size_t n, double *b, const double *l,
                                  struct ww_error *err)
{
    lapack_int info = 0;
    const lapack_int order = ww_la_int(n);
    const lapack_int n_rhs = ww_la_int(m);
    if (m == 0 || n == 0) {
        return WW_OK;
    }
    enum ww_err rc = ww_la_ready(err);
    if (rc) {
        return rc;
    }
    LAPACK_dpotrs("U", &order, &n_rhs, l, &order, b, &order, &info);
    if (info) {
        return WW_FAIL(err, WW_E_INTERNAL, "a triangular solve of order %zu failed", n);
    }
    return WW_OK;
}
