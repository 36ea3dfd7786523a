/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompositions by LAPACK, called by its own (Fortran) names: a row-major matrix is the
 * transpose of a column-major one, so each call is made for the transposed problem and
 * nothing is copied. Divide and conquer for eigenvalues and singular values. Workspace
 * sizes are computed here from the LAPACK manual: asking the routine for them returns the
 * number as a floating-point value, which the C interface then rounds down.
 */
#include "la/la.h"

#include <string.h>

#include "la/la_int.h"
#include "la/openblas.h"
#include "util/alloc.h"

#define BLOCK 64 /* columns that LAPACK works on at once; only speed depends on it */

struct workspace {
    double *real;
    lapack_int *whole;
    lapack_int n_real;
    lapack_int n_whole;
};

static void workspace_free(struct workspace *work)
{
    ww_free(work->real);
    ww_free(work->whole);
}

static enum ww_err workspace_new(struct workspace *work, uint64_t n_real,
                                 uint64_t n_whole, struct ww_error *err)
{
    memset(work, 0, sizeof(*work));
    if (n_real > WW_LA_MAX || n_whole > WW_LA_MAX) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "a matrix needs %llu numbers of workspace, at most %d are possible",
            (unsigned long long)n_real, WW_LA_MAX);
    }
    work->real = ww_calloc((size_t)n_real, sizeof(*work->real));
    work->whole = ww_calloc((size_t)n_whole, sizeof(*work->whole));
    if (!work->real || !work->whole) {
        workspace_free(work);
        return WW_FAIL_MEMORY(err, "the workspace of a matrix");
    }
    work->n_real = (lapack_int)n_real;
    work->n_whole = (lapack_int)n_whole;
    return WW_OK;
}

static enum ww_err no_convergence(const char *what, size_t m, size_t n,
                                  struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNSUPPORTED, "the %s of a %zu x %zu matrix do not converge",
                   what, m, n);
}

enum ww_err ww_la_eigen(size_t n, double *a, double *values, struct ww_error *err)
{
    struct workspace work = {0};
    lapack_int info = 0;
    const lapack_int order = ww_la_int(n);
    const uint64_t wide = n;
    enum ww_err rc = WW_OK;
    if (n == 0) {
        return WW_OK;
    }
    /* dsyevd: 1 + 6 n + 2 n^2 and 3 + 5 n; its reduction wants n (BLOCK + 2) besides. */
    rc = ww_la_ready(err);
    if (rc) {
        return rc;
    }
    rc = workspace_new(&work, 1 + (6 + BLOCK + 2) * wide + 2 * wide * wide, 3 + 5 * wide,
                       err);
    if (rc) {
        return rc;
    }
    /* The upper half of a row-major matrix is the lower half of a column-major one. */
    LAPACK_dsyevd("V", "L", &order, a, &order, values, work.real, &work.n_real,
                  work.whole, &work.n_whole, &info);
    if (info) {
        rc = no_convergence("eigenvalues", n, n, err);
    }
    workspace_free(&work);
    return rc;
}

enum ww_err ww_la_svd(size_t m, size_t n, double *a, double *u, double *s, double *vt,
                      struct ww_error *err)
{
    struct workspace work = {0};
    lapack_int info = 0;
    const lapack_int rows = ww_la_int(m);
    const lapack_int cols = ww_la_int(n);
    const lapack_int thin = m < n ? rows : cols;
    const uint64_t small = m < n ? m : n;
    const uint64_t large = m < n ? n : m;
    enum ww_err rc = WW_OK;
    if (small == 0) {
        return WW_OK;
    }
    /* dgesdd, thin vectors: 4 r^2 + 7 r at least, 3 r + r^2 + (l + r) BLOCK for speed. */
    rc = ww_la_ready(err);
    if (rc) {
        return rc;
    }
    rc = workspace_new(&work, 6 * small * small + 7 * small + (large + small) * BLOCK,
                       8 * small, err);
    if (rc) {
        return rc;
    }
    LAPACK_dgesdd("S", &cols, &rows, a, &cols, s, vt, &cols, u, &thin, work.real,
                  &work.n_real, work.whole, &info);
    if (info) {
        rc = no_convergence("singular values", m, n, err);
    }
    workspace_free(&work);
    return rc;
}

/* a = q r is a^T = r^T q^T: what LAPACK calls an LQ decomposition. */
enum ww_err ww_la_qr(size_t m, size_t n, double *a, double *r, struct ww_error *err)
{
    struct workspace work = {0};
    lapack_int info = 0;
    const lapack_int rows = ww_la_int(m);
    const lapack_int cols = ww_la_int(n);
    const uint64_t block = (uint64_t)n * BLOCK;
    enum ww_err rc = WW_OK;
    WW_INVARIANT(m >= n);
    if (n == 0) {
        return WW_OK;
    }
    rc = ww_la_ready(err);
    if (rc) {
        return rc;
    }
    rc = workspace_new(&work, n + block, 0, err);
    if (rc) {
        return rc;
    }
    double *tau = work.real + block;
    const lapack_int n_work = (lapack_int)block;
    LAPACK_dgelqf(&cols, &rows, a, &cols, tau, work.real, &n_work, &info);
    for (size_t i = 0; r && i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            r[i * n + j] = j < i ? 0.0 : a[i * n + j];
        }
    }
    if (!info) {
        LAPACK_dorglq(&cols, &rows, &cols, a, &cols, tau, work.real, &n_work, &info);
    }
    workspace_free(&work);
    WW_INVARIANT(info == 0);
    return WW_OK;
}

enum ww_err ww_la_polar(size_t m, size_t n, double *a, size_t *rank, struct ww_error *err)
{
    const size_t thin = m < n ? m : n;
    double *u = ww_calloc(m * thin, sizeof(*u));
    double *s = ww_calloc(thin, sizeof(*s));
    double *vt = ww_calloc(thin * n, sizeof(*vt));
    enum ww_err rc = WW_OK;
    if (!u || !s || !vt) {
        rc = WW_FAIL_MEMORY(err, "a %zu x %zu matrix", m, n);
        goto out;
    }
    rc = ww_la_svd(m, n, a, u, s, vt, err);
    if (rc) {
        goto out;
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, n, thin, 1.0, u, thin, vt, n, 0.0, a, n);
    if (rank) {
        for (*rank = 0; *rank < thin && s[*rank] > 1e-12 * s[0];) {
            ++*rank;
        }
    }
out:
    ww_free(u);
    ww_free(s);
    ww_free(vt);
    return rc;
}
