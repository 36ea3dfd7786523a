/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For few sources everything about an element stays in registers: one reading of the
 * changes instead of three, and nothing stored in between. Both forms take the same steps
 * in the same order.
 */
#include "merge/elect.h"

#include "util/clones.h"
#include "util/fail.h"

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS double sign_of(double sum, double zero)
{
    const double sign = sum > 0 ? 1 : zero;
    return sum < 0 ? -1 : sign;
}

WW_CLONES static void agree(const double *restrict p, const double *restrict sum,
                            double weight, double zero, size_t n,
                            double *restrict numerator, double *restrict divisor)
{
    for (size_t i = 0; i < n; i++) {
        const double along = p[i] * sign_of(sum[i], zero);
        numerator[i] = numerator[i] + (along > 0 ? p[i] : 0);
        divisor[i] = divisor[i] + (along > 0 ? weight : 0);
    }
}

void ww_elect_add(const struct ww_election *e, uint32_t source, const double *sum,
                  size_t n, double *numerator, double *divisor)
{
    agree(e->x[source], sum, e->weights[source], e->zero, n, numerator, divisor);
}

WW_CLONES void ww_elect_divide(const double *restrict numerator,
                               const double *restrict divisor, size_t n,
                               double *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        const double d = divisor[i] != 0 ? divisor[i] : 1;
        out[i] = numerator[i] / d;
    }
}

/* n_x is a constant where this is used. */
ALWAYS void elect_of(const struct ww_election *e, uint32_t n_x, bool normalize, size_t n,
                     double *restrict out)
{
    const double *x[WW_ELECT_FEW];
    double weight[WW_ELECT_FEW];
    const double zero = e->zero;

    for (uint32_t s = 0; s < n_x; s++) {
        x[s] = e->x[s];
        weight[s] = e->weights[s];
    }
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t s = 0; s < n_x; s++) {
            sum = sum + x[s][i];
        }
        const double sign = sign_of(sum, zero);
        double numerator = 0;
        double divisor = 0;
        for (uint32_t s = 0; s < n_x; s++) {
            const double p = x[s][i];
            const double along = p * sign;
            numerator = numerator + (along > 0 ? p : 0);
            divisor = divisor + (along > 0 ? weight[s] : 0);
        }
        const double d = normalize && divisor != 0 ? divisor : 1;
        out[i] = normalize ? numerator / d : numerator;
    }
}

WW_CLONES static void elect_1(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 1, true, n, out);
}
WW_CLONES static void elect_2(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 2, true, n, out);
}
WW_CLONES static void elect_3(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 3, true, n, out);
}
WW_CLONES static void elect_4(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 4, true, n, out);
}
WW_CLONES static void sum_1(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 1, false, n, out);
}
WW_CLONES static void sum_2(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 2, false, n, out);
}
WW_CLONES static void sum_3(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 3, false, n, out);
}
WW_CLONES static void sum_4(const struct ww_election *e, size_t n, double *out)
{
    elect_of(e, 4, false, n, out);
}

void ww_elect_few(const struct ww_election *e, size_t n, double *out)
{
    static void (*const forms[2][WW_ELECT_FEW])(const struct ww_election *, size_t,
                                                double *) = {
        {sum_1, sum_2, sum_3, sum_4},
        {elect_1, elect_2, elect_3, elect_4},
    };
    WW_INVARIANT(e->n_x >= 1 && e->n_x <= WW_ELECT_FEW);
    forms[e->normalize][e->n_x - 1](e, n, out);
}
