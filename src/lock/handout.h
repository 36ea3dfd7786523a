/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A copy for one recipient: the lock key of the copy, derived from the publisher's.
 *
 *   copy secret = HKDF-Expand(PRK, str("weightward/lock/handout/v1") | str(name) | nonce,
 * 32) element     = HKDF-Expand(PRK of the copy secret,
 *                             str("weightward/lock/handout-element/v1") | lock id, 32)
 *
 * PRK and str are those of lock/draw.h. The copy secret takes the place of the lock key
 * in every draw, so the elements of two copies are independent; the publisher, who has
 * the lock key, finds each again from name and nonce.
 */
#ifndef WW_LOCK_HANDOUT_H
#define WW_LOCK_HANDOUT_H

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "weightward/lock.h"

/** WW_E_USAGE unless the name is 1 to 200 bytes of UTF-8 without control characters. */
enum ww_err ww_handout_check_name(const char *name, struct ww_error *err) WW_MUST_USE;

/** The copy secret; *out is NULL when handout is, and the lock key serves. */
enum ww_err ww_handout_secret(struct ww_secret *secret, const struct ww_handout *handout,
                              struct ww_secret **out, struct ww_error *err) WW_MUST_USE;

/** A commitment to the copy's element, which tells nothing about it. */
enum ww_err ww_handout_element(struct ww_secret *secret, const struct ww_handout *handout,
                               const uint8_t lock_id[WW_SHA256_BYTES],
                               uint8_t out[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

#endif
