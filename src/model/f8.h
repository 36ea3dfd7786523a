/* SPDX-License-Identifier: Apache-2.0 */
/* Eight-bit numbers of quantised weights: values and the steps between them. */
#ifndef WW_MODEL_F8_H
#define WW_MODEL_F8_H

#include "weightward/model.h"

/** The step of weights that a scale of zero wiped out: longer than any other. */
#define WW_STEP_LOST 0x1p100

/** F8_E4M3, F8_E5M2 or I8. */
bool ww_is_eight_bit(enum ww_dtype dtype);
/** Not finite where the format says so. */
double ww_eight_bit_value(enum ww_dtype dtype, uint8_t byte);
/** Distance to the next number of larger magnitude. */
double ww_eight_bit_step(enum ww_dtype dtype, uint8_t byte);
/** Between which numbers a value was before it was rounded to this one: half way to both
 *  neighbours. The ends of a format have no end outwards, nor has -127 of I8, where
 *  programs that know no -128 cut off. */
void ww_eight_bit_cell(enum ww_dtype dtype, uint8_t byte, double *low, double *high);

#endif
