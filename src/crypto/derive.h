/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF-SHA256 (RFC 5869) and a ChaCha20 keystream read as unbiased integers. */
#ifndef WW_CRYPTO_DERIVE_H
#define WW_CRYPTO_DERIVE_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/secret.h"

#define WW_PRK_BYTES 32

/** PRK = HKDF-Extract(salt, secret), into guarded memory. */
enum ww_err ww_hkdf_extract(struct ww_secret *secret, const void *salt, size_t salt_len,
                            struct ww_secret **prk, struct ww_error *err) WW_MUST_USE;
/** out = HKDF-Expand(prk, info), out_len <= 255 * 32. */
enum ww_err ww_hkdf_expand(struct ww_secret *prk, const void *info, size_t info_len,
                           uint8_t *out, size_t out_len,
                           struct ww_error *err) WW_MUST_USE;

/**
 * A keystream: ChaCha20 with nonce and counter zero under HKDF-Expand(prk, info). The
 * same prk and info give the same integers on every machine: no floating point, no
 * library random numbers.
 */
struct ww_keystream;
enum ww_err ww_keystream_new(struct ww_secret *prk, const void *info, size_t info_len,
                             struct ww_keystream **out, struct ww_error *err) WW_MUST_USE;
void ww_keystream_free(struct ww_keystream *ks);
/** Next 32 keystream bits, little-endian. */
uint32_t ww_keystream_u32(struct ww_keystream *ks);
/** Uniform in [0, n), n >= 1, by rejection: draws u32 until it falls below the largest
 *  multiple of n. */
uint32_t ww_keystream_below(struct ww_keystream *ks, uint32_t n);
/** Fisher-Yates from the top: for i = n-1 .. 1 swap perm[i], perm[below(i+1)], starting
 *  from the identity. */
void ww_keystream_perm(struct ww_keystream *ks, uint32_t *perm, uint32_t n);

#endif
