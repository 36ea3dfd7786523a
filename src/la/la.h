/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Dense linear algebra through BLAS and LAPACK: row-major, double precision.
 *
 * Results depend on the machine in their last bits; nothing that is signed or that comes
 * from a key may pass through here (src/la/exact.h is for that). Dimensions go up to
 * WW_LA_MAX: whoever takes a size from a file asks ww_la_fits first, the products stop
 * the program otherwise. All functions may be called from several threads at once.
 * OpenBLAS is loaded at the first call. Where it is absent, what returns an error returns
 * WW_E_LIBRARY. Products return none: whoever multiplies first asks ww_la_ready, and
 * tools/dev/check knows who does for files that do not themselves.
 */
#ifndef WW_LA_LA_H
#define WW_LA_LA_H

#include <stdbool.h>
#include <stddef.h>

#include "weightward/error.h"

#define WW_LA_MAX 0x7fffffff

enum ww_la_form { WW_LA_PLAIN, WW_LA_TRANSPOSED };

/** Loads OpenBLAS. WW_E_LIBRARY where it is absent or too old. */
enum ww_err ww_la_ready(struct ww_error *err) WW_MUST_USE;

/** Threads of one call, for the whole process: 1 until this is called, because callers
 * run one matrix per thread of their own. */
void ww_la_threads(unsigned n);

static inline bool ww_la_fits(unsigned long long rows, unsigned long long cols)
{
    return rows <= WW_LA_MAX && cols <= WW_LA_MAX;
}

/** c = alpha form(a) form(b) + beta c, c: m x n, inner length k; lda, ldb, ldc: elements
 *  from one stored row to the next. With beta 0, c need not be set. */
void ww_la_gemm(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                size_t k, double alpha, const double *a, size_t lda, const double *b,
                size_t ldb, double beta, double *c, size_t ldc);
void ww_la_gemm_f32(enum ww_la_form form_a, enum ww_la_form form_b, size_t m, size_t n,
                    size_t k, float alpha, const float *a, size_t lda, const float *b,
                    size_t ldb, float beta, float *c, size_t ldc);

/** c = alpha a a^T + beta c (PLAIN: a is n x k) or alpha a^T a + beta c (TRANSPOSED: a is
 *  k x n); c: n x n without padding, symmetric, both halves written. */
void ww_la_syrk(enum ww_la_form form, size_t n, size_t k, double alpha, const double *a,
                size_t lda, double beta, double *c);

/**
 * Eigenvalues, ascending, and vectors of a symmetric n x n matrix.
 * In: a, its upper half is read. Out: row i of a is the vector of values[i], so that the
 * input was a^T diag(values) a.
 * Memory: 16 n^2 bytes of workspace.
 */
enum ww_err ww_la_eigen(size_t n, double *a, double *values,
                        struct ww_error *err) WW_MUST_USE;

/**
 * Thin singular value decomposition a = u diag(s) vt, r = min(m, n), s descending.
 * In: a, m x n, is destroyed. Out: u m x r, s r, vt r x n; none may be NULL.
 */
enum ww_err ww_la_svd(size_t m, size_t n, double *a, double *u, double *s, double *vt,
                      struct ww_error *err) WW_MUST_USE;

/** Orthonormal columns of a (m x n, m >= n), in place: a = q r. r (n x n, upper) may be
 *  NULL. */
enum ww_err ww_la_qr(size_t m, size_t n, double *a, double *r,
                     struct ww_error *err) WW_MUST_USE;

/** a (n x n) by its inverse, LU with row exchanges. WW_E_UNSUPPORTED when singular. */
enum ww_err ww_la_invert(size_t n, double *a, struct ww_error *err) WW_MUST_USE;

/** b (m x n) by b a^-1, LU; a is destroyed. WW_E_UNSUPPORTED when singular. */
enum ww_err ww_la_divide(size_t m, size_t n, double *b, double *a,
                         struct ww_error *err) WW_MUST_USE;

/** a (n x n, symmetric positive definite, upper half read) by lower L with a = L L^T,
 * zeros above. WW_E_UNSUPPORTED when it is not positive definite. */
enum ww_err ww_la_cholesky(size_t n, double *a, struct ww_error *err) WW_MUST_USE;

/** b (m x n) by b a^-1 where l is what ww_la_cholesky made of a. */
enum ww_err ww_la_cholesky_divide(size_t m, size_t n, double *b, const double *l,
                                  struct ww_error *err) WW_MUST_USE;

/** a (m x n) by its nearest matrix with orthonormal rows or columns: U V^T of a = U S
 * V^T. rank, when not NULL: singular values above 1e-12 of the largest. */
enum ww_err ww_la_polar(size_t m, size_t n, double *a, size_t *rank,
                        struct ww_error *err) WW_MUST_USE;

#endif
