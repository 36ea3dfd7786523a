/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Regular expressions as Python's re reads them, of names: what is in them either matches
 * a whole name or does not. Characters of ASCII, '.', classes, \d \w \s and their
 * opposites, groups, '|', '*', '+', '?', counts, '^' and '$'. Names are UTF-8; of what is
 * not ASCII, '.', \w, \D, \S and classes of what is not in them take one character. Time
 * goes by the product of both lengths, whatever the expression.
 */
#ifndef WW_UTIL_PATTERN_H
#define WW_UTIL_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "weightward/error.h"

struct ww_pattern;

/** WW_E_UNSUPPORTED for what is none or has more in it (looking around, references back,
 *  flags), or has more than 4096 bytes or steps; the text says what, without naming the
 *  expression. */
enum ww_err ww_pattern_new(const char *text, struct ww_pattern **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_pattern_free(struct ww_pattern *pattern);
/** Does it match all of name? '^' is its beginning. */
bool ww_pattern_fits(struct ww_pattern *pattern, const char *name);
/** Does it match all of name, or all that follows one of its dots? In one walk. */
bool ww_pattern_fits_end(struct ww_pattern *pattern, const char *name);

/** The same for a text of letters, digits, '_', '-' and '.', which takes any character,
 * in no more time than comparing takes. False for other texts, and for names of more than
 *  visible ASCII: then *fits says nothing. */
bool ww_pattern_plain_fits_end(const char *text, const char *name, bool *fits);

#endif
