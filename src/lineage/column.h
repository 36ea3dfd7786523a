/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of a tensor that an open model holds, as doubles. */
#ifndef WW_LINEAGE_COLUMN_H
#define WW_LINEAGE_COLUMN_H

#include "weightward/model.h"

/** Elements [first, first + n) of a plain float tensor into out. bytes is room for n
 *  doubles. WW_E_NONFINITE. */
enum ww_err ww_column_read(const struct ww_model *model, uint32_t tensor, uint64_t first,
                           size_t n, uint8_t *bytes, double *out,
                           struct ww_error *err) WW_MUST_USE;
/** The bytes as they are, of any dtype. */
enum ww_err ww_column_bytes(const struct ww_model *model, uint32_t tensor, uint64_t first,
                            size_t n, uint8_t *bytes, struct ww_error *err) WW_MUST_USE;

#endif
