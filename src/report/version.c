/* SPDX-License-Identifier: Apache-2.0 */
/* The version has one home, project() in CMakeLists.txt. */
#include "weightward/report.h"

#include "util/alloc.h"

const char *ww_version(void)
{
    return WW_VERSION_TEXT;
}

void ww_string_free(char *s)
{
    ww_free(s);
}
