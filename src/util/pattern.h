/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Regular expressions as Python's re reads them, of names: what is in them either matches
 * a whole name or does not. Characters, '.', classes, \d \w \s and their opposites,
 * groups,
 * '|', '*', '+', '?', counts, '^' and '$'. Time goes by the product of both lengths,
 * whatever the expression.
 */
#ifndef WW_UTIL_PATTERN_H
#define WW_UTIL_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "weightward/error.h"

struct ww_pattern;

/** WW_E_UNSUPPORTED for what is none or has more in it (looking around, references back,
 *  flags), or has more than 4096 steps; the text says what, without naming the
 * expression.
 */
enum ww_err ww_pattern_new(const char *text, struct ww_pattern **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_pattern_free(struct ww_pattern *pattern);
/** Does it match all of name from byte `from` on? '^' is the beginning of the name. */
bool ww_pattern_fits(struct ww_pattern *pattern, const char *name, size_t from);

#endif
