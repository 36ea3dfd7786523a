/* SPDX-License-Identifier: Apache-2.0 */
/**
 * sealed.json: what a sealed folder holds, authenticated by the content key and, like any
 * file of the folder, covered by its signature. Members: docs/formats/sealed-model.md.
 */
#ifndef WW_SEAL_MANIFEST_H
#define WW_SEAL_MANIFEST_H

#include "crypto/sealed.h"
#include "json/json.h"
#include "seal/seal_head.h"

#define WW_SEAL_SCHEMA "weightward.sealed/1"

struct ww_seal_file {
    const char *path; /* before sealing */
    uint64_t size_bytes;
    uint8_t digest[WW_SHA256_BYTES]; /* plain: SHA-256; sealed: commitment to it */
};

struct ww_seal_manifest {
    uint8_t seal_id[WW_SEAL_ID_BYTES];
    uint32_t cipher;
    uint32_t chunk_bytes;
    const char *source_name;
    const uint8_t (
        *recipients)[WW_RECORD_ID_BYTES]; /* when it was sealed; written only */
    size_t n_recipients;
    struct ww_seal_file *sealed;
    size_t n_sealed;
    struct ww_seal_file *plain;
    size_t n_plain;
    struct ww_json *json; /* read back: owns the strings */
};

enum ww_err ww_seal_manifest_write(const struct ww_seal_manifest *manifest,
                                   struct ww_secret *prk, struct ww_buf *out,
                                   struct ww_error *err) WW_MUST_USE;
/** WW_E_SEALED when the MAC does not fit, WW_E_MANIFEST when malformed, WW_E_VERSION. */
enum ww_err ww_seal_manifest_read(const struct ww_buf *text, struct ww_secret *prk,
                                  struct ww_seal_manifest *out,
                                  struct ww_error *err) WW_MUST_USE;
/** Free the arrays and the document; for one that was written too. */
void ww_seal_manifest_release(struct ww_seal_manifest *manifest);

/** Where a sealed file lies: PATH.sealed, and evidence about the source aside. */
enum ww_err ww_seal_stored_path(const char *path, char **out,
                                struct ww_error *err) WW_MUST_USE;
/** Signature or attestations of the source: they hold digests of the plain weights, so
 *  they are sealed too. */
bool ww_seal_is_evidence(const char *path);

#endif
