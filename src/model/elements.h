/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of a tensor that an open model holds, whoever reads its files. */
#ifndef WW_MODEL_ELEMENTS_H
#define WW_MODEL_ELEMENTS_H

#include "weightward/model.h"

/** n bytes of a weight file from offset on, by its reader if it has one. */
enum ww_err ww_weight_bytes(const struct ww_weight_file *file, uint64_t offset, void *out,
                            size_t n, struct ww_error *err) WW_MUST_USE;

/** Elements [first, first + n) of a tensor as they are, of any dtype of whole bytes. */
enum ww_err ww_elements_bytes(const struct ww_model *model, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes,
                              struct ww_error *err) WW_MUST_USE;

/** The same of a plain float tensor, widened. bytes is room for n elements.
 *  WW_E_NONFINITE. */
enum ww_err ww_elements_double(const struct ww_model *model, uint32_t tensor,
                               uint64_t first, size_t n, uint8_t *bytes, double *out,
                               struct ww_error *err) WW_MUST_USE;
/** The same; F64 is rounded. */
enum ww_err ww_elements_float(const struct ww_model *model, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes, float *out,
                              struct ww_error *err) WW_MUST_USE;

/** WW_E_NONFINITE by these n elements of a tensor, as stored. */
enum ww_err ww_elements_finite(const struct ww_model *model, uint32_t tensor,
                               const uint8_t *bytes, size_t n,
                               struct ww_error *err) WW_MUST_USE;
/** The same, widened. */
enum ww_err ww_elements_widen(const struct ww_model *model, uint32_t tensor,
                              const uint8_t *bytes, size_t n, double *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
