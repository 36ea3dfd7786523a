/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS with its LAPACK, loaded at the first product or decomposition: it takes half
 * of a program's start, and few commands multiply. */
#ifndef WW_LA_OPENBLAS_H
#define WW_LA_OPENBLAS_H

#include <cblas.h>
#include <lapack.h>

#include "weightward/error.h"

#define WW_BLAS_FUNCTIONS(X)                                                             \
    X(get_threads, openblas_get_num_threads)                                             \
    X(set_threads, openblas_set_num_threads)                                             \
    X(dgemm, cblas_dgemm)                                                                \
    X(sgemm, cblas_sgemm)                                                                \
    X(dsyrk, cblas_dsyrk)                                                                \
    X(dgelqf, dgelqf_)                                                                   \
    X(dgesdd, dgesdd_)                                                                   \
    X(dgetrf, dgetrf_)                                                                   \
    X(dgetri, dgetri_)                                                                   \
    X(dgetrs, dgetrs_)                                                                   \
    X(dorglq, dorglq_)                                                                   \
    X(dpotrf, dpotrf_)                                                                   \
    X(dpotrs, dpotrs_)                                                                   \
    X(dsyevd, dsyevd_)

#define WW_BLAS_MEMBER(name, symbol) __typeof__(symbol) *name;
struct ww_blas {
    WW_BLAS_FUNCTIONS(WW_BLAS_MEMBER)
    int (*shutdown)(void); /* NULL where it has no threads */
};
extern struct ww_blas ww_blas; /* after ww_la_ready */

/* LAPACK_dgesdd and so on add what a Fortran compiler wants, and end in these names. */
#define dgelqf_ ww_blas.dgelqf
#define dgesdd_ ww_blas.dgesdd
#define dgetrf_ ww_blas.dgetrf
#define dgetri_ ww_blas.dgetri
#define dgetrs_ ww_blas.dgetrs
#define dorglq_ ww_blas.dorglq
#define dpotrf_ ww_blas.dpotrf
#define dpotrs_ ww_blas.dpotrs
#define dsyevd_ ww_blas.dsyevd

#endif
