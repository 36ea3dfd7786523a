/* SPDX-License-Identifier: Apache-2.0 */
#include "weightward/report.h"

#include <string.h>

#include "util/fs.h"

enum ww_err ww_report_save(const char *path, const char *text, struct ww_error *err)
{
    return ww_file_write(path, text, strlen(text), 0644, false, err);
}
