/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products of stored rows with a float vector, for probes. */
#ifndef WW_LOCK_PROBE_DOT_H
#define WW_LOCK_PROBE_DOT_H

#include "weightward/model.h"

/** Sum of row[j] * u[j] over n elements of a plain float dtype, row at any alignment.
 *  Float sums of 512 products, added up in double; the order never changes, so the same
 *  number comes out on every machine. */
double ww_probe_dot(enum ww_dtype dtype, const void *row, const float *u, size_t n);

#endif
