/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MXFP4 of safetensors, as GPT-OSS is published and transformers reads it (OCP
 * Microscaling Formats 1.0): "x_blocks", U8 [experts, rows, groups, 16], holds numbers of
 * four bits (E2M1), the low ones first, 32 of a row in 16 bytes; "x_scales", U8 [experts,
 * rows, groups], holds the power of two of each 32 (E8M0). They stand for "x" [experts,
 * 32 * groups, rows]: rows and columns change places.
 */
#ifndef WW_MODEL_MXFP4_H
#define WW_MODEL_MXFP4_H

#include "weightward/model.h"

#define WW_MXFP4_BLOCKS "_blocks"
#define WW_MXFP4_SCALES "_scales"

struct ww_mxfp4 {
    uint32_t blocks; /* tensors of the model */
    uint32_t scales;
    uint64_t rows;
    uint64_t groups;
};

/** Is a tensor the blocks or the scales of such weights, with the other half beside it,
 *  both of shapes that fit, of 131,072 rows at most? WW_E_NOMEM. */
enum ww_err ww_mxfp4_find(const struct ww_model *model, uint32_t tensor,
                          struct ww_mxfp4 *out, bool *is,
                          struct ww_error *err) WW_MUST_USE;

/** The tensor that they stand for, of dtype F32, under a name that the caller gives. */
void ww_mxfp4_show(const struct ww_model *model, const struct ww_mxfp4 *of,
                   const char *name, struct ww_tensor *out);

/** Windows of decoded blocks that are kept between readings of one model: a window costs
 *  512 bytes for each of `rows`, and eight are kept. NULL without memory. From any
 *  thread. */
struct ww_mxfp4_windows;
struct ww_mxfp4_windows *ww_mxfp4_windows_new(void);
void ww_mxfp4_windows_free(struct ww_mxfp4_windows *windows);

/** Elements [first, first + n) of "x": values as transformers dequantises them with the
 *  steps of their blocks (two may be NULL then), or, of cells, between which two numbers
 * each was before it was rounded, infinite where that has an end. Exact. WW_E_NONFINITE:
 * a scale is no number, or a value is too large for float32. */
enum ww_err ww_mxfp4_read(const struct ww_model *model, const struct ww_mxfp4 *of,
                          struct ww_mxfp4_windows *windows, uint64_t first, size_t n,
                          bool cells, double *one, double *two,
                          struct ww_error *err) WW_MUST_USE;

#endif
