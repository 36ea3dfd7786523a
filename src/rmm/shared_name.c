/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own, so that a program that verifies has no more of it than names. */
#include <string.h>

#include "rmm/shared.h"
#include "util/num.h"
#include "util/fail.h"

static const char *const names[] = {"none", "rows", "core"};

const char *ww_shared_codec_name(enum ww_shared_codec codec)
{
    return (unsigned)codec < WW_LEN(names) ? names[codec] : "?";
}

bool ww_shared_codec_parse(const char *name, enum ww_shared_codec *out)
{
    for (unsigned c = WW_SHARED_NONE + 1; c < WW_LEN(names); c++) {
        if (strcmp(name, names[c]) == 0) {
            *out = (enum ww_shared_codec)c;
            return true;
        }
    }
    return false;
}
