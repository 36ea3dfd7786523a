/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With X~ = [X'; X0], Y~ = [Y'; Y0] and L = diag(w, 1 - w) the merged product is Y~^T L
 * X~. Grams factor as R^T R, rows as R^T Q with orthonormal Q, so that
 *
 *     Y~^T L X~ = Qy^T (Ry L Rx^T) Qx,   core Ry L Rx^T = P S Z
 *
 * and the d largest singular values give X = S^-1/2 P^T Ry L X~ and
 * Y = S^-1/2 Z Rx L Y~: sums of stored rows, no inverse of a Gram matrix.
 */
#include "attack/product.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "attack/solve.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

struct work {
    size_t d, n; /* n = 2 d */
    double *block;
    double *gram[2];       /* n x n, of the stacked rows */
    double *factor[2];     /* n x n, R with R^T R = gram */
    double *weighted[2];   /* R L */
    double *core, *u, *vt; /* n x n */
    double *coef[2];       /* d x n: new rows from stacked rows */
    double *half[2];       /* d x n */
    double *square[4];     /* d x d */
    double *values;        /* n */
};

static enum ww_err work_new(struct work *w, size_t d, struct ww_error *err)
{
    const size_t n = 2 * d;
    double **const big[] = {&w->gram[0],   &w->gram[1],     &w->factor[0],
                            &w->factor[1], &w->weighted[0], &w->weighted[1],
                            &w->core,      &w->u,           &w->vt};
    double **const flat[] = {&w->coef[0], &w->coef[1], &w->half[0], &w->half[1]};
    double *next = NULL;

    w->d = d;
    w->n = n;
    w->block =
        ww_calloc(WW_LEN(big) * n + WW_LEN(flat) * d + 2 * d + 1, n * sizeof(*next));
    if (!w->block) {
        return WW_FAIL_MEMORY(err, "the products of a head");
    }
    next = w->block;
    for (size_t i = 0; i < WW_LEN(big); i++, next += n * n) {
        *big[i] = next;
    }
    for (size_t i = 0; i < WW_LEN(flat); i++, next += d * n) {
        *flat[i] = next;
    }
    for (size_t i = 0; i < WW_LEN(w->square); i++, next += d * d) {
        w->square[i] = next;
    }
    w->values = next;
    return WW_OK;
}

/* The Gram matrix of stacked rows, and its root. */
static enum ww_err stack_side(const struct ww_product *p, int side, struct work *w,
                              struct ww_error *err)
{
    const size_t d = w->d;
    const size_t n = w->n;
    double *g = w->gram[side];
    double *r = w->factor[side];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            g[i * n + j] = p->gram[side][i * d + j];
            g[i * n + d + j] = p->cross[side][j * d + i];
            g[(d + i) * n + j] = p->cross[side][i * d + j];
            g[(d + i) * n + d + j] = p->anchor[side][i * d + j];
        }
    }
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(g[i])) {
            return WW_FAIL(err, WW_E_NONFINITE,
                           "NaN or infinity in the products of a head");
        }
    }
    memcpy(r, g, n * n * sizeof(*r));
    rc = ww_la_eigen(n, r, w->values, err);
    for (size_t i = 0; i < n && !rc; i++) {
        const double root = sqrt(fmax(w->values[i], 0));
        for (size_t j = 0; j < n; j++) {
            const double share = j < d ? p->weight : 1 - p->weight;
            r[i * n + j] *= root;
            w->weighted[side][i * n + j] = r[i * n + j] * share;
        }
    }
    return rc;
}

/* Rows of S^-1/2 U^T R L; directions without any weight stay zero. u_t: row i is vector
 * i. */
static void new_rows(const struct work *w, const double *vectors, bool rows,
                     const double *weighted, double *half, double *coef)
{
    const size_t n = w->n;
    const double least = w->values[0] * DBL_EPSILON * (double)n;

    for (size_t i = 0; i < w->d; i++) {
        const double s = w->values[i];
        const double by = s > least ? 1 / sqrt(s) : 0;
        for (size_t j = 0; j < n; j++) {
            half[i * n + j] = by * (rows ? vectors[i * n + j] : vectors[j * n + i]);
        }
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, w->d, n, n, 1, half, n, weighted, n, 0, coef, n);
}

/* <Y1^T X1, Y2^T X2> = tr((Y1 Y2^T)^T (X1 X2^T)) */
static double trace_of(const double *const m[2], size_t d)
{
    double sum = 0;

    for (size_t i = 0; i < d * d; i++) {
        sum += m[0][i] * m[1][i];
    }
    return sum;
}

static enum ww_err factorise(const struct ww_product *p, struct work *w,
                             struct ww_product_report *report, struct ww_error *err)
{
    const size_t n = w->n;
    enum ww_err rc = WW_OK;

    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, n, n, n, 1, w->weighted[1], n, w->factor[0],
               n, 0, w->core, n);
    rc = ww_la_svd(n, n, w->core, w->u, w->values, w->vt, err);
    if (rc) {
        return rc;
    }
    *report = (struct ww_product_report){.locked = trace_of(p->gram, w->d),
                                         .anchor = trace_of(p->anchor, w->d),
                                         .dot = trace_of(p->cross, w->d)};
    for (size_t i = 0; i < n; i++) {
        const double square = w->values[i] * w->values[i];
        report->merged += square;
        report->dropped += i < w->d ? 0 : square;
    }
    new_rows(w, w->u, false, w->weighted[1], w->half[0], w->coef[0]);
    new_rows(w, w->vt, true, w->weighted[0], w->half[1], w->coef[1]);
    return WW_OK;
}

/* Products of the new rows with themselves and of the anchor's rows with them. */
static void new_products(const struct work *w, int side, double *gram, double *cross)
{
    const size_t d = w->d;
    const size_t n = w->n;

    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, d, n, n, 1, w->coef[side], n, w->gram[side], n,
               0, w->half[side], n);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, n, 1, w->half[side], n, w->coef[side],
               n, 0, gram, d);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            cross[i * d + j] = w->half[side][j * n + d + i];
        }
    }
}

/* The product has no gauge of its own: take the rows that are nearest to the anchor's. */
static enum ww_err towards_anchor(const struct ww_product *p, struct work *w,
                                  struct ww_error *err)
{
    const size_t d = w->d;
    const size_t n = w->n;
    struct ww_gl_problem problem = {
        d, w->square[0], w->square[1], w->square[2], w->square[3], 0};
    struct ww_gl_report report;
    struct ww_error why = {0};
    double *t = w->core;
    double *t_inv = w->core + d * d;
    enum ww_err rc = WW_OK;

    for (int side = 0; side < 2; side++) {
        new_products(w, side, w->square[2 * side], w->square[2 * side + 1]);
        for (size_t i = 0; i < d; i++) {
            problem.n0 += p->anchor[side][i * d + i];
        }
    }
    rc = ww_solve_gl(&problem, t, t_inv, &report, &why);
    if (rc == WW_E_UNSUPPORTED) {
        return WW_OK;
    }
    if (rc) {
        return WW_FAIL(err, rc, "%s", why.text);
    }
    memcpy(w->half[0], w->coef[0], d * n * sizeof(double));
    memcpy(w->half[1], w->coef[1], d * n * sizeof(double));
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, d, n, d, 1, t, d, w->half[0], n, 0, w->coef[0],
               n);
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, d, n, d, 1, t_inv, d, w->half[1], n, 0,
               w->coef[1], n);
    return WW_OK;
}

enum ww_err ww_merge_products(const struct ww_product *product, double *const locked[2],
                              double *const anchor[2], struct ww_product_report *report,
                              struct ww_error *err)
{
    const size_t d = product->d;
    struct work w = {0};
    enum ww_err rc = work_new(&w, d, err);

    for (int side = 0; side < 2 && !rc; side++) {
        rc = stack_side(product, side, &w, err);
    }
    if (!rc) {
        rc = factorise(product, &w, report, err);
    }
    if (!rc) {
        rc = towards_anchor(product, &w, err);
    }
    for (size_t i = 0; i < 2 * d && !rc; i++) {
        const double *from = w.coef[i / d] + i % d * w.n;
        memcpy(locked[i / d] + i % d * d, from, d * sizeof(double));
        memcpy(anchor[i / d] + i % d * d, from + d, d * sizeof(double));
    }
    ww_free(w.block);
    return rc;
}
