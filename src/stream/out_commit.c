/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moment an output folder becomes visible. Files were flushed when they were written;
 * here the folders follow, bottom to top does not matter as none can be seen yet, then
 * the rename, then the parent. Were the last step to fail, the name could be lost in a
 * power cut while the caller was told of success: so the rename is taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream/out.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err flush_folder(void *payload, const struct ww_walk_entry *entry,
                                bool *skip, struct ww_error *err)
{
    const int *dirfd = payload;

    (void)skip;
    if (entry->type != S_IFDIR) {
        return WW_OK;
    }
    int fd = openat(*dirfd, entry->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot open folder '%s'", entry->path);
    }
    enum ww_err rc = ww_fsync(fd, entry->path, err);
    close(fd);
    return rc;
}

static void take_back(const struct ww_out *out)
{
    struct stat ours;
    struct stat there;

    if (fstat(out->dirfd, &ours) == 0 &&
        fstatat(out->parent, out->base, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        renameat2(out->parent, out->base, out->parent, out->partial, RENAME_NOREPLACE);
    }
}

enum ww_err ww_out_commit(struct ww_out *out, struct ww_error *err)
{
    if (!out->complete || out->committed) {
        return WW_FAIL(err, WW_E_USAGE, "folder '%s' is not complete, or done already",
                       out->partial);
    }
    enum ww_err rc = ww_walk(out->dirfd, flush_folder, &out->dirfd, err);
    if (rc) {
        return rc;
    }
    rc = ww_rename_at(out->dirfd, WW_OUT_JOURNAL, out->parent, out->spare, true, err);
    if (rc) {
        return rc;
    }
    rc = ww_fsync(out->dirfd, out->partial, err);
    if (rc) {
        return rc;
    }
    rc = ww_rename_at(out->parent, out->partial, out->parent, out->base, false, err);
    if (rc) {
        take_back(out);
        return rc;
    }
    out->committed = true;
    unlinkat(out->parent, out->spare, 0);
    return WW_OK;
}
