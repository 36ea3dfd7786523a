/* SPDX-License-Identifier: Apache-2.0 */
/* PKCS #11 URIs (RFC 7512), the part that names a private key. */
#ifndef WW_CRYPTO_P11_URI_H
#define WW_CRYPTO_P11_URI_H

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"

#define WW_P11_TEXT_BYTES 256

/** A value that may be absent; percent escapes are resolved. */
struct ww_p11_text {
    char text[WW_P11_TEXT_BYTES]; /* NUL-terminated; id may hold NULs within len */
    size_t len;
    bool given;
};

struct ww_p11_uri {
    struct ww_p11_text token;
    struct ww_p11_text manufacturer;
    struct ww_p11_text model;
    struct ww_p11_text serial;
    struct ww_p11_text slot_id;
    struct ww_p11_text object;
    struct ww_p11_text id; /* bytes */
    struct ww_p11_text type;
    struct ww_p11_text module_path;
    struct ww_p11_text pin_source; /* without "file:" */
};

/** WW_E_USAGE for anything unknown, doubled or unsafe. */
enum ww_err ww_p11_uri_parse(const char *uri, struct ww_p11_uri *out,
                             struct ww_error *err) WW_MUST_USE;

#endif
