/* SPDX-License-Identifier: Apache-2.0 */
/* One multiply and one add each, never fused: the same bits with and without AVX2. */
#include "merge/weighted.h"

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

void ww_weighted_sum(double *const *x, const double *w, uint32_t n_x, size_t n,
                     double *out)
{
    scale(x[0], w[0], n, out);
    for (uint32_t s = 1; s < n_x; s++) {
        add(x[s], w[s], n, out);
    }
}

WW_CLONES void ww_weighted_add(const double *restrict x, size_t n, double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] + x[i];
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
