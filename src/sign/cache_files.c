/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files the cache may answer for. The change time decides: no program without
 * special rights can set it, so equal device, inode, size and both times mean equal
 * bytes, with two exceptions. A file that was changed just before it was hashed can
 * change again within the same tick of the file system's clock: such a file is not kept
 * (the race that version control systems know). And a program that holds a writable
 * mapping can change pages that are already dirty without touching the times: sign when
 * nobody writes.
 */
#include "sign/cache.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define SETTLED_SECONDS 3 /* the coarsest clock of a file system in use has 2 */

void ww_file_state(const struct stat *st, char out[WW_FILE_STATE_BYTES])
{
    snprintf(out, WW_FILE_STATE_BYTES, "%llu:%llu:%lld:%lld%09ld:%lld%09ld",
             (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
             (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
             (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

bool ww_file_settled(const struct stat *st, const struct timespec *at)
{
    return st->st_mtim.tv_sec + SETTLED_SECONDS < at->tv_sec &&
           st->st_ctim.tv_sec + SETTLED_SECONDS < at->tv_sec;
}

static enum ww_err stat_file(int dirfd, const char *name, struct stat *st,
                             struct ww_error *err)
{
    int fd = -1;
    enum ww_err rc = ww_file_open_at(dirfd, name, WW_LINKS_REFUSE, &fd, st, err);

    if (!rc) {
        close(fd);
    }
    return rc;
}

enum ww_err ww_cache_begin(struct ww_cache_run *run, bool *done, struct ww_error *err)
{
    const size_t n = run->n;
    char state[WW_FILE_STATE_BYTES];
    enum ww_err rc = ww_cache_load(run->path, run->key, &run->old, err);

    if (rc) {
        return rc;
    }
    run->before = ww_calloc(n, sizeof(*run->before));
    if (!run->before) {
        return WW_FAIL_MEMORY(err, "%zu files", n);
    }
    clock_gettime(CLOCK_REALTIME, &run->begun);
    for (size_t i = 0; i < n && !rc; i++) {
        const uint8_t *digest = NULL;
        rc = stat_file(run->dirfd, run->files[i].name, &run->before[i], err);
        if (rc) {
            break;
        }
        ww_file_state(&run->before[i], state);
        digest = ww_cache_find(&run->old, state);
        if (digest) {
            memcpy(run->files[i].sha256, digest, WW_SHA256_BYTES);
            done[i] = true;
            run->hits++;
            run->bytes += (uint64_t)run->before[i].st_size;
        }
    }
    return rc;
}

/* The change time never goes back, so what is the same now was the same all the while. */
static enum ww_err keep(const struct ww_cache_run *run, size_t i, struct ww_cache *out,
                        struct ww_error *err)
{
    const struct ww_resource *file = &run->files[i];
    char before[WW_FILE_STATE_BYTES];
    char after[WW_FILE_STATE_BYTES];
    struct stat st;

    if (stat_file(run->dirfd, file->name, &st, NULL) != WW_OK) {
        return WW_OK; /* it is for the verifier to notice */
    }
    ww_file_state(&run->before[i], before);
    ww_file_state(&st, after);
    if (!ww_str_eq(before, after) || !ww_file_settled(&st, &run->begun)) {
        return WW_OK;
    }
    return ww_cache_add(out, after, file->sha256, err);
}

enum ww_err ww_cache_end(struct ww_cache_run *run, const struct ww_buf *tensors,
                         const char *model_name, const uint8_t root[WW_SHA256_BYTES],
                         struct ww_error *err)
{
    struct ww_cache cache = {.has_tensors = tensors != NULL};
    enum ww_err rc = WW_OK;

    if (tensors) {
        ww_sha256_of(tensors->data, tensors->len, cache.tensors);
    }
    for (size_t i = 0; i < run->n && !rc; i++) {
        rc = keep(run, i, &cache, err);
    }
    if (!rc) {
        rc = ww_cache_save(&cache, run->path, run->key, model_name, root, err);
    }
    ww_cache_release(&cache);
    return rc;
}

void ww_cache_run_release(struct ww_cache_run *run)
{
    ww_cache_release(&run->old);
    ww_free(run->before);
    run->before = NULL;
}
