/* SPDX-License-Identifier: Apache-2.0 */
/* bench_exact [N]: the product with the same bits everywhere against BLAS, n x n doubles,
 * one thread each, best of five. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "la/exact.h"
#include "la/la.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    const size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1024;
    double *a = calloc(n * n, sizeof(*a));
    double *b = calloc(n * n, sizeof(*b));
    double *c = calloc(n * n, sizeof(*c));
    double best[2] = {1e30, 1e30};
    if (!a || !b || !c || n == 0) {
        return 1;
    }
    for (size_t i = 0; i < n * n; i++) {
        a[i] = (double)(i % 7) - 3.0;
        b[i] = (double)(i % 11) - 5.0;
    }
    for (int round = 0; round < 10; round++) {
        const double start = now();
        if (round % 2) {
            ww_exact_gemm(n, n, n, a, n, b, n, 0, c, n);
        } else {
            ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, n, n, 1.0, a, n, b, n, 0.0, c, n);
        }
        const double taken = now() - start;
        best[round % 2] = taken < best[round % 2] ? taken : best[round % 2];
    }
    const double work = 2e-9 * (double)n * (double)n * (double)n;
    printf("%zu: BLAS %.1f GFLOP/s, exact %.1f GFLOP/s, ratio %.1f\n", n, work / best[0],
           work / best[1], best[1] / best[0]);
    free(a), free(b), free(c);
    return 0;
}
