/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing at a stated chunk size and Argon2 cost, for tests. */
#ifndef WW_SEAL_JOB_H
#define WW_SEAL_JOB_H

#include "crypto/sealed.h"
#include "weightward/seal.h"

/** ww_seal_folder with chunks of chunk_bytes. */
enum ww_err ww_seal_folder_at(const char *path, const char *out_path,
                              const struct ww_seal_options *options, uint32_t chunk_bytes,
                              const struct ww_argon2_cost *cost,
                              struct ww_seal_report *report,
                              struct ww_error *err) WW_MUST_USE;

#endif
