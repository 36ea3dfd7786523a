/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer at a time. Whoever has the lock of the file that is called PATH.partial may
 * write it, remove it or give it another name, and nobody else; the lock goes with the
 * process, so a file that is not locked is left from a run that was killed. A writer that
 * took another's file for such a one would be named as the package half written.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rmm/pack_file.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err busy(const char *text, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_EXISTS,
                   "'%s' is being written by another run; try again when that is done",
                   text);
}

static bool is_called(int dirfd, const char *name, int fd)
{
    struct stat there;
    struct stat ours;

    return fstat(fd, &ours) == 0 &&
           fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

/* Locks that a file system does not have are no obstacle. */
static bool is_taken(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* What a killed run left. */
static enum ww_err remove_old(int dirfd, const char *name, const char *text,
                              struct ww_error *err)
{
    const int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    enum ww_err rc = WW_OK;
    struct stat st;

    if (fd < 0 && errno == ENOENT) {
        return WW_OK;
    }
    const bool file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (file && (is_taken(fd) || !is_called(dirfd, name, fd))) {
        rc = busy(text, err);
    } else if (unlinkat(dirfd, name, 0) != 0 && errno != ENOENT) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot write '%s'", text);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum ww_err ww_pack_partial_open(int dirfd, const char *name, const char *text, int *out,
                                 struct ww_error *err)
{
    enum ww_err rc = remove_old(dirfd, name, text, err);
    int fd = -1;

    *out = -1;
    if (rc) {
        return rc;
    }
    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        return busy(text, err);
    }
    if (fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot create '%s'", text);
    }
    /* Until it is locked it looks like one that was left. */
    if (is_taken(fd) || !is_called(dirfd, name, fd)) {
        close(fd);
        return busy(text, err);
    }
    *out = fd;
    return WW_OK;
}
