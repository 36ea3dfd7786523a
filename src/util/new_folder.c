/* SPDX-License-Identifier: Apache-2.0 */
#include "util/new_folder.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err make(int parent, const char *partial, struct ww_error *err)
{
    const int failed = mkdirat(parent, partial, 0755) ? errno : 0;

    return failed == EEXIST
               ? WW_FAIL(err, WW_E_EXISTS,
                         "folder '%s' exists, an interrupted run left it; remove it",
                         partial)
           : failed ? WW_FAIL_SYS(err, ww_err_from_errno(failed), failed,
                                  "cannot make folder '%s'", partial)
                    : WW_OK;
}

/* clean: the path without slashes at its end; partial: its other name, as a path. */
static enum ww_err make_at(int parent, const char *clean, const char *partial,
                           ww_fill_fn fill, void *payload, struct ww_error *err)
{
    const char *made = ww_path_base(partial);
    enum ww_err rc = make(parent, made, err);

    if (rc) {
        return rc;
    }
    rc = fill(payload, partial, err);
    if (!rc) {
        rc = ww_rename_at(parent, made, parent, ww_path_base(clean), false, err);
    }
    if (rc && ww_remove_tree_at(parent, made, NULL)) {
        ww_error_context(err, "folder '%s' stays behind", made);
    }
    return rc;
}

enum ww_err ww_new_folder(const char *path, ww_fill_fn fill, void *payload,
                          struct ww_error *err)
{
    size_t len = strlen(path);
    char *clean = NULL;
    char *partial = NULL;
    int parent = -1;
    enum ww_err rc = ww_path_check_new(path, err);

    if (rc) {
        return rc;
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    clean = ww_strndup(path, len);
    partial = clean ? ww_asprintf("%s.partial", clean) : NULL;
    rc = partial ? ww_dir_open_of(clean, &parent, err) : WW_FAIL_MEMORY(err, "a path");
    if (!rc) {
        rc = make_at(parent, clean, partial, fill, payload, err);
        close(parent);
    }
    ww_free(clean);
    ww_free(partial);
    return rc;
}
