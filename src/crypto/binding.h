/* SPDX-License-Identifier: Apache-2.0 */
/* What a lock key is bound to, as bytes: docs/formats/sealed-key.md. */
#ifndef WW_CRYPTO_BINDING_H
#define WW_CRYPTO_BINDING_H

#include "weightward/key.h"

#define WW_BINDING_BYTES 132 /* purpose u32, model id 32, lock id 32, name 64 */

bool ww_binding_is_empty(const struct ww_key_binding *binding);
bool ww_binding_equal(const struct ww_key_binding *a, const struct ww_key_binding *b);
void ww_binding_write(const struct ww_key_binding *binding,
                      uint8_t out[WW_BINDING_BYTES]);
/** WW_E_KEYFILE for an unknown purpose or a name that is no clean text. */
enum ww_err ww_binding_read(const uint8_t bytes[WW_BINDING_BYTES],
                            struct ww_key_binding *out, struct ww_error *err) WW_MUST_USE;

#endif
