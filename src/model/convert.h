/* SPDX-License-Identifier: Apache-2.0 */
/* Floating formats to float, double and back: round to nearest even, exact widening. */
#ifndef WW_MODEL_CONVERT_H
#define WW_MODEL_CONVERT_H

#include "weightward/model.h"

/** Widen n elements of a plain float dtype at src (any alignment). F64 is rounded. */
void ww_to_float(enum ww_dtype dtype, const void *src, float *dst, size_t n);
void ww_to_double(enum ww_dtype dtype, const void *src, double *dst, size_t n);
/** Round once to the dtype; NaN stays NaN. */
void ww_from_double(enum ww_dtype dtype, const double *src, void *dst, size_t n);

/** Count of NaN and infinite elements (bit test, no arithmetic). */
uint64_t ww_count_nonfinite(enum ww_dtype dtype, const void *src, size_t n);

#endif
