/* SPDX-License-Identifier: Apache-2.0 */
/* Making the signed tensor statement of a folder that is being signed. */
#ifndef WW_SIGN_TENSORS_SIGN_H
#define WW_SIGN_TENSORS_SIGN_H

#include "sign/statement.h"

/** Read every weight file once: SHA-256 of the files (one per model->files) and the root
 *  of each tensor (one per model->tensors). Arrays of the caller. */
enum ww_err ww_model_digests(const struct ww_model *model,
                             uint8_t (*file_sha256)[WW_SHA256_BYTES],
                             uint8_t (*tensor_root)[WW_SHA256_BYTES],
                             const struct ww_run_options *run,
                             struct ww_error *err) WW_MUST_USE;

/** The statement over those roots, signed. A lock that the folder's present statement
 *  holds is taken over; WW_E_WRONG_MODEL when it belongs to other weights. */
enum ww_err ww_tensors_sign(const struct ww_model *model, const char *model_name,
                            const uint8_t (*tensor_root)[WW_SHA256_BYTES],
                            const struct ww_signer *signer, struct ww_buf *bundle,
                            struct ww_error *err) WW_MUST_USE;

#endif
