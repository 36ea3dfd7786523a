/* SPDX-License-Identifier: Apache-2.0 */
/* Text helpers: hex, UTF-8, decimal numbers, sorted name lists, nearest name. */
#ifndef WW_UTIL_STR_H
#define WW_UTIL_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_HEX_BYTES(n) (2 * (n) + 1)

/** Lower-case hex, NUL-terminated. */
void ww_hex(char *out, const uint8_t *bytes, size_t len);

/** Parse exactly len bytes of lower-case hex; false on anything else. */
bool ww_unhex(uint8_t *out, size_t len, const char *hex, size_t hex_len);

/** True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms). */
bool ww_utf8_ok(const uint8_t *bytes, size_t len);

/** Length of the well-formed UTF-8 sequence at the start, 0 when there is none; *code
 *  (may be NULL) is the code point. */
size_t ww_utf8_next(const uint8_t *bytes, size_t len, uint32_t *code);

/** True when the bytes are UTF-8 without any control character (C0, DEL, C1). */
bool ww_text_ok(const uint8_t *bytes, size_t len);

/** Decimal digits only, no sign, no leading zero but "0"; false on overflow. */
bool ww_parse_u64(const char *s, size_t len, uint64_t *out);

bool ww_str_eq(const char *a, const char *b); /* NULL equals NULL only */
/** Equal but for the case of ASCII letters, whatever the locale. */
bool ww_str_eq_word(const char *a, const char *b);
bool ww_str_starts(const char *s, const char *prefix);
bool ww_str_ends(const char *s, const char *suffix);

/** Glob with '*' (any run, also of dots and none) and '{l}', '{e}' (all digits at that
 *  place, at least one). Linear in practice: no pattern makes it exponential. */
bool ww_str_glob(const char *pattern, const char *s);

/** The candidate closest to word by edit distance, NULL when none is near. */
const char *ww_str_nearest(const char *word, const char *const *candidates, size_t n);

/** Growing list of owned strings. All-zero is an empty list. */
struct ww_strlist {
    char **items;
    size_t n;
    size_t capacity;
};

enum ww_err ww_strlist_add(struct ww_strlist *list, const char *s,
                           struct ww_error *err) WW_MUST_USE;
/** Linear search. */
bool ww_strlist_has(const struct ww_strlist *list, const char *s);
/** Sort by code point (byte order of UTF-8). */
void ww_strlist_sort(struct ww_strlist *list);
void ww_strlist_release(struct ww_strlist *list);
/** Append one formatted line of at most 511 bytes to an array of n of them, as reports
 * keep their warnings. */
enum ww_err ww_lines_add(char ***lines, size_t *n, struct ww_error *err, const char *fmt,
                         ...) WW_MUST_USE WW_PRINTF(4, 5);

#endif
