/* SPDX-License-Identifier: Apache-2.0 */
/* From the content key of a sealed folder to the keys of its files. */
#ifndef WW_SEAL_KEYS_H
#define WW_SEAL_KEYS_H

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "seal/seal_head.h"

/** HKDF-Extract over the content key (32 bytes). */
enum ww_err ww_seal_root(struct ww_secret *content_key, struct ww_secret **prk,
                         struct ww_error *err) WW_MUST_USE;

/** Key of a file's chunks (32 bytes) and its head tag, from the SHA-256 of its head. */
enum ww_err ww_seal_file_key(struct ww_secret *prk,
                             const uint8_t head_sha256[WW_SHA256_BYTES],
                             struct ww_secret **key, uint8_t tag[WW_SEAL_HEAD_TAG_BYTES],
                             struct ww_error *err) WW_MUST_USE;

/** A value that commits to a plain file's digest and tells it to no one without the key.
 */
enum ww_err ww_seal_commitment(struct ww_secret *prk, const char *name,
                               const uint8_t sha256[WW_SHA256_BYTES],
                               uint8_t out[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

/** MAC of the manifest's text. */
enum ww_err ww_seal_manifest_mac(struct ww_secret *prk, const void *text, size_t len,
                                 uint8_t out[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

#endif
