/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as text. What passes here has one spelling only, so two different strings never
 * name the same file below a folder, and no string climbs out of it.
 */
#include <string.h>

#include "util/alloc.h"
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

bool ww_path_is_bare(const char *name)
{
    return !strchr(name, '/') && component_ok(name, strlen(name));
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
