/* SPDX-License-Identifier: Apache-2.0 */
/* Corners of matrices: what of a tensor is looked at as a matrix. */
#ifndef WW_LINEAGE_CORNER_H
#define WW_LINEAGE_CORNER_H

#include "lineage/family.h"

/** Is it a matrix with both sides long enough to tell directions? */
bool ww_corner_has(const struct ww_family *family, uint32_t tensor);
/** Is it a vector that long? */
bool ww_corner_is_vector(const struct ww_family *family, uint32_t tensor);
/** A matrix's sides, or most where they are longer; a vector is one row. */
void ww_corner_sides(const struct ww_family *family, uint32_t tensor, size_t most,
                     size_t *rows, size_t *columns);

/** The first n elements of a row, in double. bytes: room for n doubles. steps ([n]) gets
 *  the steps of a suspect that is decoded, and keeps what it has else. */
enum ww_err ww_corner_row(const struct ww_family *family, uint32_t tensor, unsigned model,
                          uint64_t row, size_t n, void *bytes, double *out, double *steps,
                          struct ww_error *err) WW_MUST_USE;

/** Rows of q (k x m) orthonormal, one after the other, twice; one that depends on those
 * before it becomes small or zero. */
void ww_corner_orthonormalise(double *q, size_t k, size_t m);

#endif
