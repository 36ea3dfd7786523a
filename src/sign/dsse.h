/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that a DSSE signature covers. */
#ifndef WW_SIGN_DSSE_H
#define WW_SIGN_DSSE_H

#include "util/buf.h"

#define WW_PAYLOAD_TYPE "application/vnd.in-toto+json"

/** Pre-authentication encoding of a payload of this type; out is overwritten. */
enum ww_err ww_dsse_pae_of(const char *type, const uint8_t *payload, size_t len,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** The same of a payload of WW_PAYLOAD_TYPE. */
enum ww_err ww_dsse_pae(const uint8_t *payload, size_t len, struct ww_buf *out,
                        struct ww_error *err) WW_MUST_USE;

/** The encoding that release 0.2 of the reference client signed in its place. */
enum ww_err ww_dsse_pae_v02(const uint8_t *payload, size_t len, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
