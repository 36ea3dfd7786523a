/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a key among the objects of a token. */
#ifndef WW_CRYPTO_P11_OBJECT_H
#define WW_CRYPTO_P11_OBJECT_H

#include "crypto/p11_module.h"
#include "crypto/p11_uri.h"

#define WW_P11_SPKI_MAX_BYTES 4096

/** The one EC private key that the URI names, and its public half as SPKI DER. */
enum ww_err ww_p11_find_key(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                            const struct ww_p11_uri *uri, CK_OBJECT_HANDLE *key,
                            struct ww_buf *spki, struct ww_error *err) WW_MUST_USE;

#endif
