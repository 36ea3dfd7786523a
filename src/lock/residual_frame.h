/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of a sealed residual and the keys of its sections; for its two ends. */
#ifndef WW_LOCK_RESIDUAL_FRAME_H
#define WW_LOCK_RESIDUAL_FRAME_H

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "crypto/xchacha.h"

#define WW_RESIDUAL_MAGIC "weightward-residual\n"
#define WW_RESIDUAL_MAGIC_BYTES 20
#define WW_RESIDUAL_VERSION 1
#define WW_RESIDUAL_HEAD_BYTES 28
#define WW_RESIDUAL_IV_BYTES 32
#define WW_RESIDUAL_SECTION_HEAD (8 + WW_RESIDUAL_IV_BYTES)

/** What a section is bound to, hashed: label, index, number of sections, tensor. */
enum ww_err ww_residual_binding(uint32_t index, uint32_t n, const char *tensor,
                                uint8_t out[WW_SHA256_BYTES],
                                struct ww_error *err) WW_MUST_USE;
/** The key that belongs to an iv. */
enum ww_err ww_residual_key(struct ww_secret *prk, const uint8_t iv[WW_RESIDUAL_IV_BYTES],
                            uint8_t key[WW_XCHACHA_KEY_BYTES],
                            struct ww_error *err) WW_MUST_USE;

#endif
