/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of a folder a signature leaves out: exact relative paths, no patterns. */
#ifndef WW_SIGN_IGNORE_H
#define WW_SIGN_IGNORE_H

#include "util/str.h"

/** All-zero is empty. Sorted and without duplicates once ww_ignore_ready was called. */
struct ww_ignore {
    struct ww_strlist paths;
};

/** Git's own files at the top level, which OMS leaves out of signatures by default. */
extern const char *const ww_ignore_defaults[4];
enum ww_err ww_ignore_add_defaults(struct ww_ignore *ignore,
                                   struct ww_error *err) WW_MUST_USE;
/** A path taken as it is. */
enum ww_err ww_ignore_add(struct ww_ignore *ignore, const char *path,
                          struct ww_error *err) WW_MUST_USE;
/** A path as a person gives it: relative to the folder, or absolute and inside of it.
 *  given and real are the folder's path as given and resolved. */
enum ww_err ww_ignore_add_option(struct ww_ignore *ignore, const char *given,
                                 const char *real, const char *option,
                                 struct ww_error *err) WW_MUST_USE;
void ww_ignore_ready(struct ww_ignore *ignore);
void ww_ignore_release(struct ww_ignore *ignore);

/** True when the entry itself is listed. A walk that skips listed folders thereby skips
 *  what lies below them. */
bool ww_ignore_has(const struct ww_ignore *ignore, const char *path);

#endif
