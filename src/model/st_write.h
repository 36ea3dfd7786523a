/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a safetensors file that is about to be written. */
#ifndef WW_MODEL_ST_WRITE_H
#define WW_MODEL_ST_WRITE_H

#include "util/buf.h"
#include "weightward/model.h"

/**
 * Length word and JSON text of a file that holds the tensors one after the other, in this
 * order (name, dtype, shape and n_bytes are read), padded with spaces to a multiple of 8.
 * The text is what the reference library writes for the same order.
 */
enum ww_err ww_st_header_write(const struct ww_tensor *tensors, size_t n,
                               struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

#endif
