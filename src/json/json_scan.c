/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict scan: RFC 8259 as a state machine with its own stack of open containers, so
 * that nesting costs no C stack and is bounded before anything is built.
 *
 * Duplicate keys: the keys of an open object are kept in a list and sorted when it
 * closes. Sorting was chosen over hashing because its worst case is n log n whatever the
 * keys are; a hash table would need a secret seed to say the same.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "json/json_lex.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_DEPTH 64
#define SHOWN_KEY 80 /* how much of a key an error quotes */

const struct ww_json_limits ww_json_limits_config = {16u << 20, 32, 1000000, true};
const struct ww_json_limits ww_json_limits_bundle = {64u << 20, 32, 4000000, false};
const struct ww_json_limits ww_json_limits_small = {1u << 20, 16, 65536, false};

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COLON,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING
};

static const char *const expected_text[] = {
    [EXPECT_VALUE] = "a value",
    [EXPECT_VALUE_OR_END] = "a value or ']'",
    [EXPECT_KEY] = "a key in double quotes",
    [EXPECT_KEY_OR_END] = "a key in double quotes or '}'",
    [EXPECT_COLON] = "':'",
    [EXPECT_COMMA_OR_END] = "',' or the closing bracket",
    [EXPECT_NOTHING] = "the end of the text",
};

struct frame {
    bool is_object;
    size_t first_key; /* index in the list of keys */
};

struct scan {
    const uint8_t *text;
    size_t len;
    size_t pos;
    const struct ww_json_limits *limits;
    size_t n_nodes;
    enum expect expect;
    struct frame frames[MAX_DEPTH];
    unsigned depth;
    struct ww_json_raw *keys; /* of all open objects, innermost last */
    size_t n_keys;
    size_t key_capacity;
    struct ww_error *err;
};

static enum ww_err refuse(struct scan *s, enum ww_err code, size_t pos, const char *fmt,
                          ...) WW_PRINTF(4, 5);

/* Columns count characters, from 1. */
static enum ww_err refuse(struct scan *s, enum ww_err code, size_t pos, const char *fmt,
                          ...)
{
    char what[300];
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < pos && i < s->len; i++) {
        if (s->text[i] == '\n') {
            line++;
            column = 1;
        } else if ((s->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    /* Most often another kind of file was given. */
    const bool none =
        code == WW_E_JSON && s->len && !s->depth && s->expect == EXPECT_VALUE;
    return WW_FAIL(s->err, code, "JSON line %zu, column %zu: %s%s", line, column, what,
                   none ? "; this is no JSON document" : "");
}

static enum ww_err refuse_found(struct scan *s)
{
    const char *expected = expected_text[s->expect];
    if (s->pos >= s->len) {
        return refuse(s, WW_E_JSON, s->pos, "the text ends, expected %s", expected);
    }
    uint8_t c = s->text[s->pos];
    if (c <= 0x20 || c >= 0x7f) {
        return refuse(s, WW_E_JSON, s->pos, "found byte 0x%02x, expected %s", c,
                      expected);
    }
    return refuse(s, WW_E_JSON, s->pos, "found '%c', expected %s", c, expected);
}

static void skip_space(struct scan *s)
{
    while (s->pos < s->len) {
        uint8_t c = s->text[s->pos];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        }
        s->pos++;
    }
}

/* What comes after a complete value. */
static void value_done(struct scan *s)
{
    s->expect = s->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static enum ww_err open_container(struct scan *s, bool is_object)
{
    if (s->depth >= s->limits->max_depth) {
        return refuse(s, WW_E_LIMIT, s->pos, "nested deeper than %u",
                      s->limits->max_depth);
    }
    s->frames[s->depth].is_object = is_object;
    s->frames[s->depth].first_key = s->n_keys;
    s->depth++;
    s->pos++;
    s->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return WW_OK;
}

static enum ww_err add_key(struct scan *s, struct ww_json_raw key)
{
    if (s->n_keys == s->key_capacity) {
        size_t capacity = s->key_capacity ? 2 * s->key_capacity : 64;
        struct ww_json_raw *keys = ww_realloc_array(s->keys, capacity, sizeof(*keys));
        if (!keys) {
            return WW_FAIL_MEMORY(s->err, "%zu JSON keys", capacity);
        }
        s->keys = keys;
        s->key_capacity = capacity;
    }
    s->keys[s->n_keys++] = key;
    return WW_OK;
}

/* By meaning, then by place, so that of two equal keys the later one is the culprit. */
static int compare_keys(const void *a, const void *b)
{
    const struct ww_json_raw *x = a;
    const struct ww_json_raw *y = b;
    int order = ww_json_raw_compare(x, y);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static enum ww_err check_duplicates(struct scan *s, struct ww_json_raw *keys, size_t n)
{
    const struct ww_json_raw *culprit = NULL;
    if (n < 2) {
        return WW_OK;
    }
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < n; i++) {
        bool same = ww_json_raw_compare(&keys[i - 1], &keys[i]) == 0;
        if (same && (!culprit || keys[i].bytes < culprit->bytes)) {
            culprit = &keys[i];
        }
    }
    if (!culprit) {
        return WW_OK;
    }
    int shown = culprit->len < SHOWN_KEY ? (int)culprit->len : SHOWN_KEY;
    return refuse(s, WW_E_JSON, (size_t)(culprit->bytes - s->text) - 1,
                  "key '%.*s' appears twice in one object", shown,
                  (const char *)culprit->bytes);
}

static enum ww_err close_container(struct scan *s)
{
    const struct frame *frame = &s->frames[s->depth - 1];
    if (s->text[s->pos] != (frame->is_object ? '}' : ']')) {
        return refuse_found(s);
    }
    size_t n = s->n_keys - frame->first_key;
    enum ww_err rc = n ? check_duplicates(s, s->keys + frame->first_key, n) : WW_OK;
    if (rc) {
        return rc;
    }
    s->n_keys = frame->first_key;
    s->depth--;
    s->pos++;
    value_done(s);
    return WW_OK;
}

static enum ww_err take_string(struct scan *s, struct ww_json_raw *raw)
{
    size_t start = s->pos;
    size_t at = s->pos;
    bool has_escape = false;
    const char *wrong = ww_json_lex_string(s->text, s->len, &at, &has_escape);
    if (wrong) {
        return refuse(s, WW_E_JSON, at, "%s", wrong);
    }
    raw->bytes = s->text + start + 1;
    raw->len = at - start - 2;
    raw->has_escape = has_escape;
    s->pos = at;
    return WW_OK;
}

static enum ww_err take_key(struct scan *s)
{
    struct ww_json_raw key = {0};
    if (s->text[s->pos] != '"') {
        return refuse_found(s);
    }
    enum ww_err rc = take_string(s, &key);
    if (rc) {
        return rc;
    }
    s->expect = EXPECT_COLON;
    return add_key(s, key);
}

static enum ww_err take_word(struct scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t n = s->limits->python ? ww_json_lex_no_number(s->text, s->len, s->pos) : 0;
    for (size_t i = 0; i < WW_LEN(words) && n == 0; i++) {
        const size_t len = strlen(words[i]);
        n = s->len - s->pos >= len && memcmp(s->text + s->pos, words[i], len) == 0 ? len
                                                                                   : 0;
    }
    if (n == 0) {
        return refuse_found(s);
    }
    s->pos += n;
    value_done(s);
    return WW_OK;
}

static enum ww_err take_number(struct scan *s)
{
    size_t at = s->pos;
    const char *wrong = ww_json_lex_number(s->text, s->len, s->limits->python, &at);
    if (wrong) {
        return refuse(s, WW_E_JSON, at, "%s", wrong);
    }
    s->pos = at;
    value_done(s);
    return WW_OK;
}

static enum ww_err take_value(struct scan *s)
{
    uint8_t c = s->text[s->pos];
    if (s->n_nodes++ == s->limits->max_nodes) {
        return refuse(s, WW_E_LIMIT, s->pos, "more than %zu values",
                      s->limits->max_nodes);
    }
    if (c == '{' || c == '[') {
        return open_container(s, c == '{');
    }
    if (c == '"') {
        struct ww_json_raw unused = {0};
        enum ww_err rc = take_string(s, &unused);
        value_done(s);
        return rc;
    }
    const bool is_word = c == '-' && s->limits->python &&
                         ww_json_lex_no_number(s->text, s->len, s->pos) > 0;
    if (!is_word && (c == '-' || (c >= '0' && c <= '9'))) {
        return take_number(s);
    }
    return take_word(s);
}

static enum ww_err take_comma(struct scan *s)
{
    if (s->text[s->pos] != ',') {
        return close_container(s);
    }
    s->pos++;
    s->expect = s->frames[s->depth - 1].is_object ? EXPECT_KEY : EXPECT_VALUE;
    return WW_OK;
}

static enum ww_err take_colon(struct scan *s)
{
    if (s->text[s->pos] != ':') {
        return refuse_found(s);
    }
    s->pos++;
    s->expect = EXPECT_VALUE;
    return WW_OK;
}

static enum ww_err take_token(struct scan *s)
{
    uint8_t c = s->text[s->pos];
    switch (s->expect) {
    case EXPECT_VALUE:
        return take_value(s);
    case EXPECT_VALUE_OR_END:
        return c == ']' ? close_container(s) : take_value(s);
    case EXPECT_KEY:
        return take_key(s);
    case EXPECT_KEY_OR_END:
        return c == '}' ? close_container(s) : take_key(s);
    case EXPECT_COLON:
        return take_colon(s);
    case EXPECT_COMMA_OR_END:
        return take_comma(s);
    case EXPECT_NOTHING:
        return refuse_found(s);
    }
    return WW_FAIL(s->err, WW_E_INTERNAL, "JSON scan in an unknown state");
}

enum ww_err ww_json_check(const uint8_t *text, size_t len,
                          const struct ww_json_limits *limits, struct ww_error *err)
{
    struct scan s = {.text = text, .len = len, .limits = limits, .err = err};
    if (limits->max_depth > MAX_DEPTH) {
        return WW_FAIL(err, WW_E_USAGE, "JSON depth limit %u, at most %d are supported",
                       limits->max_depth, MAX_DEPTH);
    }
    if (len > limits->max_bytes) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "JSON text of %zu bytes, at most %zu are accepted", len,
                       limits->max_bytes);
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        return WW_FAIL(err, WW_E_JSON,
                       "JSON line 1, column 1: found a byte order mark; "
                       "save the file without it");
    }
    enum ww_err rc = WW_OK;
    for (skip_space(&s); s.pos < s.len && !rc; skip_space(&s)) {
        rc = take_token(&s);
    }
    if (!rc && s.expect != EXPECT_NOTHING) {
        rc = refuse_found(&s);
    }
    ww_free(s.keys);
    return rc;
}
