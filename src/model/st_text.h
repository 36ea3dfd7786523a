/* SPDX-License-Identifier: Apache-2.0 */
/* The lexer under the safetensors header: a cursor that reads one token at a time. */
#ifndef WW_MODEL_ST_TEXT_H
#define WW_MODEL_ST_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_st_text {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    const char *file;       /* for error texts */
    const char *tensor;     /* the one being read, or NULL outside tensors */
    char *strings;          /* decoded strings; as large as the text, so never too small */
    size_t strings_len;     /* bytes of it that are kept */
};

/** Skip white space. */
void ww_st_space(struct ww_st_text *t);

/** White space, then the next byte without taking it; -1 at the end. */
int ww_st_peek(struct ww_st_text *t);

/** White space, then exactly this byte. */
enum ww_err ww_st_expect(struct ww_st_text *t, char c, struct ww_error *err) WW_MUST_USE;

/** After a value: ',' gives more = true, the closing byte more = false. */
enum ww_err ww_st_more(struct ww_st_text *t, char close, int *more, struct ww_error *err)
    WW_MUST_USE;

/** White space, then a string, decoded to the free end of t->strings and closed by NUL;
 *  it lasts until the next call unless it is kept. NUL inside is refused. */
enum ww_err ww_st_string(struct ww_st_text *t, const char **out, size_t *len,
                         struct ww_error *err) WW_MUST_USE;
void ww_st_keep(struct ww_st_text *t, size_t len);

/** White space, then a non-negative integer below 2^64: digits only. */
enum ww_err ww_st_u64(struct ww_st_text *t, uint64_t *out, struct ww_error *err)
    WW_MUST_USE;

/** White space, then "null". */
enum ww_err ww_st_null(struct ww_st_text *t, struct ww_error *err) WW_MUST_USE;

/** "byte 17: found 'x', expected WHAT", with file and tensor in front. */
enum ww_err ww_st_unexpected(struct ww_st_text *t, const char *what,
                             struct ww_error *err);

#endif
