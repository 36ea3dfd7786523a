/* SPDX-License-Identifier: Apache-2.0 */
/* Provenance of a sealed folder: what was sealed, and the evidence that it carried. */
#ifndef WW_SEAL_SEAL_RECORD_H
#define WW_SEAL_SEAL_RECORD_H

#include "evidence/ancestors.h"
#include "seal/seal_source.h"

struct ww_seal_record {
    const char *name;             /* of the sealed folder */
    const struct ww_model *model; /* that was sealed */
    const struct ww_seal_spec *spec;
    const struct ww_seal_items *items;
    const struct ww_stream_result *result;
    const struct ww_resource *files; /* that the folder's signature covers */
    size_t n_files;
    const uint8_t *root; /* their OMS root */
    const struct ww_signer *signer;
};

/** Write the signed statement and the ancestors' evidence into the output. */
enum ww_err ww_seal_record_add(const struct ww_seal_record *record, struct ww_out *out,
                               struct ww_error *err) WW_MUST_USE;

#endif
