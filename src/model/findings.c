/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names from the folder are escaped the same way in findings and in errors.
 */
#include "model/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err make_room(struct ww_findings *list, struct ww_error *err)
{
    if (list->n < list->capacity) {
        return WW_OK;
    }
    uint32_t wide = list->capacity ? 2 * list->capacity : 8;
    struct ww_finding *moved = ww_realloc_array(list->items, wide, sizeof(*moved));
    if (!moved) {
        return WW_FAIL_MEMORY(err, "a finding");
    }
    list->items = moved;
    list->capacity = wide;
    return WW_OK;
}

enum ww_err ww_findings_add(struct ww_findings *list, enum ww_err code,
                            struct ww_error *err, const char *fmt, ...)
{
    char raw[WW_ERROR_TEXT_BYTES];
    char line[WW_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    enum ww_err rc = make_room(list, err);
    if (rc) {
        return rc;
    }
    ww_one_line(line, sizeof(line), raw);
    char *text = ww_strdup(line);
    if (!text) {
        return WW_FAIL_MEMORY(err, "a finding");
    }
    list->items[list->n++] = (struct ww_finding){.code = code, .text = text};
    return WW_OK;
}

void ww_findings_release(struct ww_findings *list)
{
    for (uint32_t i = 0; i < list->n; i++) {
        ww_free((void *)(uintptr_t)list->items[i].text);
    }
    ww_free(list->items);
    memset(list, 0, sizeof(*list));
}
