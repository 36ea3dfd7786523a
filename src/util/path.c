/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as text. What passes here has one spelling only, so two different strings never
 * name the same file below a folder, and no string climbs out of it.
 */
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define NAME_BYTES 255  /* NAME_MAX on Linux */
#define PATH_BYTES 4095 /* PATH_MAX less the terminating NUL */

static bool component_ok(const char *name, size_t len)
{
    if (len == 0 || len > NAME_BYTES || !ww_text_ok((const uint8_t *)name, len)) {
        return false;
    }
    bool dots = name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
    return !dots;
}

const char *ww_path_fault(const char *name)
{
    const size_t len = strlen(name);

    if (component_ok(name, len) && !strchr(name, '/')) {
        return NULL;
    }
    return len == 0            ? "is empty"
           : len > NAME_BYTES  ? "is longer than 255 bytes"
           : strchr(name, '/') ? "holds a '/'"
           : ww_text_ok((const uint8_t *)name, len)
               ? "is no name"
               : "is not UTF-8 or holds control characters";
}

bool ww_path_is_bare(const char *name)
{
    return !ww_path_fault(name);
}

bool ww_path_is_relative(const char *path)
{
    if (strlen(path) > PATH_BYTES) {
        return false;
    }
    for (;;) {
        size_t len = strcspn(path, "/");
        if (!component_ok(path, len)) {
            return false;
        }
        if (path[len] == '\0') {
            return true;
        }
        path += len + 1;
    }
}

enum ww_err ww_path_check_relative(const char *path, struct ww_error *err)
{
    return ww_path_is_relative(path)
               ? WW_OK
               : WW_FAIL(err, WW_E_PATH,
                         "path '%s' is not a plain path below the folder: names of UTF-8 "
                         "without control characters, none of them '.' or '..', with one "
                         "'/' between them",
                         path);
}

char *ww_path_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    bool has_slash = n > 0 && a[n - 1] == '/';
    return ww_asprintf("%s%s%s", a, n == 0 || has_slash ? "" : "/", b);
}

const char *ww_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *ww_path_folder(const char *path)
{
    const char *base = ww_path_base(path);
    if (base == path) {
        return ww_strdup(".");
    }
    const size_t len = (size_t)(base - path) - 1;
    return len ? ww_strndup(path, len) : ww_strdup("/");
}
