/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashing what was opened: the descriptor that is checked to be a plain file inside the
 * folder is the one that is read, and its size and times must be the same afterwards.
 * Files are taken in batches, so that a model of 10,000 files needs no more descriptors
 * than a process has.
 */
#include "sign/digests.h"

#include <string.h>
#include <unistd.h>

#include "stream/stream.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BATCH 128
#define RANGE_STEP ((size_t)1 << 20)

struct batch {
    int dirfd;
    struct ww_file_digest *files;
    struct ww_hash_job jobs[BATCH];
    struct stat before[BATCH];
    size_t n; /* opened */
};

static enum ww_err open_batch(struct batch *batch, size_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (batch->n = 0; batch->n < n;) {
        struct ww_hash_job *job = &batch->jobs[batch->n];
        struct stat *st = &batch->before[batch->n];
        struct ww_file_digest *file = &batch->files[batch->n];
        rc =
            ww_file_open_at(batch->dirfd, file->path, WW_LINKS_REFUSE, &job->fd, st, err);
        if (rc) {
            return rc;
        }
        job->name = file->path;
        job->size_bytes = (uint64_t)st->st_size;
        file->size_bytes = job->size_bytes;
        file->mode = st->st_mode & 07777;
        batch->n++;
    }
    return WW_OK;
}

static enum ww_err run_batch(struct batch *batch, size_t n, const char *algorithm,
                             const char *phase, const struct ww_run_options *run,
                             struct ww_error *err)
{
    struct ww_file_digest *files = batch->files;
    enum ww_err rc = open_batch(batch, n, err);
    if (rc) {
        goto out;
    }
    rc = ww_hash_files(batch->jobs, n, algorithm, phase, run, err);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_file_unchanged(batch->jobs[i].fd, &batch->before[i], files[i].path, err);
        memcpy(files[i].digest, batch->jobs[i].digest, sizeof(files[i].digest));
    }
out:
    for (size_t i = 0; i < batch->n; i++) {
        close(batch->jobs[i].fd);
    }
    return rc;
}

enum ww_err ww_digest_files(int dirfd, struct ww_file_digest *files, size_t n,
                            const char *algorithm, const char *phase,
                            const struct ww_run_options *run, struct ww_error *err)
{
    struct batch *batch = ww_calloc(1, sizeof(*batch));
    enum ww_err rc = WW_OK;

    if (!batch) {
        return WW_FAIL_MEMORY(err, "open files");
    }
    batch->dirfd = dirfd;
    for (size_t at = 0; at < n && !rc; at += BATCH) {
        batch->files = files + at;
        rc = run_batch(batch, (size_t)ww_min_u64(n - at, BATCH), algorithm, phase, run,
                       err);
    }
    ww_free(batch);
    return rc;
}

enum ww_err ww_digest_range(int fd, const char *name, struct ww_digest *d, uint64_t start,
                            uint64_t end, uint8_t out[WW_DIGEST_MAX_BYTES],
                            struct ww_error *err)
{
    uint8_t *room = ww_calloc(1, RANGE_STEP);
    enum ww_err rc = WW_OK;

    if (!room) {
        return WW_FAIL_MEMORY(err, "reading '%s'", name);
    }
    ww_digest_reset(d);
    while (start < end && !rc) {
        size_t step = (size_t)ww_min_u64(end - start, RANGE_STEP);
        rc = ww_pread_full(fd, room, step, start, name, err);
        ww_digest_update(d, room, rc ? 0 : step);
        start += step;
    }
    (void)ww_digest_final(d, out);
    ww_free(room);
    return rc;
}
