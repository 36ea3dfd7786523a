/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of RFC 8259 that have an inside: strings (section 7) and numbers (section
 * 6). Integers are held to the range in which a double is exact (section 6, I-JSON), so
 * that a reader in another language sees the same number.
 *
 * Keys are compared by what they mean: "a" and "\u0061" are one key. The comparison
 * decodes on the way, so that a scan needs no memory for decoded text.
 */
#include "json/json_lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/fail.h"
#include "util/str.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits behind \u; -1 when they are not there. */
static int32_t unit_at(const uint8_t *text, size_t len, size_t pos)
{
    int32_t unit = 0;
    if (len < 4 || pos > len - 4) {
        return -1;
    }
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(text[pos + i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high(int32_t unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low(int32_t unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

/* *pos is at the 'u'. */
static const char *lex_unicode(const uint8_t *text, size_t len, size_t *pos)
{
    int32_t unit = unit_at(text, len, *pos + 1);
    if (unit < 0) {
        return "\\u without four hexadecimal digits";
    }
    if (unit == 0) {
        return "escaped NUL in a string";
    }
    if (is_low(unit)) {
        return "half of a surrogate pair";
    }
    if (!is_high(unit)) {
        *pos += 5;
        return NULL;
    }
    bool has_pair = *pos + 6 < len && text[*pos + 5] == '\\' && text[*pos + 6] == 'u' &&
                    is_low(unit_at(text, len, *pos + 7));
    if (!has_pair) {
        return "half of a surrogate pair";
    }
    *pos += 11;
    return NULL;
}

/* *pos is behind the backslash. */
static const char *lex_escape(const uint8_t *text, size_t len, size_t *pos)
{
    if (*pos >= len) {
        return "text ends inside a string";
    }
    if (text[*pos] == 'u') {
        return lex_unicode(text, len, pos);
    }
    if (text[*pos] == 0 || !strchr("\"\\/bfnrt", text[*pos])) {
        return "unknown escape in a string";
    }
    (*pos)++;
    return NULL;
}

const char *ww_json_lex_string(const uint8_t *text, size_t len, size_t *pos,
                               bool *has_escape)
{
    *has_escape = false;
    (*pos)++;
    while (*pos < len) {
        uint8_t c = text[*pos];
        if (c == '"') {
            (*pos)++;
            return NULL;
        }
        if (c == '\\') {
            *has_escape = true;
            (*pos)++;
            const char *wrong = lex_escape(text, len, pos);
            if (wrong) {
                return wrong;
            }
            continue;
        }
        if (c < 0x20) {
            return "control character in a string";
        }
        size_t step = ww_utf8_next(text + *pos, len - *pos, NULL);
        if (step == 0) {
            return "invalid UTF-8 in a string";
        }
        *pos += step;
    }
    return "text ends inside a string";
}

static size_t skip_digits(const uint8_t *text, size_t len, size_t pos)
{
    while (pos < len && text[pos] >= '0' && text[pos] <= '9') {
        pos++;
    }
    return pos;
}

bool ww_c_locale_enter(struct ww_c_locale *l)
{
    l->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (l->c == (locale_t)0) {
        return false;
    }
    l->before = uselocale(l->c);
    return true;
}

void ww_c_locale_leave(struct ww_c_locale *l)
{
    uselocale(l->before);
    freelocale(l->c);
}

/* digits is a checked number of at most WW_JSON_NUMBER_CHARS; with an exponent of two
 * digits it is below 1e163, whatever they are. */
static bool fits_double(const uint8_t *digits, size_t len, size_t exponent_digits)
{
    if (exponent_digits < 3) {
        return true;
    }
    char copy[WW_JSON_NUMBER_CHARS + 1];
    struct ww_c_locale l;
    memcpy(copy, digits, len);
    copy[len] = '\0';
    if (!ww_c_locale_enter(&l)) {
        return false;
    }
    double v = strtod(copy, NULL);
    ww_c_locale_leave(&l);
    return isfinite(v);
}

static const char *check_integer(const uint8_t *text, size_t start, size_t end)
{
    uint64_t v = 0;
    size_t first = start + (text[start] == '-');
    if (!ww_parse_u64((const char *)text + first, end - first, &v) ||
        v > (uint64_t)WW_JSON_MAX_INT) {
        return "integer beyond 2^53-1";
    }
    return NULL;
}

const char *ww_json_lex_number(const uint8_t *text, size_t len, bool any_integer,
                               size_t *pos)
{
    size_t start = *pos;
    size_t at = start + (text[start] == '-');
    size_t end = skip_digits(text, len, at);
    if (end == at) {
        *pos = at;
        return "number without digits";
    }
    if (text[at] == '0' && end > at + 1) {
        return "number with a leading zero";
    }
    bool is_integer = true;
    size_t exponent_digits = 0;
    if (end < len && text[end] == '.') {
        is_integer = false;
        at = end + 1;
        end = skip_digits(text, len, at);
        if (end == at) {
            *pos = at;
            return "number without digits behind the point";
        }
    }
    if (end < len && (text[end] == 'e' || text[end] == 'E')) {
        is_integer = false;
        at = end + 1;
        at += at < len && (text[at] == '+' || text[at] == '-');
        end = skip_digits(text, len, at);
        exponent_digits = end - at;
        if (exponent_digits == 0) {
            *pos = at;
            return "number without digits in its exponent";
        }
    }
    if (end - start > WW_JSON_NUMBER_CHARS) {
        return "number of more than 63 characters";
    }
    if (is_integer) {
        const char *wrong = any_integer ? NULL : check_integer(text, start, end);
        if (wrong) {
            return wrong;
        }
    } else if (!fits_double(text + start, end - start, exponent_digits)) {
        return "number beyond the range of a double";
    }
    *pos = end;
    return NULL;
}

size_t ww_json_lex_no_number(const uint8_t *text, size_t len, size_t pos)
{
    static const char *const words[] = {"Infinity", "-Infinity", "NaN"};
    for (size_t i = 0; i < WW_LEN(words); i++) {
        const size_t n = strlen(words[i]);
        if (len - pos >= n && memcmp(text + pos, words[i], n) == 0) {
            return n;
        }
    }
    return 0;
}

static size_t put_utf8(uint8_t out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* Reads a checked string byte by byte, an escape as the bytes it stands for. */
struct reader {
    const struct ww_json_raw *raw;
    size_t pos;
    uint8_t pending[4];
    size_t n_pending;
    size_t at_pending;
};

static void resolve_escape(struct reader *r)
{
    static const char letters[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    const uint8_t *p = r->raw->bytes + r->pos;
    r->at_pending = 0;
    if (p[0] != 'u') {
        const char *letter = strchr(letters, p[0]);
        r->pending[0] = letter ? (uint8_t)values[letter - letters] : p[0];
        r->n_pending = 1;
        r->pos += 1;
        return;
    }
    int32_t unit = unit_at(p, 5, 1);
    uint32_t code = (uint32_t)unit;
    r->pos += 5;
    if (is_high(unit)) {
        uint32_t low = (uint32_t)unit_at(p, 11, 7);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        r->pos += 6;
    }
    r->n_pending = put_utf8(r->pending, code);
}

/* The next byte of the meaning, -1 at the end. */
static int next_byte(struct reader *r)
{
    if (r->at_pending < r->n_pending) {
        return r->pending[r->at_pending++];
    }
    if (r->pos == r->raw->len) {
        return -1;
    }
    uint8_t c = r->raw->bytes[r->pos++];
    if (c != '\\') {
        return c;
    }
    resolve_escape(r);
    return r->pending[r->at_pending++];
}

int ww_json_raw_compare(const struct ww_json_raw *a, const struct ww_json_raw *b)
{
    if (!a->has_escape && !b->has_escape) {
        size_t len = a->len < b->len ? a->len : b->len;
        int order = memcmp(a->bytes, b->bytes, len);
        return order ? order : (a->len > b->len) - (a->len < b->len);
    }
    struct reader ra = {.raw = a};
    struct reader rb = {.raw = b};
    for (;;) {
        int x = next_byte(&ra);
        int y = next_byte(&rb);
        if (x != y) {
            return x < y ? -1 : 1;
        }
        if (x < 0) {
            return 0;
        }
    }
}
