/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight-bit weights with scales beside them, as transformers, compressed-tensors and
 * bitsandbytes write them: value = (number - zero point) x scale, one scale for the
 * tensor, a row or a block, and zero points as scales are or none. FP8 without a scale
 * holds its values as they are.
 */
#ifndef WW_MODEL_EIGHT_BIT_H
#define WW_MODEL_EIGHT_BIT_H

#include "weightward/model.h"

#define WW_EIGHT_BIT_KINDS 3 /* E4M3, E5M2, I8 */

struct ww_eight_bit {
    const struct ww_model *model;           /* borrowed */
    struct ww_eight_bit_scales *scales;     /* [n_tensors]; no values: read as it is */
    double values[WW_EIGHT_BIT_KINDS][256]; /* by byte, without scales */
    bool *beside; /* [n_tensors]: scales, zero points and the like, of no use alone */
    uint32_t n_tensors;
    uint32_t n_decoded; /* eight-bit weights */
    uint32_t n_bare;    /* integers without a scale that is known: no weights */
};

/** What of a model is eight-bit weights; nothing is (n_decoded and n_bare 0, all arrays
 *  NULL) where none is. Released by the caller, also after a failure. WW_E_QUANTISED for
 *  scales that do not fit, or whose meaning is not known. */
enum ww_err ww_eight_bit_find(const struct ww_model *model, struct ww_eight_bit *out,
                              struct ww_error *err) WW_MUST_USE;
void ww_eight_bit_release(struct ww_eight_bit *weights);
/** Is a tensor of the model decoded, or read as it is? */
bool ww_eight_bit_is(const struct ww_eight_bit *weights, uint32_t tensor);

/** Elements [first, first + n) of a decoded tensor. steps (may be NULL): of each, to the
 *  next number of larger magnitude, WW_STEP_LOST where its scale is 0. From any thread.
 *  WW_E_NONFINITE. */
enum ww_err ww_eight_bit_values(const struct ww_eight_bit *weights, uint32_t tensor,
                                uint64_t first, size_t n, double *values, double *steps,
                                struct ww_error *err) WW_MUST_USE;
/** The ends of their cells: between which numbers each was before it was rounded. */
enum ww_err ww_eight_bit_cells(const struct ww_eight_bit *weights, uint32_t tensor,
                               uint64_t first, size_t n, double *low, double *high,
                               struct ww_error *err) WW_MUST_USE;

#endif
