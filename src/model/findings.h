/* SPDX-License-Identifier: Apache-2.0 */
/* The list of things a person should know about a folder. All-zero is empty. */
#ifndef WW_MODEL_FINDINGS_H
#define WW_MODEL_FINDINGS_H

#include "weightward/model.h"

struct ww_findings {
    struct ww_finding *items; /* texts are owned */
    uint32_t n;
    uint32_t capacity;
};

/** code is what a lock must refuse the folder with, WW_OK for a mere remark. */
enum ww_err ww_findings_add(struct ww_findings *list, enum ww_err code,
                            struct ww_error *err, const char *fmt, ...) WW_MUST_USE
    WW_PRINTF(4, 5);
void ww_findings_release(struct ww_findings *list);

#endif
