/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the planners (lock, later merge and pack) need to leave signed evidence: build and
 * open bundles, write the OMS statement from digests they already have, and write and
 * read the tensor statement. This header is the module's door for its siblings.
 */
#ifndef WW_SIGN_STATEMENT_H
#define WW_SIGN_STATEMENT_H

#include "crypto/hash.h"
#include "json/json.h"
#include "stream/stream.h"
#include "weightward/model.h"
#include "weightward/sign.h"

/* What the source carried as its own evidence lies below this folder of a locked model.
 */
#define WW_SET_ASIDE_DIR WW_ATTESTATIONS_DIR "/source/"

/** A file of the folder with its digest. */
struct ww_resource {
    const char *name; /* relative, '/'-separated */
    uint8_t sha256[WW_SHA256_BYTES];
};

/** Sign a payload (an in-toto statement) into a Sigstore bundle v0.3. */
enum ww_err ww_bundle_sign(const struct ww_signer *signer, const uint8_t *payload,
                           size_t len, struct ww_buf *bundle,
                           struct ww_error *err) WW_MUST_USE;

/** The payload of a statement that lies in a folder: out of its envelope, or plain where
 *  there is none. The signature is not checked. WW_E_NOTFOUND when there is neither file.
 *  payload must have been initialised. */
enum ww_err ww_statement_load(int dirfd, const char *signed_name, const char *plain_name,
                              struct ww_buf *payload, bool *was_signed,
                              struct ww_error *err) WW_MUST_USE;

/** OMS statement over resources (sorted here by code point); attestations and the
 *  signature are in its ignore_paths. root: the OMS root digest. */
enum ww_err ww_oms_statement(const char *model_name, struct ww_resource *resources,
                             size_t n, struct ww_buf *payload,
                             uint8_t root[WW_SHA256_BYTES],
                             struct ww_error *err) WW_MUST_USE;

/** True for git's own files at the top level and what lies below them: the format leaves
 *  them out of every signature. */
bool ww_oms_leaves_out(const char *path);

/** Is the path a signature or an attestation, which is set aside when a model is changed?
 */
bool ww_is_evidence(const char *path);

/** The outputs of a plan that a model signature covers, with the digests of the run: an
 *  array for the caller to free. */
enum ww_err ww_output_resources(const struct ww_plan *plan,
                                const struct ww_stream_result *result,
                                struct ww_resource **out, size_t *n,
                                struct ww_error *err) WW_MUST_USE;

/** The OMS signature over all outputs of a plan but attestations, from the digests of the
 *  stream, added to the folder. root: hex of the OMS root. */
enum ww_err ww_sign_outputs(const struct ww_signer *signer, const char *name,
                            const struct ww_plan *plan,
                            const struct ww_stream_result *result, struct ww_out *out,
                            char root[2 * WW_SHA256_BYTES + 1],
                            struct ww_error *err) WW_MUST_USE;

/** Tensors in name order, with their roots. */
struct ww_rooted_tensors {
    const struct ww_tensor *const *by_name;
    const uint8_t (*roots)[WW_SHA256_BYTES];
    size_t n;
};

/** The tensor statement: predicate {tensors: {algorithm, chunk, count, root, items:
 * [{name, dtype, shape, bytes, root}]}, lock: object or absent}. subject is the model
 * name with the model root as digest "sha256". lock_json may be NULL. */
enum ww_err ww_tensors_statement(const char *model_name,
                                 const struct ww_rooted_tensors *tensors,
                                 const char *lock_json, struct ww_buf *payload,
                                 uint8_t model_root[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

/** The same of a model whose roots stand in the order of model->tensors. */
enum ww_err ww_tensors_statement_of(const char *model_name, const struct ww_model *model,
                                    const uint8_t (*tensor_root)[WW_SHA256_BYTES],
                                    const char *lock_json, struct ww_buf *payload,
                                    uint8_t model_root[WW_SHA256_BYTES],
                                    struct ww_error *err) WW_MUST_USE;

/** A tensor statement read back. */
struct ww_tensor_item {
    const char *name; /* borrowed from the document */
    const char *dtype;
    uint64_t shape[WW_MAX_RANK];
    unsigned rank;
    uint64_t n_bytes;
    uint8_t root[WW_SHA256_BYTES];
};
struct ww_tensor_statement {
    struct ww_json *json;         /* owns the strings */
    struct ww_tensor_item *items; /* in name order */
    size_t n_items;
    uint8_t model_root[WW_SHA256_BYTES];
    const struct ww_jnode *lock; /* NULL when not locked */
    bool was_signed;             /* came out of an envelope */
};
/**
 * Read the statement of an opened model folder: attestations/tensors.sigstore.json, else
 * the plain file. With a public key the envelope's signature is checked (WW_E_UNTRUSTED,
 * WW_E_SIGNATURE); without one it is opened unverified. The tree is recomputed from the
 * items and must give the stated root. WW_E_NOTFOUND when there is neither file.
 */
struct ww_pubkey;
enum ww_err ww_tensors_read(int dirfd, const struct ww_pubkey *key,
                            struct ww_tensor_statement *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_tensors_release(struct ww_tensor_statement *statement);

#endif
