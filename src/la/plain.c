/* SPDX-License-Identifier: Apache-2.0 */
#include "la/plain.h"

#define PLAIN(name, number)                                                              \
    void name(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,        \
              size_t k, number alpha, const number *a, size_t lda, const number *b,      \
              size_t ldb, number beta, number *c, size_t ldc)                            \
    {                                                                                    \
        const size_t row_a = form_a == WW_LA_PLAIN ? lda : 1;                            \
        const size_t col_a = form_a == WW_LA_PLAIN ? 1 : lda;                            \
        const size_t row_b = form_b == WW_LA_PLAIN ? ldb : 1;                            \
        const size_t col_b = form_b == WW_LA_PLAIN ? 1 : ldb;                            \
        for (size_t i = 0; i < m; i++) {                                                 \
            for (size_t j = 0; j < n; j++) {                                             \
                number sum = 0;                                                          \
                for (size_t l = 0; l < k; l++) {                                         \
                    sum += a[i * row_a + l * col_a] * b[l * row_b + j * col_b];          \
                }                                                                        \
                number *to = &c[i * ldc + j];                                            \
                *to = alpha * sum + (beta == 0 ? 0 : beta * *to);                        \
            }                                                                            \
        }                                                                                \
    }

PLAIN(ww_plain_gemm, double)
PLAIN(ww_plain_gemm_f32, float)
