/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Products with the same bits on every machine: plain C, sums in index order, no fused
 * multiply-add. Slower than BLAS by the factor that docs/benchmarks.md gives.
 */
#ifndef WW_LA_EXACT_H
#define WW_LA_EXACT_H

#include <stddef.h>

/**
 * c = a b + (add ? c : 0); a: m x k, b: k x n, c: m x n, row-major with the given row
 * strides; c overlaps neither. Each element is one sum over the inner index, ascending,
 * starting with c or zero, every product and every sum rounded to double.
 */
void ww_exact_gemm(size_t m, size_t n, size_t k, const double *a, size_t lda,
                   const double *b, size_t ldb, int add, double *c, size_t ldc);
/** The same in single precision, every product and every sum rounded to float. */
void ww_exact_gemm_f32(size_t m, size_t n, size_t k, const float *a, size_t lda,
                       const float *b, size_t ldb, int add, float *c, size_t ldc);

#endif
