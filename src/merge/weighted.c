/* SPDX-License-Identifier: Apache-2.0 */
/* One multiply and one add each, never fused: the same bits with and without AVX2. */
#include "merge/weighted.h"

#include <stdbool.h>
#include <string.h>

#include "util/clones.h"

WW_CLONES static void scale(const double *restrict x, double w, size_t n,
                            double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = w * x[i];
    }
}

WW_CLONES static void add(const double *restrict x, double w, size_t n,
                          double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] + w * x[i];
    }
}

/* Of few sources nothing is stored in between, and a division costs little while sums go
 * on beside it. n_x and divided are constants where this is used. */
#define FEW 4
static inline __attribute__((always_inline)) void sum_of(double *const *x,
                                                         const double *w, uint32_t n_x,
                                                         bool divided, double divisor,
                                                         size_t n, double *restrict out)
{
    const double *from[FEW];
    double by[FEW];

    for (uint32_t s = 0; s < n_x; s++) {
        from[s] = x[s];
        by[s] = w[s];
    }
    for (size_t i = 0; i < n; i++) {
        double sum = by[0] * from[0][i];
        for (uint32_t s = 1; s < n_x; s++) {
            sum = sum + by[s] * from[s][i];
        }
        out[i] = divided ? sum / divisor : sum;
    }
}

#define SUM_OF(count)                                                                    \
    WW_CLONES static void sum_##count(double *const *x, const double *w, size_t n,       \
                                      double *out)                                       \
    {                                                                                    \
        sum_of(x, w, count, false, 1, n, out);                                           \
    }                                                                                    \
    WW_CLONES static void mean_##count(double *const *x, const double *w,                \
                                       double divisor, size_t n, double *out)            \
    {                                                                                    \
        sum_of(x, w, count, true, divisor, n, out);                                      \
    }
SUM_OF(2)
SUM_OF(3)
SUM_OF(4)

void ww_weighted_sum(double *const *x, const double *w, uint32_t n_x, size_t n,
                     double *out)
{
    static void (*const forms[])(double *const *, const double *, size_t,
                                 double *) = {sum_2, sum_3, sum_4};

    if (n_x >= 2 && n_x <= FEW) {
        forms[n_x - 2](x, w, n, out);
        return;
    }
    scale(x[0], w[0], n, out);
    for (uint32_t s = 1; s < n_x; s++) {
        add(x[s], w[s], n, out);
    }
}

void ww_weighted_mean(double *const *x, const double *w, uint32_t n_x, double divisor,
                      size_t n, double *out)
{
    static void (*const forms[])(double *const *, const double *, double, size_t,
                                 double *) = {mean_2, mean_3, mean_4};

    if (n_x >= 2 && n_x <= FEW) {
        forms[n_x - 2](x, w, divisor, n, out);
        return;
    }
    ww_weighted_sum(x, w, n_x, n, out);
    ww_weighted_divide(out, divisor, n);
}

WW_CLONES void ww_weighted_add(const double *restrict x, size_t n, double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] + x[i];
    }
}

static inline __attribute__((always_inline)) void total_of(double *const *x, uint32_t n_x,
                                                           size_t n, double *restrict out)
{
    const double *from[FEW];

    for (uint32_t s = 0; s < n_x; s++) {
        from[s] = x[s];
    }
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t s = 0; s < n_x; s++) {
            sum = sum + from[s][i];
        }
        out[i] = sum;
    }
}

WW_CLONES static void total_2(double *const *x, size_t n, double *out)
{
    total_of(x, 2, n, out);
}
WW_CLONES static void total_3(double *const *x, size_t n, double *out)
{
    total_of(x, 3, n, out);
}
WW_CLONES static void total_4(double *const *x, size_t n, double *out)
{
    total_of(x, 4, n, out);
}

void ww_weighted_total(double *const *x, uint32_t n_x, size_t n, double *out)
{
    static void (*const forms[])(double *const *, size_t, double *) = {total_2, total_3,
                                                                       total_4};

    if (n_x >= 2 && n_x <= FEW) {
        forms[n_x - 2](x, n, out);
        return;
    }
    memset(out, 0, n * sizeof(*out));
    for (uint32_t s = 0; s < n_x; s++) {
        ww_weighted_add(x[s], n, out);
    }
}

WW_CLONES void ww_weighted_divide(double *out, double divisor, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] / divisor;
    }
}

WW_CLONES void ww_weighted_onto(const double *base, double lambda, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = base[i] + lambda * out[i];
    }
}

WW_CLONES void ww_weighted_delta(double *x, const double *base, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] - base[i];
    }
}
