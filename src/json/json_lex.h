/* SPDX-License-Identifier: Apache-2.0 */
/* Strings and numbers inside JSON text. Internal to src/json. */
#ifndef WW_JSON_LEX_H
#define WW_JSON_LEX_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_JSON_MAX_INT INT64_C(9007199254740991) /* 2^53 - 1 */
#define WW_JSON_NUMBER_CHARS 63                   /* cJSON's buffer, less the NUL */

/**
 * Check the string whose opening quote is at *pos. NULL: good, *pos is behind the closing
 * quote. Else what is wrong, and *pos is the place.
 */
const char *ww_json_lex_string(const uint8_t *text, size_t len, size_t *pos,
                               bool *has_escape);

/** The same for the number that starts at *pos; any_integer: integers beyond 2^53-1 too.
 */
const char *ww_json_lex_number(const uint8_t *text, size_t len, bool any_integer,
                               size_t *pos);

/** Length of a word of Python's for what is no number that stands at pos; 0: none. */
size_t ww_json_lex_no_number(const uint8_t *text, size_t len, size_t pos);

/** A checked string between its quotes. */
struct ww_json_raw {
    const uint8_t *bytes;
    size_t len;
    bool has_escape;
};

/** Byte order of what the two strings mean, escapes resolved. */
int ww_json_raw_compare(const struct ww_json_raw *a, const struct ww_json_raw *b);

/** Make this thread's number format the C locale's; false when memory is out. */
struct ww_c_locale {
    locale_t c;
    locale_t before;
};
bool ww_c_locale_enter(struct ww_c_locale *l);
void ww_c_locale_leave(struct ww_c_locale *l);

#endif
