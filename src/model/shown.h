/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of another kind of file under the names that a model folder would give them. */
#ifndef WW_MODEL_SHOWN_H
#define WW_MODEL_SHOWN_H

#include "weightward/model.h"

/** A model without files: what reads its tensors is the caller's. Names are borrowed.
 * path is for error texts. WW_E_TENSOR when a name is there twice. */
enum ww_err ww_model_shown(const char *path, const struct ww_tensor *tensors, uint32_t n,
                           struct ww_model **out, struct ww_error *err) WW_MUST_USE;

#endif
