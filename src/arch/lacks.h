/* SPDX-License-Identifier: Apache-2.0 */
/** Does a model lack a tensor that its architecture has? For who reads models by names.
 */
#ifndef WW_ARCH_LACKS_H
#define WW_ARCH_LACKS_H

#include "weightward/layout.h"

/**
 * Match the model with its descriptor, as far as that is known. WW_E_TENSOR: something is
 * missing, and which, in words; WW_E_NOMEM. WW_OK is no promise: the architecture may be
 * unknown, or described in other respects only. *part, with WW_E_TENSOR: all layers
 * beside which the tensor stands are missing too, as the decoder is of an encoder that
 * was saved alone; or the model calls them otherwise.
 */
enum ww_err ww_layout_lacks(const struct ww_model *model, bool *part,
                            struct ww_error *err) WW_MUST_USE;

#endif
