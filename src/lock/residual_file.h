/* SPDX-License-Identifier: Apache-2.0 */
/**
 * attestations/residual.sealed: the residuals of all tensors that a dense lock mixed, in
 * the order of the model, each encrypted and bound to key, tensor and place.
 *
 *   magic "weightward-residual\n" | u32le version 1 | u32le n sections | sections
 *   section  u64le length of the box | 32 bytes iv | box: XChaCha20-Poly1305, tag last
 *
 * docs/formats/residual.md derives iv and key.
 */
#ifndef WW_LOCK_RESIDUAL_FILE_H
#define WW_LOCK_RESIDUAL_FILE_H

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "util/buf.h"

#define WW_RESIDUAL_FILE "attestations/residual.sealed"

/** Sealing, from one thread. */
struct ww_residual_sink;
/** Make the file below dirfd. prk is that of the lock (borrowed). */
enum ww_err ww_residual_sink_new(int dirfd, struct ww_secret *prk, uint32_t n_sections,
                                 struct ww_residual_sink **out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_residual_sink_free(struct ww_residual_sink *sink);
/** Section index of the tensor with that name; plain is taken over. They may come in any
 *  order and are held until their turn. */
enum ww_err ww_residual_sink_put(struct ww_residual_sink *sink, uint32_t index,
                                 const char *tensor, struct ww_buf *plain,
                                 struct ww_error *err) WW_MUST_USE;
/** All sections are there: flush. size and digest of the file. */
enum ww_err ww_residual_sink_end(struct ww_residual_sink *sink, uint64_t *size_bytes,
                                 uint8_t sha256[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

/** Opening. */
struct ww_residual_source;
/** Open and index the file. WW_E_SEALED when it is none of size_bytes with that digest.
 */
enum ww_err ww_residual_source_open(int dirfd, struct ww_secret *prk, uint64_t size_bytes,
                                    const uint8_t sha256[WW_SHA256_BYTES],
                                    struct ww_residual_source **out,
                                    struct ww_error *err) WW_MUST_USE;
void ww_residual_source_close(struct ww_residual_source *source);
uint32_t ww_residual_source_sections(const struct ww_residual_source *source);
/** The plain section; *out is the caller's (ww_free). WW_E_SEALED. */
enum ww_err ww_residual_source_get(const struct ww_residual_source *source,
                                   uint32_t index, const char *tensor, uint8_t **out,
                                   size_t *len, struct ww_error *err) WW_MUST_USE;

/** Parse the frame of a file: offsets of the n sections, offsets[n] being its end; for
 *  readers and fuzzing. read gives len bytes at an offset. */
typedef enum ww_err (*ww_residual_read_fn)(const void *payload, uint64_t offset,
                                           void *out, size_t len, struct ww_error *err);
enum ww_err ww_residual_index(ww_residual_read_fn read, const void *payload,
                              uint64_t size_bytes, uint64_t **offsets, uint32_t *n,
                              struct ww_error *err) WW_MUST_USE;

#endif
