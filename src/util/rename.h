/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of errors say what the user knows. */
#ifndef WW_UTIL_RENAME_H
#define WW_UTIL_RENAME_H

#include "weightward/error.h"

/** Call `from`, a path that is there for a while, `to` wherever it stands in the text.
 *  err may be NULL. */
void ww_error_rename(struct ww_error *err, const char *from, const char *to);

#endif
