/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer whose output depends on the calls alone: members in the order given, one
 * format of numbers, no locale. What it writes, the strict scan accepts.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "json/json_lex.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_DEPTH 64 /* bits of in_object */
#define MAX_QUOTED ((size_t)1 << 20)

void ww_jw_init(struct ww_jw *w, struct ww_buf *buf, unsigned indent)
{
    memset(w, 0, sizeof(*w));
    w->buf = buf;
    w->indent = indent;
}

/* After a failure nothing more is written, but the calls still have to balance. */
static void put(struct ww_jw *w, const char *bytes, size_t len)
{
    if (w->err.code == WW_OK) {
        enum ww_err rc = ww_buf_add(w->buf, bytes, len, &w->err);
        (void)rc; /* kept in w->err */
    }
}

static void new_line(struct ww_jw *w)
{
    if (w->indent == 0) {
        return;
    }
    put(w, "\n", 1);
    for (unsigned i = 0; i < w->indent * w->depth; i++) {
        put(w, " ", 1);
    }
}

static bool in_object(const struct ww_jw *w)
{
    return w->depth > 0 && (w->in_object >> (w->depth - 1) & 1);
}

/* What stands between the last thing written and a key or an element. */
static void separate(struct ww_jw *w)
{
    if (w->need_comma) {
        put(w, ",", 1);
    }
    if (w->depth > 0) {
        new_line(w);
    }
}

static void begin_value(struct ww_jw *w)
{
    WW_INVARIANT(in_object(w) == w->after_key);
    WW_INVARIANT(w->depth > 0 || !w->need_comma);
    if (!w->after_key) {
        separate(w);
    }
    w->after_key = false;
    w->need_comma = true;
}

static void open_container(struct ww_jw *w, bool is_object)
{
    begin_value(w);
    WW_INVARIANT(w->depth < MAX_DEPTH);
    uint64_t bit = UINT64_C(1) << w->depth;
    w->in_object = is_object ? w->in_object | bit : w->in_object & ~bit;
    w->depth++;
    w->need_comma = false;
    put(w, is_object ? "{" : "[", 1);
}

void ww_jw_object(struct ww_jw *w)
{
    open_container(w, true);
}

void ww_jw_array(struct ww_jw *w)
{
    open_container(w, false);
}

void ww_jw_close(struct ww_jw *w)
{
    WW_INVARIANT(w->depth > 0 && !w->after_key);
    bool is_object = in_object(w);
    bool is_empty = !w->need_comma;
    w->depth--;
    if (!is_empty) {
        new_line(w);
    }
    put(w, is_object ? "}" : "]", 1);
    w->need_comma = true;
}

/* The escape of a character that needs one, NULL for the others. */
static const char *escape_of(uint8_t c, char room[7])
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c ? strchr(plain, c) : NULL;
    if (found) {
        snprintf(room, 7, "\\%c", letters[found - plain]);
        return room;
    }
    if (c < 0x20) {
        snprintf(room, 7, "\\u%04x", c);
        return room;
    }
    return NULL;
}

static void put_string(struct ww_jw *w, const char *s, size_t len)
{
    char room[7];
    size_t start = 0;
    if (!ww_utf8_ok((const uint8_t *)s, len) || memchr(s, 0, len)) {
        (void)WW_FAIL(&w->err, WW_E_MALFORMED,
                      "text '%.*s' is not UTF-8 or holds a NUL and cannot be written as "
                      "JSON",
                      len < 80 ? (int)len : 80, s);
        return;
    }
    put(w, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        const char *escape = escape_of((uint8_t)s[i], room);
        if (escape) {
            put(w, s + start, i - start);
            put(w, escape, strlen(escape));
            start = i + 1;
        }
    }
    put(w, s + start, len - start);
    put(w, "\"", 1);
}

void ww_jw_key(struct ww_jw *w, const char *key)
{
    WW_INVARIANT(in_object(w) && !w->after_key);
    separate(w);
    put_string(w, key, strlen(key));
    put(w, ": ", w->indent ? 2 : 1);
    w->after_key = true;
}

void ww_jw_strn(struct ww_jw *w, const char *s, size_t len)
{
    begin_value(w);
    put_string(w, s, len);
}

void ww_jw_str(struct ww_jw *w, const char *s)
{
    if (!s) {
        ww_jw_null(w);
        return;
    }
    ww_jw_strn(w, s, strlen(s));
}

void ww_jw_raw(struct ww_jw *w, const char *json)
{
    begin_value(w);
    put(w, json, strlen(json));
}

static void refuse_integer(struct ww_jw *w)
{
    (void)WW_FAIL(&w->err, WW_E_LIMIT,
                  "integer beyond 2^53-1 cannot be written as a JSON number");
}

void ww_jw_u64(struct ww_jw *w, uint64_t v)
{
    char text[24];
    if (v > (uint64_t)WW_JSON_MAX_INT) {
        refuse_integer(w);
    }
    snprintf(text, sizeof(text), "%" PRIu64, v);
    ww_jw_raw(w, text);
}

void ww_jw_i64(struct ww_jw *w, int64_t v)
{
    char text[24];
    if (v > WW_JSON_MAX_INT || v < -WW_JSON_MAX_INT) {
        refuse_integer(w);
    }
    snprintf(text, sizeof(text), "%" PRId64, v);
    ww_jw_raw(w, text);
}

/* Digits to begin with. What 15 of them do not tell, fewer do not either, as they are no
 * nearer; but below a power of two numbers lie closer than above it, so near is not all.
 */
static int least_digits(char *text, size_t text_bytes, double v)
{
    int exponent = 0;
    snprintf(text, text_bytes, "%.15g", v);
    return fabs(frexp(v, &exponent)) == 0.5 || strtod(text, NULL) == v ? 1 : 16;
}

/* Seventeen significant digits always read back. A large value without exponent would
 * look like an integer out of range, so it gets a fraction. */
static void shortest_double(char *text, size_t text_bytes, double v)
{
    for (int digits = least_digits(text, text_bytes, v); digits <= 17; digits++) {
        snprintf(text, text_bytes, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    if (!strpbrk(text, ".e") && fabs(v) > (double)WW_JSON_MAX_INT) {
        size_t n = strlen(text);
        snprintf(text + n, text_bytes - n, ".0");
    }
}

void ww_jw_double(struct ww_jw *w, double v)
{
    char text[40] = "null";
    struct ww_c_locale l;
    if (isfinite(v)) {
        if (!ww_c_locale_enter(&l)) {
            (void)WW_FAIL_MEMORY(&w->err, "a number");
        } else {
            shortest_double(text, sizeof(text), v);
            ww_c_locale_leave(&l);
        }
    }
    ww_jw_raw(w, text);
}

void ww_jw_bool(struct ww_jw *w, bool v)
{
    ww_jw_raw(w, v ? "true" : "false");
}

void ww_jw_null(struct ww_jw *w)
{
    ww_jw_raw(w, "null");
}

void ww_jw_kstr(struct ww_jw *w, const char *key, const char *s)
{
    ww_jw_key(w, key);
    ww_jw_str(w, s);
}

void ww_jw_ku64(struct ww_jw *w, const char *key, uint64_t v)
{
    ww_jw_key(w, key);
    ww_jw_u64(w, v);
}

void ww_jw_kdecimal(struct ww_jw *w, const char *key, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, v);
    ww_jw_kstr(w, key, text);
}

void ww_jw_kdouble(struct ww_jw *w, const char *key, double v)
{
    ww_jw_key(w, key);
    ww_jw_double(w, v);
}

void ww_jw_kmaybe(struct ww_jw *w, const char *key, bool known, double v)
{
    ww_jw_key(w, key);
    if (known) {
        ww_jw_double(w, v);
    } else {
        ww_jw_null(w);
    }
}

void ww_jw_kinterval(struct ww_jw *w, const char *key, bool known, double low,
                     double high)
{
    ww_jw_key(w, key);
    if (known) {
        ww_jw_array(w);
        ww_jw_double(w, low);
        ww_jw_double(w, high);
        ww_jw_close(w);
    } else {
        ww_jw_null(w);
    }
}

void ww_jw_kbool(struct ww_jw *w, const char *key, bool v)
{
    ww_jw_key(w, key);
    ww_jw_bool(w, v);
}

/* In pieces, because a digest may be of any length and the stack is not. */
void ww_jw_khex(struct ww_jw *w, const char *key, const uint8_t *bytes, size_t len)
{
    char text[WW_HEX_BYTES(32)];
    ww_jw_key(w, key);
    begin_value(w);
    put(w, "\"", 1);
    for (size_t i = 0; i < len; i += 32) {
        size_t n = len - i < 32 ? len - i : 32;
        ww_hex(text, bytes + i, n);
        put(w, text, 2 * n);
    }
    put(w, "\"", 1);
}

enum ww_err ww_jw_end(struct ww_jw *w, struct ww_error *err)
{
    WW_INVARIANT(w->depth == 0 && w->need_comma);
    if (!w->err.code) {
        return WW_OK;
    }
    if (err && !err->code) {
        *err = w->err;
    }
    return w->err.code;
}

enum ww_err ww_json_quote(const char *text, char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_buf_init(&buf, MAX_QUOTED);
    ww_jw_init(&w, &buf, 0);
    ww_jw_str(&w, text);
    const enum ww_err rc = ww_jw_end(&w, err);
    *out = rc ? NULL : (char *)ww_buf_take(&buf, NULL);
    ww_buf_release(&buf);
    return rc;
}
