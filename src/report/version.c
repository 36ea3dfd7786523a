/* SPDX-License-Identifier: Apache-2.0 */
/* The version has one home, project() in CMakeLists.txt. */
#include "weightward/report.h"

const char *ww_version(void)
{
    return WW_VERSION_TEXT;
}
