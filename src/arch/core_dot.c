/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dot product is a chain of additions, and a compiler may not reorder it. Eight lanes
 * written out as vectors give it independent chains; the order is part of the definition,
 * so a machine with wide registers and one without give the same bits (no fused
 * multiply-add: the build says -ffp-contract=off). Four rows of x share each load of w,
 * because weights are what streams from memory.
 */
#include "arch/core_dot.h"

#include <string.h>

/* clang names the clones of another file differently: only gcc gets them. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                  \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif
#define LANES WW_DOT_LANES
#define ROWS 4

typedef double quad __attribute__((vector_size(32), aligned(8), may_alias));

double ww_dot_lanes(const double lane[WW_DOT_LANES])
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* n is a constant at each call, so that the loops over it unroll. */
static inline __attribute__((always_inline)) void dot_rows(const double *w,
                                                           const double *x, size_t ldx,
                                                           const size_t n, size_t len,
                                                           double *y, size_t ldy)
{
    quad low[ROWS];
    quad high[ROWS];
    memset(low, 0, sizeof(low));
    memset(high, 0, sizeof(high));
    size_t i = 0;
    for (; i + LANES <= len; i += LANES) {
        const quad w_low = *(const quad *)(w + i);
        const quad w_high = *(const quad *)(w + i + 4);
        for (size_t t = 0; t < n; t++) {
            low[t] += w_low * *(const quad *)(x + t * ldx + i);
            high[t] += w_high * *(const quad *)(x + t * ldx + i + 4);
        }
    }
    for (size_t t = 0; t < n; t++) {
        double lane[LANES];
        memcpy(lane, &low[t], sizeof(low[t]));
        memcpy(lane + 4, &high[t], sizeof(high[t]));
        for (size_t j = i; j < len; j++) {
            lane[j - i] += w[j] * x[t * ldx + j];
        }
        y[t * ldy] = ww_dot_lanes(lane);
    }
}

CLONES double ww_dot(const double *a, const double *b, size_t len)
{
    double sum = 0;
    dot_rows(a, b, 0, 1, len, &sum, 0);
    return sum;
}

CLONES void ww_dot_many(const double *w, const double *x, size_t ldx, size_t n,
                        size_t len, double *y, size_t ldy)
{
    size_t t = 0;
    for (; t + ROWS <= n; t += ROWS) {
        dot_rows(w, x + t * ldx, ldx, ROWS, len, y + t * ldy, ldy);
    }
    for (; t < n; t++) {
        dot_rows(w, x + t * ldx, ldx, 1, len, y + t * ldy, ldy);
    }
}

/* The same eight lanes for each of the products; n is a constant at each call. */
#define MOST_PAIRS (WW_DOT_PAIRS * (WW_DOT_PAIRS + 1) / 2)
static inline __attribute__((always_inline)) void
dot_pairs(const double *const *x, const size_t n, size_t len, double *y)
{
    quad low[MOST_PAIRS];
    quad high[MOST_PAIRS];
    memset(low, 0, sizeof(low));
    memset(high, 0, sizeof(high));
    size_t i = 0;
    for (; i + LANES <= len; i += LANES) {
        for (size_t a = 0, k = 0; a < n; a++) {
            for (size_t b = a; b < n; b++, k++) {
                low[k] += *(const quad *)(x[a] + i) * *(const quad *)(x[b] + i);
            }
        }
        for (size_t a = 0, k = 0; a < n; a++) {
            for (size_t b = a; b < n; b++, k++) {
                high[k] += *(const quad *)(x[a] + i + 4) * *(const quad *)(x[b] + i + 4);
            }
        }
    }
    for (size_t a = 0, k = 0; a < n; a++) {
        for (size_t b = a; b < n; b++, k++) {
            double lane[LANES];
            memcpy(lane, &low[k], sizeof(low[k]));
            memcpy(lane + 4, &high[k], sizeof(high[k]));
            for (size_t j = i; j < len; j++) {
                lane[j - i] += x[a][j] * x[b][j];
            }
            y[k] = ww_dot_lanes(lane);
        }
    }
}

CLONES static void dot_pairs_2(const double *const *x, size_t len, double *y)
{
    dot_pairs(x, 2, len, y);
}
CLONES static void dot_pairs_3(const double *const *x, size_t len, double *y)
{
    dot_pairs(x, 3, len, y);
}

void ww_dot_pairs(const double *const *x, size_t n, size_t len, double *y)
{
    (n == 2 ? dot_pairs_2 : dot_pairs_3)(x, len, y);
}

CLONES void ww_add_scaled(double *y, double a, const double *x, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        y[i] += a * x[i];
    }
}
