/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error list as data. Everything that depends on a code is generated from the one
 * macro list in weightward/error.h, so that a new code cannot be half added.
 */
#include "weightward/error.h"

#include <stddef.h>
#include <string.h>

#include "util/fail.h"

struct code_row {
    enum ww_err code;
    const char *name;
    const char *text;
};

static const struct code_row codes[] = {{WW_OK, "WW_OK", "success"},
#define WW_ERR_ROW(name, number, text) {name, #name, text},
                                        WW_ERR_LIST(WW_ERR_ROW)
#undef WW_ERR_ROW
};

struct class_row {
    enum ww_err_class cls;
    int exit_status;
    const char *name;
};

static const struct class_row classes[] = {
    {WW_CLASS_OK, 0, "ok"},
    {WW_CLASS_USAGE, 2, "usage"},
    {WW_CLASS_MALFORMED, 3, "malformed"},
    {WW_CLASS_SYSTEM, 4, "system"},
    {WW_CLASS_KEY, 5, "key"},
    {WW_CLASS_REFUSED, 1, "refused"},
    {WW_CLASS_UNSUPPORTED, 6, "unsupported"},
    {WW_CLASS_INTERNAL, 70, "internal"},
};

#define EXIT_INTERRUPTED 130 /* 128 + SIGINT, as shells report it */

static const struct code_row *find_code(enum ww_err code)
{
    for (size_t i = 0; i < WW_LEN(codes); i++) {
        if (codes[i].code == code) {
            return &codes[i];
        }
    }
    return NULL;
}

/* Never NULL: what is in no class counts as an internal error. */
static const struct class_row *find_class(enum ww_err_class cls)
{
    for (size_t i = 0; i < WW_LEN(classes); i++) {
        if (classes[i].cls == cls) {
            return &classes[i];
        }
    }
    return &classes[WW_LEN(classes) - 1];
}

void ww_error_clear(struct ww_error *err)
{
    if (err) {
        memset(err, 0, sizeof(*err));
    }
}

const char *ww_err_name(enum ww_err code)
{
    const struct code_row *row = find_code(code);
    return row ? row->name : "WW_E_?";
}

const char *ww_err_text(enum ww_err code)
{
    const struct code_row *row = find_code(code);
    return row ? row->text : "unknown error";
}

enum ww_err_class ww_err_class_of(enum ww_err code)
{
    return find_class((enum ww_err_class)((unsigned)code / 100))->cls;
}

const char *ww_err_class_name(enum ww_err_class cls)
{
    return find_class(cls)->name;
}

int ww_err_exit_status(enum ww_err code)
{
    if (code == WW_E_CANCELLED) {
        return EXIT_INTERRUPTED;
    }
    return find_class(ww_err_class_of(code))->exit_status;
}
