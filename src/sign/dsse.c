/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-authentication encoding, after the DSSE protocol v1: type and payload with their
 * lengths in front, so that no other pair of them gives the same bytes.
 *
 * Release 0.2 of the OMS reference client formatted a Python bytes object into a string.
 * What it signed is therefore the payload as Python prints it; models signed with it are
 * still around, so the notation is rebuilt here, for verification only.
 */
#include "sign/dsse.h"

#include <string.h>

static enum ww_err add_head(struct ww_buf *out, const char *label, const char *type,
                            size_t len, struct ww_error *err)
{
    return ww_buf_addf(out, err, "%s %zu %s %zu ", label, strlen(type), type, len);
}

enum ww_err ww_dsse_pae_of(const char *type, const uint8_t *payload, size_t len,
                           struct ww_buf *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_buf_clear(out);
    rc = add_head(out, "DSSEv1", type, len, err);
    if (rc) {
        return rc;
    }
    return ww_buf_add(out, payload, len, err);
}

enum ww_err ww_dsse_pae(const uint8_t *payload, size_t len, struct ww_buf *out,
                        struct ww_error *err)
{
    return ww_dsse_pae_of(WW_PAYLOAD_TYPE, payload, len, out, err);
}

/* One byte in the notation of Python's repr; the length of what was put into text. */
static size_t python_byte(uint8_t byte, char quote, char text[4])
{
    static const char digits[] = "0123456789abcdef";
    static const char named[] = "\t\n\r\\";
    static const char letters[] = "tnr\\";
    const char *hit = byte ? strchr(named, byte) : NULL;

    text[0] = '\\';
    if (hit) {
        text[1] = letters[hit - named];
        return 2;
    }
    if (byte == (uint8_t)quote) {
        text[1] = quote;
        return 2;
    }
    if (byte >= 0x20 && byte < 0x7f) {
        text[0] = (char)byte;
        return 1;
    }
    text[1] = 'x';
    text[2] = digits[byte >> 4];
    text[3] = digits[byte & 15];
    return 4;
}

enum ww_err ww_dsse_pae_v02(const uint8_t *payload, size_t len, struct ww_buf *out,
                            struct ww_error *err)
{
    /* Python prefers the quote that needs no escaping. */
    bool has_single = len && memchr(payload, '\'', len);
    bool has_double = len && memchr(payload, '"', len);
    char quote = has_single && !has_double ? '"' : '\'';
    char text[4] = {'b', quote, 0, 0};
    enum ww_err rc = WW_OK;

    ww_buf_clear(out);
    rc = add_head(out, "DSSEV1", WW_PAYLOAD_TYPE, len, err);
    if (rc) {
        return rc;
    }
    rc = ww_buf_add(out, text, 2, err);
    for (size_t i = 0; i < len && !rc; i++) {
        size_t n = python_byte(payload[i], quote, text);
        rc = ww_buf_add(out, text, n, err);
    }
    if (rc) {
        return rc;
    }
    return ww_buf_add(out, &quote, 1, err);
}
