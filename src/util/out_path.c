/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job writes a new folder beside the old one and never into it: the source must stay as
 * it was whatever happens. Parents are resolved, so that no link hides where OUT lies.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* what: how an error names the path, for example "folder ". */
static enum ww_err resolve(const char *what, const char *path, char **out,
                           struct ww_error *err)
{
    *out = ww_calloc(1, PATH_MAX);
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    if (!realpath(path, *out)) {
        const int sys = errno;
        ww_free(*out);
        *out = NULL;
        return WW_FAIL_SYS(err, ww_err_from_errno(sys), sys, "cannot find %s'%s'", what,
                           path);
    }
    return WW_OK;
}

static size_t trimmed_length(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len;
}

enum ww_err ww_path_last(const char *path, char **out, struct ww_error *err)
{
    char *clean = ww_strndup(path, trimmed_length(path));

    *out = clean ? ww_strdup(ww_path_base(clean)) : NULL;
    ww_free(clean);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a path");
}

static enum ww_err resolve_parent(const char *path, char **out, struct ww_error *err)
{
    char *clean = ww_strndup(path, trimmed_length(path));
    char *slash = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!clean) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    slash = strrchr(clean, '/');
    if (!slash) {
        rc = resolve("", ".", out, err);
    } else {
        *(slash == clean ? slash + 1 : slash) = '\0';
        rc = resolve("the output's folder ", clean, out, err);
    }
    ww_free(clean);
    return rc;
}

enum ww_err ww_path_check_new(const char *path, struct ww_error *err)
{
    struct stat st;

    if (lstat(path, &st) == 0) {
        return WW_FAIL(err, WW_E_EXISTS, "'%s' exists; choose another name or remove it",
                       path);
    }
    return WW_OK;
}

enum ww_err ww_path_check_output(const char *model_path, const char *out_path,
                                 struct ww_error *err)
{
    enum ww_err rc = ww_path_check_new(out_path, err);

    return rc ? rc : ww_path_check_outside(model_path, out_path, err);
}

enum ww_err ww_path_check_outside(const char *model_path, const char *out_path,
                                  struct ww_error *err)
{
    char *model = NULL;
    char *parent = NULL;
    size_t len = 0;
    enum ww_err rc = resolve("", model_path, &model, err);

    if (!rc) {
        rc = resolve_parent(out_path, &parent, err);
    }
    if (rc) {
        goto out;
    }
    len = strlen(model);
    if (strncmp(parent, model, len) == 0 && (parent[len] == '/' || parent[len] == '\0')) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "'%s' lies inside the model '%s'; name a place outside of it",
                     out_path, model_path);
    }
out:
    ww_free(model);
    ww_free(parent);
    return rc;
}
