/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ignore rules of OMS 1.0, section 6.2: an entry names one path and what lies below
 * it. Nothing is a pattern, nothing matches a prefix of a name, and git's files are left
 * out at the top level only; each looser rule would be a place to hide a file.
 */
#include "sign/ignore.h"
#include "sign/statement.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

const char *const ww_ignore_defaults[4] = {".git", ".gitattributes", ".github",
                                           ".gitignore"};

enum ww_err ww_ignore_add(struct ww_ignore *ignore, const char *path,
                          struct ww_error *err)
{
    return ww_strlist_add(&ignore->paths, path, err);
}

enum ww_err ww_ignore_add_defaults(struct ww_ignore *ignore, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(ww_ignore_defaults) && !rc; i++) {
        rc = ww_ignore_add(ignore, ww_ignore_defaults[i], err);
    }
    return rc;
}

/* What follows folder in path, NULL when path does not lie in it. */
static const char *below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    while (len > 0 && folder[len - 1] == '/') {
        len--;
    }
    return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

bool ww_oms_leaves_out(const char *path)
{
    for (size_t i = 0; i < WW_LEN(ww_ignore_defaults); i++) {
        if (strcmp(path, ww_ignore_defaults[i]) == 0 ||
            below(path, ww_ignore_defaults[i])) {
            return true;
        }
    }
    return false;
}

/* "./a//b/" becomes "a/b". In place. */
static void tidy(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t len = strcspn(from, "/");
        bool is_dot = len == 1 && from[0] == '.';
        if (len > 0 && !is_dot) {
            if (to != path) {
                *to++ = '/';
            }
            memmove(to, from, len);
            to += len;
        }
        from += len;
        from += strspn(from, "/");
    }
    *to = '\0';
}

enum ww_err ww_ignore_add_option(struct ww_ignore *ignore, const char *given,
                                 const char *real, const char *option,
                                 struct ww_error *err)
{
    const char *relative = option;
    char *path = NULL;
    enum ww_err rc = WW_OK;

    if (option[0] == '/') {
        relative = below(option, given);
        if (!relative) {
            relative = below(option, real);
        }
        if (!relative) {
            return WW_FAIL(err, WW_E_USAGE, "path to ignore '%s' lies outside of '%s'",
                           option, given);
        }
    }
    path = ww_strdup(relative);
    if (!path) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    tidy(path);
    if (!ww_path_is_relative(path)) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "path to ignore '%s' must name an entry of the folder, without '..'",
                     option);
        goto out;
    }
    rc = ww_ignore_add(ignore, path, err);
out:
    ww_free(path);
    return rc;
}

void ww_ignore_ready(struct ww_ignore *ignore)
{
    struct ww_strlist *list = &ignore->paths;
    size_t kept = 0;

    ww_strlist_sort(list);
    for (size_t i = 0; i < list->n; i++) {
        if (kept > 0 && strcmp(list->items[kept - 1], list->items[i]) == 0) {
            ww_free(list->items[i]);
        } else {
            list->items[kept++] = list->items[i];
        }
    }
    list->n = kept;
}

void ww_ignore_release(struct ww_ignore *ignore)
{
    if (ignore) {
        ww_strlist_release(&ignore->paths);
    }
}

static int compare_path(const void *key, const void *item)
{
    return strcmp(key, *(char *const *)item);
}

bool ww_ignore_has(const struct ww_ignore *ignore, const char *path)
{
    const struct ww_strlist *list = &ignore->paths;

    return list->n &&
           bsearch(path, list->items, list->n, sizeof(*list->items), compare_path);
}
