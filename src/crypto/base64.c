/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 after RFC 4648 section 4, own code because a signed text must have one reading
 * only: OpenSSL's decoder skips white space and takes stray bits behind the last byte.
 */
#include "crypto/base64.h"

#include "util/fail.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define CHUNK_GROUPS 512 /* groups converted between two additions to the buffer */

static void encode_group(char out[4], const uint8_t *in, size_t n_in)
{
    const uint32_t bits = (uint32_t)in[0] << 16 | (n_in > 1 ? (uint32_t)in[1] << 8 : 0) |
                          (n_in > 2 ? (uint32_t)in[2] : 0);
    out[0] = alphabet[bits >> 18];
    out[1] = alphabet[bits >> 12 & 63];
    out[2] = '=';
    out[3] = '=';
    if (n_in > 1) {
        out[2] = alphabet[bits >> 6 & 63];
    }
    if (n_in > 2) {
        out[3] = alphabet[bits & 63];
    }
}

enum ww_err ww_base64_encode(struct ww_buf *out, const uint8_t *bytes, size_t len,
                             struct ww_error *err)
{
    char chunk[4 * CHUNK_GROUPS];
    size_t done = 0;

    while (done < len) {
        size_t n_groups = 0;
        while (n_groups < CHUNK_GROUPS && done < len) {
            const size_t n_in = len - done < 3 ? len - done : 3;
            encode_group(chunk + 4 * n_groups, bytes + done, n_in);
            done += n_in;
            n_groups++;
        }
        enum ww_err rc = ww_buf_add(out, chunk, 4 * n_groups, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* The value of a letter, 64 for anything that is none. */
static uint32_t letter_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* One group of four letters, of which the last n_pad are '='. False when malformed. */
static bool decode_group(uint8_t out[3], const char in[4], unsigned n_pad)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t value = 0;
        if (i < 4 - n_pad) {
            value = letter_value(in[i]);
        }
        if (value > 63) {
            return false;
        }
        bits = bits << 6 | value;
    }
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    return (n_pad < 1 || out[2] == 0) && (n_pad < 2 || out[1] == 0);
}

static unsigned padding_of(const char *text, size_t len)
{
    if (len == 0 || text[len - 1] != '=') {
        return 0;
    }
    return text[len - 2] == '=' ? 2 : 1;
}

enum ww_err ww_base64_decode(struct ww_buf *out, const char *text, size_t len,
                             struct ww_error *err)
{
    uint8_t chunk[3 * CHUNK_GROUPS];
    size_t done = 0;

    if (len % 4 != 0) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "base64 text has %zu characters, not a multiple of 4", len);
    }
    const unsigned n_pad = padding_of(text, len);
    while (done < len) {
        size_t n_out = 0;
        while (n_out < sizeof(chunk) && done < len) {
            const unsigned pad = done + 4 == len ? n_pad : 0;
            if (!decode_group(chunk + n_out, text + done, pad)) {
                return WW_FAIL(err, WW_E_BUNDLE,
                               "base64 text is malformed in the group at character %zu",
                               done);
            }
            n_out += 3 - pad;
            done += 4;
        }
        enum ww_err rc = ww_buf_add(out, chunk, n_out, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}
