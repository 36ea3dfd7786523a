/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the model and saying where its signature lies. The signature file is never part
 * of what it signs (OMS 1.0, section 6.2), so its place is found by resolved paths: two
 * spellings of one place must not make it look like an extra file.
 */
#include "sign/target.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err resolve(const char *path, char **out, struct ww_error *err)
{
    char *room = ww_calloc(1, PATH_MAX);
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!room) {
        rc = WW_FAIL_MEMORY(err, "a path");
        goto out;
    }
    if (!realpath(path, room)) {
        int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot find '%s'", path);
        goto out;
    }
    *out = room;
    room = NULL;
out:
    ww_free(room);
    return rc;
}

/* Turn the resolved path of a file into its folder and its name. */
static enum ww_err split_file(struct ww_target *target, struct ww_error *err)
{
    char *slash = strrchr(target->real, '/');

    target->file = ww_strdup(slash + 1);
    if (!target->file) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    slash[slash == target->real ? 1 : 0] = '\0';
    return WW_OK;
}

enum ww_err ww_target_open(const char *path, struct ww_target *out, struct ww_error *err)
{
    struct stat st;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->dirfd = -1;
    out->given = path;
    rc = resolve(path, &out->real, err);
    if (rc) {
        goto out;
    }
    if (stat(out->real, &st) == 0 && S_ISREG(st.st_mode)) {
        rc = split_file(out, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_dir_open(out->real, &out->dirfd, err);
out:
    if (rc) {
        ww_target_release(out);
    }
    return rc;
}

void ww_target_release(struct ww_target *target)
{
    if (!target) {
        return;
    }
    if (target->real && target->dirfd >= 0) {
        close(target->dirfd);
    }
    ww_free(target->real);
    ww_free(target->file);
    ww_free(target->signature);
    memset(target, 0, sizeof(*target));
    target->dirfd = -1;
}

const char *ww_target_name(const struct ww_target *target)
{
    const char *name = target->file ? target->file : ww_path_base(target->real);

    return ww_path_is_bare(name) ? name : "model";
}

enum ww_err ww_target_place_signature(struct ww_target *target, const char *path,
                                      struct ww_error *err)
{
    const char *base = ww_path_base(path);
    char *folder = ww_path_folder(path);
    char *real = NULL;
    size_t len = strlen(target->real);
    enum ww_err rc = WW_OK;

    if (!folder) {
        rc = WW_FAIL_MEMORY(err, "a path");
        goto out;
    }
    rc = resolve(folder, &real, err);
    if (rc) {
        goto out;
    }
    if (strncmp(real, target->real, len) != 0 ||
        (real[len] != '/' && real[len] != '\0')) {
        goto out;
    }
    target->signature = real[len] ? ww_path_join(real + len + 1, base) : ww_strdup(base);
    if (!target->signature) {
        rc = WW_FAIL_MEMORY(err, "a path");
    }
out:
    ww_free(real);
    ww_free(folder);
    return rc;
}
