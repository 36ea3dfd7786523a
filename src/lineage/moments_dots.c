/* SPDX-License-Identifier: Apache-2.0 */
/* Products of columns, in a fixed order whatever the vector unit is. */
#include "lineage/moments_work.h"

#include "util/clones.h"

#define LANES 8

/* Sums of a x b[q] for some columns at once: a is loaded once for all of them. Every sum
 * runs over LANES partial sums in the order of elements, whatever the vector unit is. */
#define AT_ONCE 4
typedef double quad __attribute__((vector_size(32)));
/* The same wherever doubles lie. */
typedef double quad_of_column __attribute__((vector_size(32), aligned(8), may_alias));

static inline __attribute__((always_inline)) void
some_dots(const double *a, const double *const b[AT_ONCE], unsigned n_b, size_t n,
          double out[AT_ONCE])
{
    /* As vectors by name: compilers left to themselves shuffle columns instead. */
    quad low[AT_ONCE] = {{0}};
    quad high[AT_ONCE] = {{0}};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned q = 0; q < n_b; q++) {
            const quad_of_column *x = (const quad_of_column *)(a + i);
            const quad_of_column *y = (const quad_of_column *)(b[q] + i);
            low[q] += x[0] * y[0];
            high[q] += x[1] * y[1];
        }
    }
    for (unsigned q = 0; q < n_b; q++) {
        out[q] = 0;
        for (unsigned l = 0; l < LANES; l++) {
            out[q] += l < 4 ? low[q][l] : high[q][l - 4];
        }
        for (size_t rest = i; rest < n; rest++) {
            out[q] += a[rest] * b[q][rest];
        }
    }
}

/* With a constant count the sums stay in registers. */
WW_CLONES static void dots(const double *a, const double *const b[AT_ONCE], unsigned n_b,
                           size_t n, double out[AT_ONCE])
{
    switch (n_b) {
    case 1:
        some_dots(a, b, 1, n, out);
        break;
    case 2:
        some_dots(a, b, 2, n, out);
        break;
    case 3:
        some_dots(a, b, 3, n, out);
        break;
    default:
        some_dots(a, b, AT_ONCE, n, out);
    }
}

WW_CLONES double ww_moments_fourth(const double *a, size_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) {
            const double square = a[i + l] * a[i + l];
            lane[l] += square * square;
        }
    }
    for (unsigned l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += a[i] * a[i] * (a[i] * a[i]);
    }
    return sum;
}

void ww_moments_products(const double *a, const double *columns, unsigned n_b, size_t n,
                         double *out)
{
    for (unsigned q = 0; q < n_b; q += AT_ONCE) {
        const unsigned some = n_b - q < AT_ONCE ? n_b - q : AT_ONCE;
        const double *b[AT_ONCE];
        double sums[AT_ONCE];
        for (unsigned i = 0; i < some; i++) {
            b[i] = columns + (size_t)(q + i) * WW_MOMENTS_TILE;
        }
        dots(a, b, some, n, sums);
        for (unsigned i = 0; i < some; i++) {
            out[q + i] += sums[i];
        }
    }
}
