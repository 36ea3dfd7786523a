/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The tensor statement: in-toto Statement v1 with predicate WW_TENSORS_PREDICATE.
 *
 *   subject    {name, digest: {sha256: model root}}
 *   predicate
 *     tensors    {algorithm: WW_TENSORS_ALGORITHM, chunk: 1048576, count, root,
 *                items: [{name, dtype, shape, bytes, root}] in bytewise name order}
 *     lock       any object; absent when the model is not locked
 *
 * Closed: an unknown member is refused, a change of meaning needs another predicate type.
 */
#ifndef WW_SIGN_TENSORS_H
#define WW_SIGN_TENSORS_H

#include "sign/bundle.h"
#include "sign/statement.h"

#define WW_TENSORS_ALGORITHM "sha256-tree"

enum ww_err ww_tensors_parse(const uint8_t *payload, size_t len,
                             struct ww_tensor_statement *out,
                             struct ww_error *err) WW_MUST_USE;

/** As ww_tensors_read; verifier NULL opens an envelope unverified. signer as in
 *  ww_bundle_check. */
enum ww_err ww_tensors_read_by(int dirfd, const struct ww_verifier *verifier,
                               char signer[WW_SIGNER_BYTES],
                               struct ww_tensor_statement *out,
                               struct ww_error *err) WW_MUST_USE;

/** Index of an item by name, or the count when there is none. */
size_t ww_tensors_find(const struct ww_tensor_statement *statement, const char *name);

/** WW_E_WRONG_MODEL unless the model's headers name exactly the stated tensors. */
enum ww_err ww_tensors_match_headers(const struct ww_tensor_statement *statement,
                                     const struct ww_model *model,
                                     struct ww_error *err) WW_MUST_USE;

/** Hash one tensor of the model and compare it with what is stated. */
enum ww_err ww_tensors_check_one(const struct ww_tensor_statement *statement,
                                 const struct ww_model *model, const char *name,
                                 const struct ww_run_options *run, uint64_t *bytes,
                                 struct ww_error *err) WW_MUST_USE;

#endif
