/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models that were released in eight bits or MXFP4, as models of floats: what they were
 * trained on, and what is merged of them, are the decoded weights.
 */
#ifndef WW_MODEL_DECODED_H
#define WW_MODEL_DECODED_H

#include "weightward/model.h"

/** Takes quantised weights of an open model for the floats that they stand for, in the
 *  dtype that config.json names (BF16 where it names none of 16 or 32 bits), rounded as
 *  transformers rounds: number x scale in F32, then to the dtype. Tensors are read
 *  through one more file, which lies nowhere and has no descriptor, and whose reading is
 *  WW_E_NONFINITE where a float is beyond the dtype; scales are no tensors any more. *n:
 * how many were decoded, 0: the model is as it was. What config.json says of quantising
 * stays. Other layouts are left as they are: ask ww_model_floats. On failure the model
 * can only be closed. */
enum ww_err ww_model_decode(struct ww_model *model, uint32_t *n,
                            struct ww_error *err) WW_MUST_USE;

#endif
