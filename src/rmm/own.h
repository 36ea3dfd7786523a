/* SPDX-License-Identifier: Apache-2.0 */
/* A pair of low-rank factors as integers, within a stated error of their product. */
#ifndef WW_RMM_OWN_H
#define WW_RMM_OWN_H

#include "rmm/chunk.h"

#define WW_OWN_MAX_RANK 256

/** B (m x r) times A (r x d), row-major. */
struct ww_own_factors {
    size_t m;
    size_t r;
    size_t d;
    const double *b;
    const double *a;
    struct ww_chunk_type type; /* that they are stored in */
    const double
        *near_b; /* NULL, or factors of the same shapes, as they are stored, of */
    const double *near_a; /* which the integers say the difference */
};

struct ww_own {
    int16_t *b;    /* m x r */
    int16_t *a;    /* r x d */
    float *scales; /* r, of both: B_ik = b_ik scale_k, A_kj = a_kj scale_k */
    uint8_t *classes_b;
    uint8_t *classes_a;
    double error; /* |B A - B' A'| / |B A| in the Frobenius norm, of what is decoded */
    bool fits;    /* within the bound; if not, all else is NULL */
};

/**
 * Scaled singular vectors, one step for all: the largest one found for which the error of
 * the decoded product is within the bound. + - * / sqrt in a fixed order: the same
 * integers on every machine. Memory: four times the factors.
 */
enum ww_err ww_own_fit(const struct ww_own_factors *factors, double bound,
                       struct ww_own *out, struct ww_error *err) WW_MUST_USE;
/**
 * Turn U S and S V^T into the coordinates of the near factors: balanced, rotated so that
 * they lie nearest, and what is left times the length of the direction it is multiplied
 * with, which is what steps are equal in. *spans false when the near ones do not; then x
 * and y are of no use.
 */
enum ww_err ww_own_align(const struct ww_own_factors *factors, double *sigma, double *x,
                         double *y, bool *spans, struct ww_error *err) WW_MUST_USE;
/** The same product with both factors as long: b (m x r) = U S^(1/2), a (r x d) =
 *  S^(1/2) V^T, the largest number of each column of U positive. */
enum ww_err ww_own_balance(const struct ww_own_factors *factors, double *b, double *a,
                           struct ww_error *err) WW_MUST_USE;
void ww_own_release(struct ww_own *own);
/** Squared singular values of B A, r of them, falling. */
enum ww_err ww_own_spectrum(const struct ww_own_factors *factors, double *squares,
                            struct ww_error *err) WW_MUST_USE;

/** Eigenvalues (falling) and eigenvectors (columns of v) of a symmetric n x n matrix,
 * which is overwritten, by cyclic Jacobi rotations. */
void ww_own_eigen(size_t n, double *a, double *values, double *v);

#endif
