/* SPDX-License-Identifier: Apache-2.0 */
/* Standard base64 (RFC 4648 section 4) with padding; nothing else is accepted. */
#ifndef WW_CRYPTO_BASE64_H
#define WW_CRYPTO_BASE64_H

#include "util/buf.h"

enum ww_err ww_base64_encode(struct ww_buf *out, const uint8_t *bytes, size_t len,
                             struct ww_error *err) WW_MUST_USE;
/** WW_E_BUNDLE on a wrong alphabet, white space, missing padding or stray bits. */
enum ww_err ww_base64_decode(struct ww_buf *out, const char *text, size_t len,
                             struct ww_error *err) WW_MUST_USE;

#endif
