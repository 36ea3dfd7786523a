/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing past the page cache: about twice as fast as through it, and nothing else is
 * pushed out of memory. Room is taken first, so a full disk fails early and the blocks
 * lie together. Files end on a page while they are written and are cut at the end.
 *
 * Where direct writes are refused the page cache is used, and each written range is sent
 * to the disk at once and dropped, so that dirty pages do not pile up.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "stream/arena.h"
#include "stream/direct.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"
#include "util/num.h"

static enum ww_err take_room(const struct ww_sink *sink, uint64_t n, struct ww_error *err)
{
    int failed = -1;

    errno = ENOSPC;
    if (!ww_fault_hit(WW_FAULT_WRITE)) {
        failed = fallocate(sink->fd, 0, 0, (off_t)n);
    }
    if (failed && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
        return WW_OK; /* blocks come as they are written */
    }
    if (failed) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                           "cannot take %" PRIu64 " bytes of disk space for '%s'", n,
                           sink->name);
    }
    return WW_OK;
}

enum ww_err ww_sink_open(struct ww_sink *sink, int dirfd, const char *path,
                         uint64_t n_bytes, bool direct, bool resume, struct ww_error *err)
{
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (resume ? 0 : O_EXCL);

    sink->name = path;
    sink->compare = resume;
    sink->fd = direct ? openat(dirfd, path, flags | O_DIRECT, 0644) : -1;
    atomic_store(&sink->direct, sink->fd >= 0);
    if (sink->fd < 0) {
        /* A refused O_DIRECT may leave the file made; it is ours either way. */
        if (direct && errno == EINVAL) {
            flags &= ~O_EXCL;
        }
        sink->fd = openat(dirfd, path, flags, 0644);
    }
    if (sink->fd < 0) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot create '%s'", path);
    }
    if (n_bytes == 0) {
        return WW_OK;
    }
    return take_room(sink, ww_round_up(n_bytes, WW_IO_PAGE), err);
}

void ww_sink_close(struct ww_sink *sink)
{
    if (sink->fd >= 0) {
        close(sink->fd);
        sink->fd = -1;
    }
}

/* Is it there already? A failure to read counts as no: writing then tells the truth. */
static bool is_there(const struct ww_sink *sink, const uint8_t *buf, uint64_t n,
                     uint64_t offset, uint8_t *scratch)
{
    for (uint64_t done = 0; done < n;) {
        uint64_t step = ww_min_u64(n - done, WW_SINK_SCRATCH);
        ssize_t got = pread(sink->fd, scratch, step, (off_t)(offset + done));
        if (got != (ssize_t)step || memcmp(scratch, buf + done, step) != 0) {
            return false;
        }
        done += step;
    }
    return true;
}

/* The flag falls after the descriptor has changed, so whoever sees it fallen and still
 * gets EINVAL has another reason for it. */
static bool leave_direct(struct ww_sink *sink)
{
    int flags = fcntl(sink->fd, F_GETFL);
    if (flags < 0 || fcntl(sink->fd, F_SETFL, flags & ~O_DIRECT) != 0) {
        return false;
    }
    atomic_store(&sink->direct, false);
    return true;
}

static enum ww_err write_all(struct ww_sink *sink, const uint8_t *buf, uint64_t n,
                             uint64_t offset, struct ww_error *err)
{
    for (uint64_t done = 0; done < n;) {
        bool direct = atomic_load(&sink->direct);
        ssize_t got = -1;
        errno = ENOSPC;
        if (!ww_fault_hit(WW_FAULT_WRITE)) {
            got = pwrite(sink->fd, buf + done, n - done, (off_t)(offset + done));
        }
        bool again = got < 0 && (errno == EINTR ||
                                 (errno == EINVAL && direct && leave_direct(sink)));
        if (got <= 0 && !again) {
            int e = got < 0 ? errno : EIO;
            return WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                               "cannot write '%s' at byte %" PRIu64, sink->name,
                               offset + done);
        }
        done += got > 0 ? (uint64_t)got : 0;
        /* A short direct write leaves an offset that direct writes do not take. */
        if (done % WW_IO_PAGE != 0) {
            leave_direct(sink);
        }
    }
    return WW_OK;
}

/* Has the disk refused bytes, or nobody this call? A filter of system calls says EPERM.
 */
static bool is_refusal(int e)
{
    return e != EINVAL && e != ENOSYS && e != ESPIPE && e != EPERM && e != EOPNOTSUPP;
}

/* Bytes that do not reach the disk are told once, to who waits first: fsync is silent
 * about what was told here. */
static enum ww_err send_on(const struct ww_sink *sink, uint64_t n, uint64_t offset,
                           struct ww_error *err)
{
    int failed = -1;

    errno = EIO;
    if (!ww_fault_hit(WW_FAULT_FSYNC)) {
        failed = sync_file_range(sink->fd, (off_t)offset, (off_t)n,
                                 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                     SYNC_FILE_RANGE_WAIT_AFTER);
    }
    if (failed && is_refusal(errno)) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                           "cannot write '%s' at byte %" PRIu64 " to the disk",
                           sink->name, offset);
    }
    posix_fadvise(sink->fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
    return WW_OK;
}

enum ww_err ww_sink_write(struct ww_sink *sink, const uint8_t *buf, uint64_t n,
                          uint64_t offset, uint8_t *scratch, bool *kept,
                          struct ww_error *err)
{
    *kept = sink->compare && is_there(sink, buf, n, offset, scratch);
    if (*kept) {
        return WW_OK;
    }
    enum ww_err rc = write_all(sink, buf, n, offset, err);
    if (!rc && !atomic_load(&sink->direct)) {
        rc = send_on(sink, n, offset, err);
    }
    return rc;
}

enum ww_err ww_sink_finish(struct ww_sink *sink, uint64_t size_bytes,
                           struct ww_error *err)
{
    if (ftruncate(sink->fd, (off_t)size_bytes) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot set the size of '%s'",
                           sink->name);
    }
    enum ww_err rc = ww_fsync(sink->fd, sink->name, err);
    int fd = sink->fd;
    sink->fd = -1;
    if (close(fd) != 0 && !rc) {
        int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot close '%s'", sink->name);
    }
    return rc;
}
