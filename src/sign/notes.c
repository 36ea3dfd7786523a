/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded, because a hostile folder could hold a million ignored files, and sentences
 * that nobody reads to the end warn of nothing.
 */
#include "sign/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/fail.h"

#define NOTES_MAX 200
#define NOTE_BYTES 1024

enum ww_err ww_notes_add(struct ww_notes *notes, struct ww_error *err, const char *fmt,
                         ...)
{
    char text[NOTE_BYTES];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0) {
        return WW_FAIL(err, WW_E_INTERNAL, "text cannot be formatted");
    }
    /* A long name may have been cut inside of a character. */
    for (size_t len = strlen(text); len > 0; len--) {
        if (ww_utf8_ok((const uint8_t *)text, len)) {
            text[len] = '\0';
            break;
        }
    }
    if (ww_strlist_has(&notes->list, text)) {
        return WW_OK;
    }
    if (notes->list.n >= NOTES_MAX) {
        notes->n_dropped++;
        return WW_OK;
    }
    return ww_strlist_add(&notes->list, text, err);
}

enum ww_err ww_notes_take(struct ww_notes *notes, char ***items, size_t *n,
                          struct ww_error *err)
{
    if (notes->n_dropped) {
        char text[64];
        snprintf(text, sizeof(text), "and %zu more", notes->n_dropped);
        enum ww_err rc = ww_strlist_add(&notes->list, text, err);
        if (rc) {
            return rc;
        }
    }
    *items = notes->list.items;
    *n = notes->list.n;
    memset(notes, 0, sizeof(*notes));
    return WW_OK;
}

void ww_notes_release(struct ww_notes *notes)
{
    if (notes) {
        ww_strlist_release(&notes->list);
        notes->n_dropped = 0;
    }
}
