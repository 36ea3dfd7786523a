/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Floats of 16 and 32 bits as each other, by integers alone: the same bits on every
 * machine, whatever its floating point does with what is small or no number.
 */
#ifndef WW_MODEL_RECODE_H
#define WW_MODEL_RECODE_H

#include "weightward/model.h"

/** Both of BF16, F16 and F32, and not the same one. */
bool ww_recodes(enum ww_dtype from, enum ww_dtype to);

/** n numbers of a pair that ww_recodes. Widened exactly, a NaN with its payload; else
 *  rounded once, to nearest even, what is too large to infinity, and a NaN to the one of
 *  its sign of which the highest bit of the mantissa is set alone. dst may be src where
 *  numbers do not become wider. */
void ww_recode(enum ww_dtype from, enum ww_dtype to, const uint8_t *src, uint8_t *dst,
               size_t n);

#endif
