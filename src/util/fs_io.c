/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading whole, writing whole. A small file is written beside its name and renamed when
 * it is on the disk, so that a reader sees the old file, the new file or none, also after
 * a power cut: data first (fsync of the file), then the name (rename), then the folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/beneath.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"
#include "util/partial.h"

#define MAX_STEP ((size_t)1 << 30) /* Linux moves at most 2 GiB in one call */
#define MOST_WAIT_MS 5000u         /* for another writer of the same small file */

static enum ww_err check_range(uint64_t offset, size_t len, const char *name,
                               struct ww_error *err)
{
    if (offset > INT64_MAX || len > INT64_MAX - offset) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%s': offset %" PRIu64 " plus %zu bytes is "
                       "beyond what a file can hold",
                       name, offset, len);
    }
    return WW_OK;
}

enum ww_err ww_pread_full(int fd, void *out, size_t len, uint64_t offset,
                          const char *name, struct ww_error *err)
{
    enum ww_err rc = check_range(offset, len, name, err);
    if (rc) {
        return rc;
    }
    for (size_t done = 0; done < len;) {
        size_t step = len - done < MAX_STEP ? len - done : MAX_STEP;
        ssize_t n = -1;
        errno = EIO;
        if (!ww_fault_hit(WW_FAULT_READ)) {
            n = pread(fd, (uint8_t *)out + done, step, (off_t)(offset + done));
        }
        if (n == 0) {
            return WW_FAIL(err, WW_E_IO,
                           "'%s' ends at byte %" PRIu64 ", expected at "
                           "least %" PRIu64 "; is the file complete?",
                           name, offset + done, offset + len);
        }
        if (n < 0 && errno != EINTR) {
            int e = errno;
            return WW_FAIL_SYS(err, WW_E_IO, e, "cannot read '%s' at byte %" PRIu64, name,
                               offset + done);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return WW_OK;
}

enum ww_err ww_pwrite_full(int fd, const void *bytes, size_t len, uint64_t offset,
                           const char *name, struct ww_error *err)
{
    enum ww_err rc = check_range(offset, len, name, err);
    if (rc) {
        return rc;
    }
    for (size_t done = 0; done < len;) {
        size_t step = len - done < MAX_STEP ? len - done : MAX_STEP;
        ssize_t n = -1;
        errno = ENOSPC;
        if (!ww_fault_hit(WW_FAULT_WRITE)) {
            n = pwrite(fd, (const uint8_t *)bytes + done, step, (off_t)(offset + done));
        }
        if (n < 0 && errno != EINTR) {
            int e = errno;
            return WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                               "cannot write '%s' at byte %" PRIu64, name, offset + done);
        }
        if (n == 0) {
            return WW_FAIL(err, WW_E_IO, "cannot write '%s': nothing was taken", name);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return WW_OK;
}

static enum ww_err read_open_file(int fd, const struct stat *st, const char *path,
                                  struct ww_buf *buf, struct ww_error *err)
{
    ww_buf_clear(buf);
    uint64_t size = (uint64_t)st->st_size;
    if (size > buf->max) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "file '%s' has %" PRIu64 " bytes, at most %zu are "
                       "accepted",
                       path, size, buf->max);
    }
    enum ww_err rc = ww_buf_reserve(buf, (size_t)size, err);
    if (rc) {
        return rc;
    }
    rc = ww_pread_full(fd, buf->data, (size_t)size, 0, path, err);
    if (rc) {
        ww_buf_clear(buf);
        return rc;
    }
    rc = ww_file_unchanged(fd, st, path, err);
    if (rc) {
        ww_buf_clear(buf);
        return rc;
    }
    buf->len = (size_t)size;
    buf->data[size] = 0;
    return WW_OK;
}

enum ww_err ww_file_read_at(int dirfd, const char *path, enum ww_links links,
                            struct ww_buf *buf, struct ww_error *err)
{
    int fd = -1;
    struct stat st;
    enum ww_err rc = ww_file_open_at(dirfd, path, links, &fd, &st, err);
    if (rc) {
        return rc;
    }
    rc = read_open_file(fd, &st, path, buf, err);
    close(fd);
    return rc;
}

enum ww_err ww_file_read(const char *path, struct ww_buf *buf, struct ww_error *err)
{
    int fd = -1;
    struct stat st;
    enum ww_err rc = ww_file_open(path, &fd, &st, err);
    if (rc) {
        return rc;
    }
    rc = read_open_file(fd, &st, path, buf, err);
    close(fd);
    return rc;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

enum ww_err ww_file_unchanged(int fd, const struct stat *before, const char *name,
                              struct ww_error *err)
{
    struct stat now;
    if (fstat(fd, &now) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot examine '%s'", name);
    }
    if (now.st_dev != before->st_dev || now.st_ino != before->st_ino ||
        now.st_size != before->st_size || !same_time(now.st_mtim, before->st_mtim) ||
        !same_time(now.st_ctim, before->st_ctim)) {
        return WW_FAIL(err, WW_E_CHANGED,
                       "file '%s' changed while it was read; try again "
                       "when nothing writes to it",
                       name);
    }
    return WW_OK;
}

enum ww_err ww_fsync(int fd, const char *name, struct ww_error *err)
{
    int failed = -1;
    errno = EIO;
    if (!ww_fault_hit(WW_FAULT_FSYNC)) {
        failed = fsync(fd);
    }
    /* EINVAL, EROFS: the file system has nothing that could be flushed. */
    if (failed && errno != EINVAL && errno != EROFS) {
        int e = errno;
        enum ww_err code = ww_err_from_errno(e) == WW_E_NOSPACE ? WW_E_NOSPACE : WW_E_IO;
        return WW_FAIL_SYS(err, code, e, "cannot flush '%s' to the disk", name);
    }
    return WW_OK;
}

enum ww_err ww_fsync_folder_of(const char *path, struct ww_error *err)
{
    int fd = -1;
    enum ww_err rc = ww_dir_open_of(path, &fd, err);

    if (!rc) {
        rc = ww_fsync(fd, path, err);
        close(fd);
    }
    return rc;
}

/* The folder that path lies in, opened below dirfd; path must be relative and clean. */
static enum ww_err open_parent(int dirfd, const char *path, int *fd, struct ww_error *err)
{
    *fd = -1;
    const enum ww_err plain = ww_path_check_relative(path, err);
    if (plain) {
        return plain;
    }
    char *parent = ww_path_folder(path);
    if (!parent) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    int opened = ww_open_beneath(dirfd, parent, O_RDONLY | O_DIRECTORY, false);
    ww_free(parent);
    if (opened < 0) {
        enum ww_err code =
            opened == -ELOOP || opened == -EXDEV ? WW_E_PATH : ww_err_from_errno(-opened);
        return WW_FAIL_SYS(err, code, -opened, "cannot open the folder of '%s'", path);
    }
    *fd = opened;
    return WW_OK;
}

int ww_rename_new_portable(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat st;
    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            errno = EEXIST;
            return -1;
        }
        return errno == ENOENT ? renameat(from_dir, from, to_dir, to) : -1;
    }
    if (linkat(from_dir, from, to_dir, to, 0) != 0) {
        return -1;
    }
    return unlinkat(from_dir, from, 0);
}

static int rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    int failed = renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
        failed = ww_rename_new_portable(from_dir, from, to_dir, to);
    }
    return failed;
}

enum ww_err ww_rename_at(int from_dir, const char *from, int to_dir, const char *to,
                         bool replace, struct ww_error *err)
{
    int from_parent = -1;
    int to_parent = -1;
    enum ww_err rc = open_parent(from_dir, from, &from_parent, err);
    if (rc) {
        goto out;
    }
    rc = open_parent(to_dir, to, &to_parent, err);
    if (rc) {
        goto out;
    }
    const char *old = ww_path_base(from);
    const char *new = ww_path_base(to);
    int failed = -1;
    errno = EIO;
    if (!ww_fault_hit(WW_FAULT_RENAME)) {
        failed = replace ? renameat(from_parent, old, to_parent, new)
                         : rename_new(from_parent, old, to_parent, new);
    }
    if (failed) {
        int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot rename '%s' to '%s'", from,
                         to);
        goto out;
    }
    rc = ww_fsync(to_parent, to, err);
out:
    if (from_parent >= 0) {
        close(from_parent);
    }
    if (to_parent >= 0) {
        close(to_parent);
    }
    return rc;
}

static enum ww_err check_free(int dirfd, const char *name, bool replace,
                              struct ww_error *err)
{
    struct stat st;
    return replace || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0
               ? WW_OK
               : WW_FAIL(err, WW_E_EXISTS,
                         "'%s' exists; choose another name or remove it", name);
}

/* Who waited for another writer finds what that one wrote. */
static enum ww_err write_partial(int dirfd, const char *name, const char *partial,
                                 const void *bytes, size_t len, mode_t mode, bool replace,
                                 struct ww_error *err)
{
    int fd = -1;
    enum ww_err rc = ww_partial_open(dirfd, partial, partial, mode ? mode : 0644,
                                     MOST_WAIT_MS, &fd, err);
    if (rc) {
        return rc;
    }
    rc = check_free(dirfd, name, replace, err);
    if (!rc) {
        rc = ww_pwrite_full(fd, bytes, len, 0, partial, err);
    }
    if (!rc) {
        rc = ww_fsync(fd, partial, err);
    }
    if (!rc) {
        rc = ww_rename_at(dirfd, partial, dirfd, name, replace, err);
    }
    if (rc) {
        ww_partial_remove(dirfd, partial, fd);
    }
    if (close(fd) != 0 && !rc) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot close '%s'", name);
    }
    return rc;
}

static enum ww_err write_in_folder(int dirfd, const char *name, const void *bytes,
                                   size_t len, mode_t mode, bool replace,
                                   struct ww_error *err)
{
    enum ww_err rc = check_free(dirfd, name, replace, err);
    if (rc) {
        return rc;
    }
    char *partial = ww_asprintf("%s.partial", name);
    if (!partial) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = write_partial(dirfd, name, partial, bytes, len, mode, replace, err);
    ww_free(partial);
    return rc;
}

enum ww_err ww_file_write_at(int dirfd, const char *path, const void *bytes, size_t len,
                             mode_t mode, bool replace, struct ww_error *err)
{
    int parent = -1;
    enum ww_err rc = open_parent(dirfd, path, &parent, err);
    if (rc) {
        return rc;
    }
    rc = write_in_folder(parent, ww_path_base(path), bytes, len, mode, replace, err);
    close(parent);
    return rc;
}

enum ww_err ww_file_write(const char *path, const void *bytes, size_t len, mode_t mode,
                          bool replace, struct ww_error *err)
{
    const char *base = ww_path_base(path);
    if (!ww_path_is_bare(base)) {
        return WW_FAIL(err, WW_E_PATH, "'%s' names no file: its last part %s", path,
                       ww_path_fault(base));
    }
    int dirfd = -1;
    enum ww_err rc = ww_dir_open_of(path, &dirfd, err);
    if (rc) {
        return rc;
    }
    rc = write_in_folder(dirfd, base, bytes, len, mode, replace, err);
    close(dirfd);
    return rc;
}
