/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer at a time. Whoever has the lock of the file that is called PATH.partial may
 * write it, remove it or give it another name, and nobody else; the lock goes with the
 * process, so a file that is not locked is left from a run that was killed. A writer that
 * took another's file for such a one would have it named half written.
 */
#include "util/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/fail.h"
#include "util/fs.h"

#define STEP_MS 5u

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
static enum ww_err remove_old(int dirfd, const char *name, const char *text, bool *busy,
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
        *busy = true;
    } else if (unlinkat(dirfd, name, 0) != 0 && errno != ENOENT) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot write '%s'", text);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum ww_err try_open(int dirfd, const char *name, const char *text, mode_t mode,
                            int *out, bool *busy, struct ww_error *err)
{
    *busy = false;
    enum ww_err rc = remove_old(dirfd, name, text, busy, err);
    if (rc || *busy) {
        return rc;
    }
    const int fd =
        openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        const int e = errno;
        *busy = e == EEXIST;
        return *busy ? WW_OK
                     : WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot create '%s'",
                                   text);
    }
    /* Until it is locked it looks like one that was left. */
    *busy = is_taken(fd) || !is_called(dirfd, name, fd);
    if (*busy) {
        close(fd);
        return WW_OK;
    }
    *out = fd;
    return WW_OK;
}

enum ww_err ww_partial_open(int dirfd, const char *name, const char *text, mode_t mode,
                            unsigned wait_ms, int *fd, struct ww_error *err)
{
    const struct timespec step = {0, STEP_MS * 1000000L};
    bool busy = false;

    *fd = -1;
    enum ww_err rc = try_open(dirfd, name, text, mode, fd, &busy, err);
    for (unsigned waited = 0; !rc && busy && waited < wait_ms; waited += STEP_MS) {
        (void)nanosleep(&step, NULL);
        rc = try_open(dirfd, name, text, mode, fd, &busy, err);
    }
    return rc || !busy ? rc
                       : WW_FAIL(err, WW_E_EXISTS,
                                 "'%s' is being written by another run; try again when "
                                 "that is done",
                                 text);
}

void ww_partial_remove(int dirfd, const char *name, int fd)
{
    if (is_called(dirfd, name, fd)) {
        unlinkat(dirfd, name, 0);
    }
}
