/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text helpers that do not depend on the locale. UTF-8 is checked by the table of
 * well-formed byte sequences (Unicode 15, table 3-7): the ranges of the second byte rule
 * out overlong forms and surrogates, so no decoded value has to be examined.
 */
#include "util/str.h"

#include <string.h>

#include "util/fail.h"

void ww_hex(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

bool ww_unhex(uint8_t *out, size_t len, const char *hex, size_t hex_len)
{
    if (hex_len % 2 != 0 || hex_len / 2 != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(hex[2 * i]);
        int low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

struct utf8_row {
    uint8_t lead_min, lead_max;
    uint8_t second_min, second_max;
    uint8_t len;
};

static const struct utf8_row utf8_rows[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static size_t utf8_multi(const uint8_t *p, size_t len, uint32_t *code)
{
    const struct utf8_row *row = NULL;
    for (size_t i = 0; i < WW_LEN(utf8_rows); i++) {
        if (p[0] >= utf8_rows[i].lead_min && p[0] <= utf8_rows[i].lead_max) {
            row = &utf8_rows[i];
        }
    }
    if (!row || len < row->len || p[1] < row->second_min || p[1] > row->second_max) {
        return 0;
    }
    uint32_t v = p[0] & (0x7fu >> row->len);
    for (size_t i = 1; i < row->len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        v = v << 6 | (p[i] & 0x3fu);
    }
    *code = v;
    return row->len;
}

size_t ww_utf8_next(const uint8_t *bytes, size_t len, uint32_t *code)
{
    uint32_t unused = 0;
    if (!code) {
        code = &unused;
    }
    if (len == 0) {
        return 0;
    }
    if (bytes[0] < 0x80) {
        *code = bytes[0];
        return 1;
    }
    return utf8_multi(bytes, len, code);
}

bool ww_utf8_ok(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t step = ww_utf8_next(bytes + i, len - i, NULL);
        if (step == 0) {
            return false;
        }
        i += step;
    }
    return true;
}

bool ww_text_ok(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        size_t step = ww_utf8_next(bytes + i, len - i, &code);
        if (step == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            return false;
        }
        i += step;
    }
    return true;
}

bool ww_parse_u64(const char *s, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    if (len == 0 || (len > 1 && s[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

bool ww_str_eq(const char *a, const char *b)
{
    if (!a || !b) {
        return a == b;
    }
    return strcmp(a, b) == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool ww_str_eq_word(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

bool ww_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool ww_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One token of the pattern that is not a star; false when s does not start with it. */
static bool glob_token(const char **pattern, const char **s)
{
    const char *p = *pattern;
    if (p[0] == '{' && (p[1] == 'l' || p[1] == 'e') && p[2] == '}') {
        if (!is_digit(**s)) {
            return false;
        }
        while (is_digit(**s)) {
            (*s)++;
        }
        *pattern += 3;
        return true;
    }
    if (*p == '\0' || *p != **s) {
        return false;
    }
    (*pattern)++;
    (*s)++;
    return true;
}

/* Only the latest star is ever widened. That is complete, because a piece between two
 * stars that starts later never ends earlier, and it keeps the cost at |pattern| x |s|.
 */
bool ww_str_glob(const char *pattern, const char *s)
{
    const char *after_star = NULL;
    const char *retry_from = NULL;
    while (*s || *pattern) {
        if (*pattern == '*') {
            after_star = ++pattern;
            retry_from = s;
            continue;
        }
        if (glob_token(&pattern, &s)) {
            continue;
        }
        if (!after_star || *retry_from == '\0') {
            return false;
        }
        s = ++retry_from;
        pattern = after_star;
    }
    return true;
}

#define NEAREST_LEN 64

/* Levenshtein distance by rows, two letters that changed places being one mistake; words
 * too long to be a typing mistake are far away. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NEAREST_LEN + 1];
    size_t above[NEAREST_LEN + 1] = {0}; /* the row before the last one */
    size_t n = strlen(a);
    size_t m = strlen(b);
    if (n > NEAREST_LEN || m > NEAREST_LEN) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        size_t swapped = 0; /* above[j - 2], while above is being replaced */
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            const size_t two_back = above[j - 1];
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = best < swapped + 1 ? best : swapped + 1;
            }
            swapped = two_back;
            above[j - 1] = diagonal;
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
        above[m] = diagonal;
    }
    return row[m];
}

const char *ww_str_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *nearest = NULL;
    size_t limit = strlen(word) / 3 + 1; /* about one mistake in three letters */
    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance <= limit && distance < strlen(candidates[i])) {
            nearest = candidates[i];
            limit = distance ? distance - 1 : 0;
            if (distance == 0) {
                break;
            }
        }
    }
    return nearest;
}
