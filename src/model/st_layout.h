/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and places of tensors: what the shapes say against what the offsets say. */
#ifndef WW_MODEL_ST_LAYOUT_H
#define WW_MODEL_ST_LAYOUT_H

#include "model/safetensors.h"

/** Set n_elements and check that shape and dtype need exactly end - begin bytes. */
enum ww_err ww_st_tensor_size(struct ww_st_tensor *tensor, const char *file,
                              struct ww_error *err) WW_MUST_USE;

/** Sort by offset; tensors must fill the data without hole, overlap or rest. */
enum ww_err ww_st_layout(struct ww_st_header *header, uint64_t data_bytes,
                         const char *file, struct ww_error *err) WW_MUST_USE;

#endif
