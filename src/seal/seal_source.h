/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be done with each file of a model that is sealed. */
#ifndef WW_SEAL_SOURCE_H
#define WW_SEAL_SOURCE_H

#include "seal/seal_plan.h"

struct ww_seal_spec {
    uint32_t cipher;
    uint32_t chunk_bytes;
    uint8_t seal_id[WW_SEAL_ID_BYTES];
};

/** Weight files first, then evidence about the source, both to be sealed; then the files
 *  that stay as they are. WW_E_UNSUPPORTED when a file is in the place of one of ours. */
enum ww_err ww_seal_source_items(const struct ww_model *model,
                                 const struct ww_seal_spec *spec, struct ww_secret *prk,
                                 struct ww_seal_items *out,
                                 struct ww_error *err) WW_MUST_USE;

#endif
