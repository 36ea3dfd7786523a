/* SPDX-License-Identifier: Apache-2.0 */
/* Eigenvalues of small symmetric matrices with the same bits on every machine. */
#ifndef WW_LA_EXACT_EIGEN_H
#define WW_LA_EXACT_EIGEN_H

#include <stdbool.h>
#include <stddef.h>

/**
 * a (n x n, symmetric, row-major) = V diag(values) V^T by cyclic Jacobi rotations in
 * fixed order; a is overwritten, column j of vectors belongs to values[j], no order of
 * size. Costs about 40 n^3 operations. False when it has not converged or something is
 * not finite.
 */
bool ww_exact_eigen(double *a, size_t n, double *values, double *vectors);

#endif
