/* SPDX-License-Identifier: Apache-2.0 */
/* Files moved past the page cache where the file system allows it. */
#ifndef WW_STREAM_DIRECT_H
#define WW_STREAM_DIRECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/reader.h"
#include "weightward/error.h"

/** An input: the given descriptor, and the same file opened again for direct reads. */
struct ww_source {
    const char *name;
    int fd;               /* borrowed */
    atomic_int direct_fd; /* own, -1: none */
    uint64_t size_bytes;
    struct stat before;
    const struct ww_reader *reader; /* instead of descriptors; NULL: none */
    atomic_bool slow;               /* a read was of something else than the page cache */
};

/** WW_E_CHANGED when the file's size is not size_bytes. */
enum ww_err ww_source_open(struct ww_source *source, const char *name, int fd,
                           uint64_t size_bytes, bool direct,
                           struct ww_error *err) WW_MUST_USE;
void ww_source_close(struct ww_source *source);
/** WW_E_CHANGED when the file is not what it was when it was opened. */
enum ww_err ww_source_unchanged(const struct ww_source *source,
                                struct ww_error *err) WW_MUST_USE;

/**
 * Read at least `want` bytes at offset into buf, up to room of them; offset, buf and room
 * are multiples of WW_IO_PAGE, want <= room. The file ending earlier is WW_E_CHANGED.
 */
enum ww_err ww_source_read(struct ww_source *source, uint8_t *buf, uint64_t offset,
                           uint64_t want, uint64_t room,
                           struct ww_error *err) WW_MUST_USE;
/** Read exactly n bytes at any offset, through the page cache. */
enum ww_err ww_source_read_any(const struct ww_source *source, uint8_t *buf,
                               uint64_t offset, uint64_t n,
                               struct ww_error *err) WW_MUST_USE;

/** An output file. */
struct ww_sink {
    const char *name; /* borrowed */
    int fd;           /* -1: none */
    atomic_bool direct;
    bool compare; /* something may lie there already */
};

/** Create, or with resume reopen, path below dirfd with room for n_bytes. */
enum ww_err ww_sink_open(struct ww_sink *sink, int dirfd, const char *path,
                         uint64_t n_bytes, bool direct, bool resume,
                         struct ww_error *err) WW_MUST_USE;
/** Write n bytes (buf, n and offset multiples of WW_IO_PAGE); *kept grows by n when they
 *  were there already. scratch: WW_SINK_SCRATCH bytes, page aligned, used to compare. */
#define WW_SINK_SCRATCH ((size_t)128 << 10)
enum ww_err ww_sink_write(struct ww_sink *sink, const uint8_t *buf, uint64_t n,
                          uint64_t offset, uint8_t *scratch, bool *kept,
                          struct ww_error *err) WW_MUST_USE;
/** Cut to its size, flush, close. */
enum ww_err ww_sink_finish(struct ww_sink *sink, uint64_t size_bytes,
                           struct ww_error *err) WW_MUST_USE;
void ww_sink_close(struct ww_sink *sink);

#endif
