/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors under other names than their files give them. */
#ifndef WW_MODEL_SHOWN_H
#define WW_MODEL_SHOWN_H

#include "weightward/model.h"

/** A model without files: what reads its tensors is the caller's. Names are borrowed.
 * path is for error texts. WW_E_TENSOR when a name is there twice. */
enum ww_err ww_model_shown(const char *path, const struct ww_tensor *tensors, uint32_t n,
                           struct ww_model **out, struct ww_error *err) WW_MUST_USE;

/** Tensor t gets the name names[t], which is copied; NULL: it keeps its own. WW_E_TENSOR
 *  when a name is there twice then, and the model is of no use any more. */
enum ww_err ww_model_rename(struct ww_model *model, const char *const *names,
                            struct ww_error *err) WW_MUST_USE;

/** The model's tensors become these n, in files[0..n_files): both arrays are the model's
 *  from then on, and payload, which is freed when it is closed. What was there stays the
 *  caller's, to be kept in payload. Once for a model. WW_E_NOMEM. */
enum ww_err ww_model_recast(struct ww_model *model, struct ww_tensor *tensors, uint32_t n,
                            struct ww_weight_file *files, uint32_t n_files,
                            void (*free)(void *payload), void *payload,
                            struct ww_error *err) WW_MUST_USE;

#endif
