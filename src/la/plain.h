/* SPDX-License-Identifier: Apache-2.0 */
/* Products without BLAS, for a machine that lacks it: the same numbers but for rounding,
 * and slowly. */
#ifndef WW_LA_PLAIN_PRODUCTS_H
#define WW_LA_PLAIN_PRODUCTS_H

#include "la/la.h"

/** As ww_la_gemm and ww_la_gemm_f32. */
void ww_plain_gemm(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                   size_t k, double alpha, const double *a, size_t lda, const double *b,
                   size_t ldb, double beta, double *c, size_t ldc);
void ww_plain_gemm_f32(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                       size_t k, float alpha, const float *a, size_t lda, const float *b,
                       size_t ldb, float beta, float *c, size_t ldc);

#endif
