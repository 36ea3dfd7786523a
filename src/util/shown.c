/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names come from hostile files and end up on terminals, in logs and on pages. A valid
 * character is written as \uNNNN, which JSON reads as that character; no answer in JSON
 * holds a byte that is no UTF-8.
 */
#include "util/shown.h"

#include <stdio.h>
#include <string.h>

#include "util/str.h"
#include "weightward/report.h"

#define PIECE_BYTES 8 /* "\uNNNN", or a character as it is */

bool ww_is_shown(uint32_t code)
{
    const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    const bool line_end = code == 0x2028 || code == 0x2029;
    const bool direction = (code >= 0x202a && code <= 0x202e) ||
                           (code >= 0x2066 && code <= 0x2069) || code == 0x200e ||
                           code == 0x200f || code == 0x061c;
    return !control && !line_end && !direction;
}

/* The first bytes of a character whose rest may still come. */
static bool is_begun(const uint8_t *at, size_t len)
{
    const size_t need = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;

    if (at[0] < 0xc2 || at[0] > 0xf4 || len >= need) {
        return false;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t ww_text_shown(const char *text, size_t len, char *out, size_t out_bytes,
                     size_t *taken)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t used = 0;
    size_t i = 0;

    while (i < len) {
        char piece[PIECE_BYTES];
        uint32_t code = 0;
        size_t step = ww_utf8_next(in + i, len - i, &code);
        size_t n = step;
        if (!step && is_begun(in + i, len - i)) {
            break;
        }
        if (!step) {
            step = 1;
            n = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", in[i]);
        } else if (code == '\n' || code == '\t' || ww_is_shown(code)) {
            memcpy(piece, in + i, step);
        } else {
            n = (size_t)snprintf(piece, sizeof(piece), "\\u%04x", (unsigned)code);
        }
        if (out_bytes - used < n) {
            break;
        }
        memcpy(out + used, piece, n);
        used += n;
        i += step;
    }
    *taken = i;
    return used;
}
