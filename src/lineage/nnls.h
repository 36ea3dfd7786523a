/* SPDX-License-Identifier: Apache-2.0 */
/* Small dense problems in fixed order: no BLAS, so that findings are the same anywhere.
 */
#ifndef WW_LINEAGE_NNLS_H
#define WW_LINEAGE_NNLS_H

#include <stdbool.h>

#include "weightward/lineage.h"

/** Least squares with a >= 0 (Lawson and Hanson 1974) on normal equations: xx is [k][k]
 *  with rows of k_row, xy is [k]. Columns with use false keep a = 0. */
void ww_nnls(const double *xx, unsigned k_row, const double *xy, unsigned k,
             const bool *use, double *a);

/** Row i of the inverse of xx restricted to the active columns, 0 elsewhere; false when
 *  that is singular or has no such row. */
bool ww_inverse_row(const double *xx, unsigned k_row, unsigned k, const bool *active,
                    unsigned i, double *out);
/** Diagonal of the inverse of xx restricted to the active columns, 0 elsewhere; false
 * when it is singular. */
bool ww_inverse_diagonal(const double *xx, unsigned k_row, unsigned k, const bool *active,
                         double *out);

#endif
