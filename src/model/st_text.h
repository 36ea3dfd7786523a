/* SPDX-License-Identifier: Apache-2.0 */
/* The lexer under the safetensors header: a cursor that reads one token at a time. */
#ifndef WW_MODEL_ST_TEXT_H
#define WW_MODEL_ST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weightward/error.h"

#define WW_ST_SLACK 16 /* bytes that a string may write behind its end */

struct ww_st_text {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    const char *file;   /* for error texts */
    const char *tensor; /* the one being read, or NULL outside tensors */
    char *strings;      /* decoded strings: room for the text and WW_ST_SLACK */
    size_t strings_len; /* bytes of it that are kept */
};

/** Skip white space. */
static inline void ww_st_space(struct ww_st_text *t)
{
    while (t->at < t->end &&
           (*t->at == ' ' || *t->at == '\n' || *t->at == '\r' || *t->at == '\t')) {
        t->at++;
    }
}

/** White space, then the next byte without taking it; -1 at the end. */
static inline int ww_st_peek(struct ww_st_text *t)
{
    ww_st_space(t);
    return t->at < t->end ? *t->at : -1;
}

/** "byte 17: found 'x', expected WHAT", with file and tensor in front. */
enum ww_err ww_st_unexpected(struct ww_st_text *t, const char *what,
                             struct ww_error *err);

/** White space, then this text if it stands there; true when it was taken. */
static inline bool ww_st_literal(struct ww_st_text *t, const char *text, size_t len)
{
    ww_st_space(t);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, text, len) != 0) {
        return false;
    }
    t->at += len;
    return true;
}

/** White space, then exactly this byte. */
static inline enum ww_err ww_st_expect(struct ww_st_text *t, char c, struct ww_error *err)
{
    if (ww_st_peek(t) != c) {
        char what[4] = {'\'', c, '\'', '\0'};
        return ww_st_unexpected(t, what, err);
    }
    t->at++;
    return WW_OK;
}

/** After a value: ',' gives more = true, the closing byte more = false. */
static inline enum ww_err ww_st_more(struct ww_st_text *t, char close, bool *more,
                                     struct ww_error *err)
{
    int c = ww_st_peek(t);
    if (c != ',' && c != close) {
        char what[] = {'\'', ',', '\'', ' ', 'o', 'r', ' ', '\'', close, '\'', '\0'};
        return ww_st_unexpected(t, what, err);
    }
    t->at++;
    *more = c == ',';
    return WW_OK;
}

/** White space, then a string, decoded to the free end of t->strings and closed by NUL;
 *  it lasts until the next call unless it is kept. NUL inside is refused. */
enum ww_err ww_st_string(struct ww_st_text *t, const char **out, size_t *len,
                         struct ww_error *err) WW_MUST_USE;
void ww_st_keep(struct ww_st_text *t, size_t len);

/** White space, then a non-negative integer below 2^64: digits only. */
enum ww_err ww_st_u64(struct ww_st_text *t, uint64_t *out,
                      struct ww_error *err) WW_MUST_USE;

#endif
