/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON tokens by hand (RFC 8259). A general JSON reader costs a tree node per value and
 * turns sizes into doubles; a header is tens of megabytes of names and 64-bit integers.
 * The caller has checked that the text is UTF-8.
 */
#include "model/st_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/fail.h"
#include "util/num.h"

enum ww_err ww_st_unexpected(struct ww_st_text *t, const char *what, struct ww_error *err)
{
    char found[32] = "the end of the header";
    size_t at = (size_t)(t->at - t->start);
    if (t->at<t->end && * t->at> ' ' && *t->at < 0x7f) {
        snprintf(found, sizeof(found), "'%c'", *t->at);
    } else if (t->at < t->end) {
        snprintf(found, sizeof(found), "byte 0x%02x", *t->at);
    }
    if (t->tensor) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': header byte %zu: found %s, expected %s",
                       t->tensor, t->file, at, found, what);
    }
    return WW_FAIL(err, WW_E_SAFETENSORS, "'%s': header byte %zu: found %s, expected %s",
                   t->file, at, found, what);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits behind \u; false when they are none. */
static bool hex4(struct ww_st_text *t, uint32_t *out)
{
    uint32_t v = 0;
    if (t->end - t->at < 4) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        int digit = hex_digit(t->at[i]);
        if (digit < 0) {
            return false;
        }
        v = v << 4 | (uint32_t)digit;
    }
    t->at += 4;
    *out = v;
    return true;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Behind "\u": one code point, from one or two escapes; NUL and half pairs are refused.
 */
static bool unicode_escape(struct ww_st_text *t, uint32_t *out)
{
    uint32_t low;
    if (!hex4(t, out) || *out == 0 || (*out >= 0xdc00 && *out <= 0xdfff)) {
        return false;
    }
    if (*out < 0xd800 || *out > 0xdbff) {
        return true;
    }
    if (t->end - t->at < 2 || t->at[0] != '\\' || t->at[1] != 'u') {
        return false;
    }
    t->at += 2;
    if (!hex4(t, &low) || low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* Behind the backslash. */
static bool escape(struct ww_st_text *t, char **out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (t->at == t->end) {
        return false;
    }
    char c = (char)*t->at++;
    if (c == 'u') {
        uint32_t code;
        if (!unicode_escape(t, &code)) {
            return false;
        }
        *out = put_utf8(*out, code);
        return true;
    }
    const char *known = c ? strchr(names, c) : NULL;
    if (!known) {
        return false;
    }
    *(*out)++ = values[known - names];
    return true;
}

/* A bit in each of eight bytes that is a quote, a backslash or below space: for each, the
 * usual test for a zero byte in a word. The lowest bit set is exact, those above it may
 * come from a borrow. */
static uint64_t special_bytes(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101U;
    uint64_t quote = x ^ ones * '"';
    uint64_t slash = x ^ ones * '\\';
    uint64_t hit =
        ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * ' ') & ~x);
    return hit & ones * 0x80;
}

/* Copy a run of plain string bytes, up to the first special one. Whole words are stored,
 * so up to seven bytes behind the run are written too: WW_ST_SLACK is room for them. */
static char *copy_plain(struct ww_st_text *t, char *to)
{
    while (t->end - t->at >= 8) {
        uint64_t word = ww_get_u64le(t->at);
        uint64_t hit = special_bytes(word);
        memcpy(to, t->at, sizeof(word));
        if (hit) {
            unsigned plain = (unsigned)__builtin_ctzll(hit) / 8;
            t->at += plain;
            return to + plain;
        }
        t->at += sizeof(word);
        to += sizeof(word);
    }
    while (t->at < t->end && *t->at >= ' ' && *t->at != '"' && *t->at != '\\') {
        *to++ = (char)*t->at++;
    }
    return to;
}

enum ww_err ww_st_string(struct ww_st_text *t, const char **out, size_t *len,
                         struct ww_error *err)
{
    char *begin = t->strings + t->strings_len;
    char *to = begin;
    if (ww_st_peek(t) != '"') {
        return ww_st_unexpected(t, "a string", err);
    }
    t->at++;
    for (;;) {
        to = copy_plain(t, to);
        if (t->at == t->end || *t->at < ' ') {
            return ww_st_unexpected(t, "the rest of a string", err);
        }
        if (*t->at++ == '"') {
            break;
        }
        if (!escape(t, &to)) {
            return ww_st_unexpected(t, "a valid escape in a string", err);
        }
    }
    *to = '\0';
    *out = begin;
    *len = (size_t)(to - begin);
    return WW_OK;
}

void ww_st_keep(struct ww_st_text *t, size_t len)
{
    t->strings_len += len + 1;
}

enum ww_err ww_st_u64(struct ww_st_text *t, uint64_t *out, struct ww_error *err)
{
    uint64_t v = 0;
    int c = ww_st_peek(t);
    if (c < '0' || c > '9') {
        return ww_st_unexpected(t, "a non-negative integer", err);
    }
    if (c == '0' && t->end - t->at > 1 && t->at[1] >= '0' && t->at[1] <= '9') {
        return ww_st_unexpected(t, "an integer without leading zeros", err);
    }
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        uint64_t digit = *t->at - (uint64_t)'0';
        if (v > (UINT64_MAX - digit) / 10) {
            return ww_st_unexpected(t, "an integer below 2^64", err);
        }
        v = v * 10 + digit;
        t->at++;
    }
    if (t->at < t->end && (*t->at == '.' || *t->at == 'e' || *t->at == 'E')) {
        return ww_st_unexpected(t, "an integer without fraction or exponent", err);
    }
    *out = v;
    return WW_OK;
}
