/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products by OpenBLAS. Plain loops where it is absent would round in another way, so
 * that a result changed with what is installed and nobody was told.
 */
#include "la/la.h"

#include "la/la_int.h"
#include "la/openblas.h"

static CBLAS_TRANSPOSE form_of(enum ww_la_form form)
{
    return form == WW_LA_PLAIN ? CblasNoTrans : CblasTrans;
}

void ww_la_gemm(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                size_t k, double alpha, const double *a, size_t lda, const double *b,
                size_t ldb, double beta, double *c, size_t ldc)
{
    WW_INVARIANT(!ww_la_ready(NULL));
    ww_blas.dgemm(CblasRowMajor, form_of(form_a), form_of(form_b), ww_la_int(m),
                  ww_la_int(n), ww_la_int(k), alpha, a, ww_la_int(lda), b, ww_la_int(ldb),
                  beta, c, ww_la_int(ldc));
}

void ww_la_gemm_f32(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                    size_t k, float alpha, const float *a, size_t lda, const float *b,
                    size_t ldb, float beta, float *c, size_t ldc)
{
    WW_INVARIANT(!ww_la_ready(NULL));
    ww_blas.sgemm(CblasRowMajor, form_of(form_a), form_of(form_b), ww_la_int(m),
                  ww_la_int(n), ww_la_int(k), alpha, a, ww_la_int(lda), b, ww_la_int(ldb),
                  beta, c, ww_la_int(ldc));
}

void ww_la_syrk(enum ww_la_form form, size_t n, size_t k, double alpha, const double *a,
                size_t lda, double beta, double *c)
{
    WW_INVARIANT(!ww_la_ready(NULL));
    ww_blas.dsyrk(CblasRowMajor, CblasUpper, form_of(form), ww_la_int(n), ww_la_int(k),
                  alpha, a, ww_la_int(lda), beta, c, ww_la_int(n));
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            c[i * n + j] = c[j * n + i];
        }
    }
}
