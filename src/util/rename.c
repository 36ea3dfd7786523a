/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of errors say what the user knows. */
#include "weightward/error.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

void ww_error_rename(struct ww_error *err, const char *from, const char *to)
{
    char old[WW_ERROR_TEXT_BYTES];
    size_t n = 0;

    if (!err || from[0] == 0) {
        return;
    }
    memcpy(old, err->text, sizeof(old));
    err->text[0] = 0;
    for (const char *at = old; *at && n + 1 < sizeof(err->text);) {
        const char *found = strstr(at, from);
        const int len = (int)(found ? found - at : (ptrdiff_t)strlen(at));
        n += (size_t)snprintf(err->text + n, sizeof(err->text) - n, "%.*s%s", len, at,
                              found ? to : "");
        at = found ? found + strlen(from) : at + len;
    }
}
