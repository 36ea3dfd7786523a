/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A product whose bits do not depend on the machine. Every element of c is one sum in
 * ascending order of the inner index; vectors run along the columns of c, so that their
 * width changes nothing in any sum. Blocks of the inner index keep a panel of b in the
 * cache; the partial sum waits in c, which is exact. The same C code is compiled for
 * wider registers where the processor has them: multiply and add stay two roundings
 * (-ffp-contract=off), so the bits are those of the narrow version; tests compare them.
 */
#include "la/exact.h"

#include <stdbool.h>
#include <string.h>

#define ROWS 4    /* of c in registers */
#define COLS 16
#define INNER 256 /* rows of b per panel */

#define ALWAYS __attribute__((always_inline)) static inline

struct tile {
    size_t k;
    const double *a;
    size_t lda;
    const double *b;
    size_t ldb;
    double *c;
    size_t ldc;
};

ALWAYS void full_tile(const struct tile *t)
{
    double sum[ROWS][COLS];
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(sum[i], t->c + i * t->ldc, sizeof(sum[i]));
    }
    for (size_t p = 0; p < t->k; p++) {
        const double *row = t->b + p * t->ldb;
        for (size_t i = 0; i < ROWS; i++) {
            const double factor = t->a[i * t->lda + p];
            for (size_t j = 0; j < COLS; j++) {
                sum[i][j] += factor * row[j];
            }
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(t->c + i * t->ldc, sum[i], sizeof(sum[i]));
    }
}

ALWAYS void part_tile(const struct tile *t, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++) {
        double *out = t->c + i * t->ldc;
        for (size_t p = 0; p < t->k; p++) {
            const double factor = t->a[i * t->lda + p];
            const double *row = t->b + p * t->ldb;
            for (size_t j = 0; j < cols; j++) {
                out[j] += factor * row[j];
            }
        }
    }
}

/* c += a b for one panel of b. */
ALWAYS void panel(size_t m, size_t n, const struct tile *whole)
{
    for (size_t j = 0; j < n; j += COLS) {
        const size_t cols = n - j < COLS ? n - j : COLS;
        for (size_t i = 0; i < m; i += ROWS) {
            const size_t rows = m - i < ROWS ? m - i : ROWS;
            struct tile t = *whole;
            t.a += i * t.lda;
            t.b += j;
            t.c += i * t.ldc + j;
            if (rows == ROWS && cols == COLS) {
                full_tile(&t);
            } else {
                part_tile(&t, rows, cols);
            }
        }
    }
}

static void panel_any(size_t m, size_t n, const struct tile *whole)
{
    panel(m, n, whole);
}

typedef void (*panel_fn)(size_t m, size_t n, const struct tile *whole);

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void panel_avx2(size_t m, size_t n,
                                                       const struct tile *whole)
{
    panel(m, n, whole);
}

__attribute__((target("avx512f"))) static void panel_avx512(size_t m, size_t n,
                                                            const struct tile *whole)
{
    panel(m, n, whole);
}

static panel_fn panel_of_this_machine(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        return panel_avx512;
    }
    return __builtin_cpu_supports("avx2") ? panel_avx2 : panel_any;
}
#else
static panel_fn panel_of_this_machine(void)
{
    return panel_any;
}
#endif

void ww_exact_gemm(size_t m, size_t n, size_t k, const double *a, size_t lda,
                   const double *b, size_t ldb, int add, double *c, size_t ldc)
{
    const panel_fn run = panel_of_this_machine();
    for (size_t i = 0; !add && i < m; i++) {
        memset(c + i * ldc, 0, n * sizeof(*c));
    }
    for (size_t p = 0; p < k; p += INNER) {
        const struct tile whole = {
            .k = k - p < INNER ? k - p : INNER,
            .a = a + p,
            .lda = lda,
            .b = b + p * ldb,
            .ldb = ldb,
            .c = c,
            .ldc = ldc,
        };
        run(m, n, &whole);
    }
}
