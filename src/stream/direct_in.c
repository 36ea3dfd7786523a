/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading models once from start to end: the page cache only costs a copy and pushes
 * everything else out of memory, so inputs are opened a second time with O_DIRECT. The
 * second descriptor comes from /proc/self/fd, which names the open file and not a path,
 * so a file swapped in between cannot get in; that is checked all the same.
 *
 * O_DIRECT is never relied on: file systems refuse it when opening or at the first read
 * (EINVAL), and then the given descriptor is read through the page cache. So are ranges
 * that lie there already: a model that was just downloaded is not read from the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream/arena.h"
#include "stream/direct.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/fs.h"
#include "util/num.h"

/* One page of the smallest size, of which mincore gives a byte each. */
#define MAX_PROBE ((uint64_t)8 << 20)

static int reopen_direct(int fd, const struct stat *st)
{
    char path[64];
    struct stat again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0) {
        return -1;
    }
    if (fstat(direct, &again) != 0 || again.st_dev != st->st_dev ||
        again.st_ino != st->st_ino) {
        close(direct);
        return -1;
    }
    return direct;
}

enum ww_err ww_source_open(struct ww_source *source, const char *name, int fd,
                           uint64_t size_bytes, bool direct, struct ww_error *err)
{
    source->name = name;
    source->reader = NULL;
    atomic_store(&source->slow, false);
    source->fd = fd;
    source->size_bytes = size_bytes;
    atomic_store(&source->direct_fd, -1);
    if (fstat(fd, &source->before) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot examine '%s'", name);
    }
    if (source->before.st_size < 0 || (uint64_t)source->before.st_size != size_bytes) {
        return WW_FAIL(err, WW_E_CHANGED,
                       "file '%s' has %lld bytes, expected %" PRIu64
                       "; it changed since it was opened",
                       name, (long long)source->before.st_size, size_bytes);
    }
    if (direct) {
        atomic_store(&source->direct_fd, reopen_direct(fd, &source->before));
    }
    if (atomic_load(&source->direct_fd) < 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return WW_OK;
}

void ww_source_close(struct ww_source *source)
{
    int direct = atomic_exchange(&source->direct_fd, -1);
    if (direct >= 0) {
        close(direct);
    }
}

enum ww_err ww_source_unchanged(const struct ww_source *source, struct ww_error *err)
{
    if (source->reader) {
        return WW_OK;
    }
    return ww_file_unchanged(source->fd, &source->before, source->name, err);
}

static ssize_t read_once(int fd, uint8_t *buf, uint64_t n, uint64_t offset)
{
    if (ww_fault_hit(WW_FAULT_READ)) {
        errno = EIO;
        return -1;
    }
    return pread(fd, buf, n, (off_t)offset);
}

enum ww_err ww_source_read_any(const struct ww_source *source, uint8_t *buf,
                               uint64_t offset, uint64_t n, struct ww_error *err)
{
    if (source->reader) {
        return source->reader->read(source->reader->payload, offset, buf, n, err);
    }
    for (uint64_t done = 0; done < n;) {
        ssize_t got = read_once(source->fd, buf + done, n - done, offset + done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int e = errno;
            return WW_FAIL_SYS(err, WW_E_IO, e, "cannot read '%s' at byte %" PRIu64,
                               source->name, offset + done);
        }
        if (got == 0) {
            return WW_FAIL(err, WW_E_CHANGED,
                           "file '%s' ends at byte %" PRIu64 ", expected %" PRIu64
                           "; it was cut short while it was read",
                           source->name, offset + done, source->size_bytes);
        }
        done += (uint64_t)got;
    }
    return WW_OK;
}

/* Three quarters of the range in the page cache? Where the kernel does not tell others
 * than the owner, it says yes, and reading through the cache is right as well. */
static bool is_cached(const struct ww_source *source, uint64_t offset, uint64_t n)
{
    unsigned char resident[MAX_PROBE / WW_IO_PAGE] = {0};
    size_t pages = 0;

    n = ww_min_u64(ww_min_u64(n, source->size_bytes - offset), MAX_PROBE);
    void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, source->fd, (off_t)offset);
    if (map == MAP_FAILED) {
        return false;
    }
    size_t total = (size_t)ww_div_up(n, WW_IO_PAGE);
    if (mincore(map, n, resident) == 0) {
        for (size_t i = 0; i < total; i++) {
            pages += resident[i] & 1;
        }
    }
    munmap(map, n);
    return pages >= total - total / 4;
}

enum ww_err ww_source_read(struct ww_source *source, uint8_t *buf, uint64_t offset,
                           uint64_t want, uint64_t room, struct ww_error *err)
{
    uint64_t done = 0;
    int direct = atomic_load(&source->direct_fd); /* -1 with a reader */

    if (!source->reader && is_cached(source, offset, want)) {
        direct = -1;
    } else {
        atomic_store(&source->slow, true);
    }
    /* A short direct read is the end of the file or leaves an offset that direct reads
     * do not take; the plain descriptor settles both. */
    while (direct >= 0 && done < want && done % WW_IO_PAGE == 0) {
        ssize_t got = read_once(direct, buf + done, room - done, offset + done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno != EINVAL) {
            int e = errno;
            return WW_FAIL_SYS(err, WW_E_IO, e, "cannot read '%s' at byte %" PRIu64,
                               source->name, offset + done);
        }
        if (got <= 0) {
            break;
        }
        done += (uint64_t)got;
    }
    if (done >= want) {
        return WW_OK;
    }
    return ww_source_read_any(source, buf + done, offset + done, want - done, err);
}
