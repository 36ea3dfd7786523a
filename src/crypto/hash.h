/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and its relatives, through OpenSSL (SHA-NI; libsodium's is 4x slower). */
#ifndef WW_CRYPTO_HASH_H
#define WW_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_SHA256_BYTES 32

struct ww_sha256; /* opaque, heap */

enum ww_err ww_sha256_new(struct ww_sha256 **out, struct ww_error *err) WW_MUST_USE;
void ww_sha256_free(struct ww_sha256 *h);
/** Back to the empty message; a context is reused for many messages. */
void ww_sha256_reset(struct ww_sha256 *h);
void ww_sha256_update(struct ww_sha256 *h, const void *bytes, size_t len);
/** A number as little-endian bytes. */
void ww_sha256_u32le(struct ww_sha256 *h, uint32_t v);
void ww_sha256_u64le(struct ww_sha256 *h, uint64_t v);
/** Digest of what was added; the context must be reset before further use. */
void ww_sha256_final(struct ww_sha256 *h, uint8_t out[WW_SHA256_BYTES]);

/** One shot. */
void ww_sha256_of(const void *bytes, size_t len, uint8_t out[WW_SHA256_BYTES]);

/** File digest algorithms that OMS names: "sha256" (32 bytes), "blake2b" (64 bytes). */
struct ww_digest;
#define WW_DIGEST_MAX_BYTES 64
/** WW_E_UNSUPPORTED for an unknown name (also "blake3"). */
enum ww_err ww_digest_new(const char *algorithm, struct ww_digest **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_digest_free(struct ww_digest *d);
void ww_digest_reset(struct ww_digest *d);
void ww_digest_update(struct ww_digest *d, const void *bytes, size_t len);
size_t ww_digest_final(struct ww_digest *d, uint8_t out[WW_DIGEST_MAX_BYTES]);

#endif
