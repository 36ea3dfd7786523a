/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products by OpenBLAS. Its thread count belongs to the process; it is set to one before
 * the first product, because a pool inside every worker of ours would fight over the
 * cores.
 */
#include "la/la.h"

#include <cblas.h>
#include <pthread.h>

#include "la/la_int.h"
#include "weightward/run.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void one_thread(void)
{
    openblas_set_num_threads(1);
}

/* Where it has threads at all: an inner name, in no header of OpenBLAS. */
extern int blas_thread_shutdown_(void) __attribute__((weak));

void ww_run_alone(void)
{
    if (blas_thread_shutdown_) {
        blas_thread_shutdown_();
    }
}

void ww_la_ready(void)
{
    pthread_once(&once, one_thread);
}

void ww_la_threads(unsigned n)
{
    const int wanted = n ? (int)n : 1;

    ww_la_ready();
    /* Others may multiply meanwhile, who read the number. */
    if (openblas_get_num_threads() != wanted) {
        openblas_set_num_threads(wanted);
    }
}

static CBLAS_TRANSPOSE form_of(enum ww_la_form form)
{
    return form == WW_LA_PLAIN ? CblasNoTrans : CblasTrans;
}

void ww_la_gemm(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                size_t k, double alpha, const double *a, size_t lda, const double *b,
                size_t ldb, double beta, double *c, size_t ldc)
{
    ww_la_ready();
    cblas_dgemm(CblasRowMajor, form_of(form_a), form_of(form_b), ww_la_int(m),
                ww_la_int(n), ww_la_int(k), alpha, a, ww_la_int(lda), b, ww_la_int(ldb),
                beta, c, ww_la_int(ldc));
}

void ww_la_gemm_f32(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                    size_t k, float alpha, const float *a, size_t lda, const float *b,
                    size_t ldb, float beta, float *c, size_t ldc)
{
    ww_la_ready();
    cblas_sgemm(CblasRowMajor, form_of(form_a), form_of(form_b), ww_la_int(m),
                ww_la_int(n), ww_la_int(k), alpha, a, ww_la_int(lda), b, ww_la_int(ldb),
                beta, c, ww_la_int(ldc));
}

void ww_la_syrk(enum ww_la_form form, size_t n, size_t k, double alpha, const double *a,
                size_t lda, double beta, double *c)
{
    ww_la_ready();
    cblas_dsyrk(CblasRowMajor, CblasUpper, form_of(form), ww_la_int(n), ww_la_int(k),
                alpha, a, ww_la_int(lda), beta, c, ww_la_int(n));
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            c[i * n + j] = c[j * n + i];
        }
    }
}
