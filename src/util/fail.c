/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling an error record. Texts quote names that come from hostile files, and they end
 * up on terminals and in logs: every character that could move a cursor, start a new
 * line or reverse the reading direction (Unicode TR 36) leaves here as \xNN.
 */
#include "util/fail.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/shown.h"
#include "util/str.h"

#define RAW_BYTES 2048 /* longer than a record's text, so that cutting happens once */

/* Copies whole characters only, so that a cut text is still UTF-8. */
void ww_one_line(char *out, size_t out_bytes, const char *raw)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = strlen(raw);
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        size_t step = ww_utf8_next((const uint8_t *)raw + i, len - i, &code);
        if (step && ww_is_shown(code)) {
            if (used + step >= out_bytes) {
                break;
            }
            memcpy(out + used, raw + i, step);
            used += step;
            i += step;
            continue;
        }
        if (used + 4 >= out_bytes) {
            break;
        }
        /* Byte by byte: what follows a bad or hidden character is judged anew. */
        for (size_t end = i + (step ? step : 1); i < end && used + 4 < out_bytes; i++) {
            unsigned byte = (unsigned char)raw[i];
            char piece[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
            memcpy(out + used, piece, sizeof(piece));
            used += sizeof(piece);
        }
    }
    out[used] = '\0';
}

/* The two variants of strerror_r differ in what they return; _Generic tells them apart
 * without asking which C library this is. */
static const char *text_of_gnu(const char *s, const char *buf)
{
    (void)buf;
    return s;
}

static const char *text_of_posix(int failed, const char *buf)
{
    return failed ? "unknown system error" : buf;
}

#define ERRNO_TEXT(call, buf)                                                            \
    _Generic((call), int : text_of_posix, char * : text_of_gnu)((call), (buf))

enum ww_err ww_fail_at(struct ww_error *err, enum ww_err code, int sys_errno,
                       const char *file, int line, const char *fmt, ...)
{
    if (code == WW_OK) {
        code = WW_E_INTERNAL;
    }
    if (!err) {
        return code;
    }
    if (err->code != WW_OK) {
        return err->code;
    }
    char raw[RAW_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    if (n < 0) {
        snprintf(raw, sizeof(raw), "%s", ww_err_text(code));
    }
    size_t len = strlen(raw);
    if (sys_errno != 0) {
        char buf[128] = "";
        const char *text = ERRNO_TEXT(strerror_r(sys_errno, buf, sizeof(buf)), buf);
        snprintf(raw + len, sizeof(raw) - len, ": %s", text);
    }
    ww_one_line(err->text, sizeof(err->text), raw);
    err->code = code;
    err->sys_errno = sys_errno;
    err->file = file;
    err->line = line;
    return code;
}

void ww_error_context(struct ww_error *err, const char *fmt, ...)
{
    if (!err || err->code == WW_OK) {
        return;
    }
    char raw[RAW_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    char prefix[WW_ERROR_TEXT_BYTES / 2]; /* the cause keeps at least half the room */
    char old[WW_ERROR_TEXT_BYTES];
    ww_one_line(prefix, sizeof(prefix), raw);
    memcpy(old, err->text, sizeof(old));
    snprintf(raw, sizeof(raw), "%s: %s", prefix, old);
    ww_one_line(err->text, sizeof(err->text), raw);
}

void ww_invariant_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "weightward: %s:%d: broken invariant: %s\n", file, line, expr);
    abort();
}
