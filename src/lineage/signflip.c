/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With q_ij = sum_k e_ik e_jk and signs s, q_ij^2 = sum_k c_k^2 + 2 sum_{k<l} c_k c_l
 * s_ik s_jk s_il s_jl, c_k = e_ik e_jk. The last sum has mean 0, those of two pairs of
 * rows are uncorrelated, and so mean and variance need no more than products of squares:
 * sum_k c_k^2 = <squares of row i, squares of row j>.
 */
#include "lineage/signflip.h"

#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SIDE WW_SIGNFLIP_SIDE

void ww_signflip_add(struct ww_signflip_sum *into, const struct ww_signflip_sum *more)
{
    into->excess += more->excess;
    into->variance += more->variance;
}

double ww_signflip_score(const struct ww_signflip_sum *sum)
{
    return sum->variance > 0 ? sum->excess / sqrt(sum->variance) : 0;
}

enum ww_err ww_signflip_init(struct ww_signflip *s, struct ww_error *err)
{
    double **const rooms[] = {&s->e,       &s->rows,         &s->row_sizes,
                              &s->columns, &s->column_sizes, &s->turned,
                              &s->squares, &s->product};

    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
        *rooms[i] = ww_calloc((size_t)SIDE * SIDE, sizeof(double));
        if (!*rooms[i]) {
            ww_signflip_release(s);
            return WW_FAIL_MEMORY(err, "a test for noise");
        }
    }
    return WW_OK;
}

void ww_signflip_release(struct ww_signflip *s)
{
    ww_free(s->e);
    ww_free(s->rows);
    ww_free(s->row_sizes);
    ww_free(s->columns);
    ww_free(s->column_sizes);
    ww_free(s->turned);
    ww_free(s->squares);
    ww_free(s->product);
    memset(s, 0, sizeof(*s));
}

/* x x^T into rows ([m][m]), x^T x into columns ([n][n]). */
static void products(struct ww_signflip *s, const double *x, double *rows,
                     double *columns)
{
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = 0; j < s->n; j++) {
            s->turned[j * s->m + i] = x[i * s->n + j];
        }
    }
    ww_exact_gemm(s->m, s->m, s->n, x, s->n, s->turned, s->m, 0, rows, s->m);
    ww_exact_gemm(s->n, s->n, s->m, s->turned, s->m, x, s->n, 0, columns, s->n);
}

void ww_signflip_set(struct ww_signflip *s, size_t m, size_t n)
{
    s->m = m;
    s->n = n;
    for (size_t i = 0; i < m * n; i++) {
        s->squares[i] = s->e[i] * s->e[i];
    }
    products(s, s->squares, s->row_sizes, s->column_sizes);
    products(s, s->e, s->rows, s->columns);
}

/* sum over pairs of rows of <a's rows, b's rows> for a = x^power: half of the sum of the
 * columns' sums squared, less that of squares. */
static double pairs_of(const struct ww_signflip *s, const double *x, unsigned power)
{
    double sum = 0;

    for (size_t j = 0; j < s->n; j++) {
        double column = 0;
        double alone = 0;
        for (size_t i = 0; i < s->m; i++) {
            const double square = x[i * s->n + j] * x[i * s->n + j];
            const double v = power == 4 ? square * square : square;
            column += v;
            alone += v * v;
        }
        sum += column * column - alone;
    }
    return sum / 2;
}

/* sum over i < j of a_ij b_ij. */
static double upper(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            sum += a[i * n + j] * b[i * n + j];
        }
    }
    return sum;
}

void ww_signflip_spectrum(const struct ww_signflip *s, struct ww_signflip_sum *out)
{
    out->excess = upper(s->rows, s->rows, s->m) - pairs_of(s, s->e, 2);
    out->variance = 2 * (upper(s->row_sizes, s->row_sizes, s->m) - pairs_of(s, s->e, 4));
    out->variance = fmax(out->variance, 0);
}

/* Signs of two pairs of rows are independent, so the variance is that of each q_ij. */
static void common(const double *q, const double *sizes, const double *of_x, size_t n,
                   struct ww_signflip_sum *out)
{
    *out = (struct ww_signflip_sum){0};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            const double by = of_x[i * n + j];
            out->excess += q[i * n + j] * by;
            out->variance += sizes[i * n + j] * by * by;
        }
    }
}

void ww_signflip_beside(struct ww_signflip *s, const double *x,
                        struct ww_signflip_sum *rows, struct ww_signflip_sum *columns,
                        double *spectrum)
{
    products(s, x, s->squares, s->product);
    common(s->rows, s->row_sizes, s->squares, s->m, rows);
    common(s->columns, s->column_sizes, s->product, s->n, columns);
    *spectrum = upper(s->squares, s->squares, s->m) - pairs_of(s, x, 2);
}

void ww_signflip_along(const struct ww_signflip *s, const double *g,
                       struct ww_signflip_sum *out)
{
    *out = (struct ww_signflip_sum){0};
    for (size_t i = 0; i < s->m * s->n; i++) {
        const double product = s->e[i] * g[i];
        out->excess += product;
        out->variance += product * product;
    }
}

void ww_signflip_leading(struct ww_signflip *s, const double *x, double *g)
{
    products(s, x, s->squares, s->product);
    ww_exact_gemm(s->m, s->n, s->m, s->squares, s->m, x, s->n, 0, g, s->n);
}
