/* SPDX-License-Identifier: Apache-2.0 */
/* What a verification did not look at, in sentences for the report. */
#ifndef WW_SIGN_NOTES_H
#define WW_SIGN_NOTES_H

#include "util/str.h"

/** All-zero is empty. A sentence is kept once; beyond a limit they are counted alone. */
struct ww_notes {
    struct ww_strlist list;
    size_t n_dropped;
};

enum ww_err ww_notes_add(struct ww_notes *notes, struct ww_error *err, const char *fmt,
                         ...) WW_MUST_USE WW_PRINTF(3, 4);
/** Give the sentences away; the last says how many were dropped. */
enum ww_err ww_notes_take(struct ww_notes *notes, char ***items, size_t *n,
                          struct ww_error *err) WW_MUST_USE;
void ww_notes_release(struct ww_notes *notes);

#endif
