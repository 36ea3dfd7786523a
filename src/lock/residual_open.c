/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole file is compared with the digest in the manifest before a section is opened,
 * so that a residual of another lock is told from a damaged model.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock/residual_file.h"
#include "lock/residual_frame.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define READ_BYTES ((size_t)1 << 20)

struct ww_residual_source {
    int fd;
    struct ww_secret *prk;
    uint64_t *offsets;
    uint32_t n;
};

static enum ww_err altered(const char *how, struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_SEALED,
        "file '%s' %s: it was altered, cut or exchanged, and the weights cannot "
        "be restored without it",
        WW_RESIDUAL_FILE, how);
}

enum ww_err ww_residual_index(ww_residual_read_fn read, const void *payload,
                              uint64_t size_bytes, uint64_t **offsets, uint32_t *n,
                              struct ww_error *err)
{
    uint8_t head[WW_RESIDUAL_SECTION_HEAD];
    uint64_t at = WW_RESIDUAL_HEAD_BYTES;
    enum ww_err rc = WW_OK;

    *offsets = NULL;
    if (size_bytes < at) {
        return altered("is too short", err);
    }
    rc = read(payload, 0, head, WW_RESIDUAL_HEAD_BYTES, err);
    if (rc) {
        return rc;
    }
    if (memcmp(head, WW_RESIDUAL_MAGIC, WW_RESIDUAL_MAGIC_BYTES) != 0) {
        return altered("is no sealed residual", err);
    }
    if (ww_get_u32le(head + WW_RESIDUAL_MAGIC_BYTES) != WW_RESIDUAL_VERSION) {
        return WW_FAIL(err, WW_E_VERSION,
                       "file '%s' has version %u, this program reads version %d",
                       WW_RESIDUAL_FILE, ww_get_u32le(head + WW_RESIDUAL_MAGIC_BYTES),
                       WW_RESIDUAL_VERSION);
    }
    *n = ww_get_u32le(head + WW_RESIDUAL_MAGIC_BYTES + 4);
    if (*n > (size_bytes - at) / WW_RESIDUAL_SECTION_HEAD) {
        return altered("is too short for its sections", err);
    }
    *offsets = ww_calloc((size_t)*n + 1, sizeof(**offsets));
    if (!*offsets) {
        return WW_FAIL_MEMORY(err, "%u sections", *n);
    }
    for (uint32_t i = 0; i < *n && !rc; i++) {
        (*offsets)[i] = at;
        if (size_bytes - at < WW_RESIDUAL_SECTION_HEAD) {
            rc = altered("is too short for its sections", err);
            break;
        }
        rc = read(payload, at, head, sizeof(head), err);
        at += WW_RESIDUAL_SECTION_HEAD;
        const uint64_t len = rc ? 0 : ww_get_u64le(head);
        if (!rc && (len < WW_XCHACHA_TAG_BYTES || len > size_bytes - at)) {
            rc = altered("has a section that leaves it", err);
        }
        at += len;
    }
    if (!rc && at != size_bytes) {
        rc = altered("goes on behind its last section", err);
    }
    if (rc) {
        ww_free(*offsets);
        *offsets = NULL;
        return rc;
    }
    (*offsets)[*n] = at;
    return WW_OK;
}

static enum ww_err read_fd(const void *payload, uint64_t offset, void *out, size_t len,
                           struct ww_error *err)
{
    const struct ww_residual_source *source = payload;

    return ww_pread_full(source->fd, out, len, offset, WW_RESIDUAL_FILE, err);
}

static enum ww_err check_digest(const struct ww_residual_source *source,
                                uint64_t size_bytes, const uint8_t *sha256,
                                struct ww_error *err)
{
    uint8_t found[WW_SHA256_BYTES];
    uint8_t *buffer = ww_calloc(1, READ_BYTES);
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (!rc && !buffer) {
        rc = WW_FAIL_MEMORY(err, "a comparison");
    }
    for (uint64_t at = 0; at < size_bytes && !rc; at += READ_BYTES) {
        const size_t n = (size_t)ww_min_u64(READ_BYTES, size_bytes - at);
        rc = read_fd(source, at, buffer, n, err);
        if (!rc) {
            ww_sha256_update(sha, buffer, n);
        }
    }
    if (!rc) {
        ww_sha256_final(sha, found);
    }
    if (!rc && memcmp(found, sha256, sizeof(found)) != 0) {
        rc = altered("is not the one in the lock manifest", err);
    }
    ww_sha256_free(sha);
    ww_free(buffer);
    return rc;
}

enum ww_err ww_residual_source_open(int dirfd, struct ww_secret *prk, uint64_t size_bytes,
                                    const uint8_t sha256[WW_SHA256_BYTES],
                                    struct ww_residual_source **out, struct ww_error *err)
{
    struct ww_residual_source *source = ww_calloc(1, sizeof(*source));
    struct stat st;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!source) {
        return WW_FAIL_MEMORY(err, "a residual");
    }
    source->fd = -1;
    source->prk = prk;
    rc = ww_file_open_at(dirfd, WW_RESIDUAL_FILE, WW_LINKS_HUB, &source->fd, &st, err);
    if (!rc && (uint64_t)st.st_size != size_bytes) {
        rc = altered("has another size than the lock manifest states", err);
    }
    if (!rc) {
        rc = check_digest(source, size_bytes, sha256, err);
    }
    if (!rc) {
        rc = ww_residual_index(read_fd, source, size_bytes, &source->offsets, &source->n,
                               err);
    }
    if (rc) {
        ww_residual_source_close(source);
        return rc;
    }
    *out = source;
    return WW_OK;
}

void ww_residual_source_close(struct ww_residual_source *source)
{
    if (source) {
        if (source->fd >= 0) {
            close(source->fd);
        }
        ww_free(source->offsets);
        ww_free(source);
    }
}

uint32_t ww_residual_source_sections(const struct ww_residual_source *source)
{
    return source->n;
}

enum ww_err ww_residual_source_get(const struct ww_residual_source *source,
                                   uint32_t index, const char *tensor, uint8_t **out,
                                   size_t *len, struct ww_error *err)
{
    const uint64_t at = source->offsets[index];
    const size_t n = (size_t)(source->offsets[index + 1] - at) - WW_RESIDUAL_SECTION_HEAD;
    uint8_t iv[WW_RESIDUAL_IV_BYTES];
    uint8_t binding[WW_SHA256_BYTES];
    uint8_t key[WW_XCHACHA_KEY_BYTES];
    uint8_t *box = ww_calloc(1, n);
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!box) {
        rc = WW_FAIL_MEMORY(err, "a residual");
        goto out;
    }
    rc = read_fd(source, at + 8, iv, sizeof(iv), err);
    if (!rc) {
        rc = read_fd(source, at + WW_RESIDUAL_SECTION_HEAD, box, n, err);
    }
    if (!rc) {
        rc = ww_residual_binding(index, source->n, tensor, binding, err);
    }
    if (!rc) {
        rc = ww_residual_key(source->prk, iv, key, err);
    }
    if (rc) {
        goto out;
    }
    if (!ww_xchacha_open(key, binding, sizeof(binding), box, n - WW_XCHACHA_TAG_BYTES,
                         box)) {
        rc = altered("does not open with the lock key", err);
        goto out;
    }
    *out = box;
    *len = n - WW_XCHACHA_TAG_BYTES;
    box = NULL;
out:
    ww_wipe(key, sizeof(key));
    ww_free(box);
    return rc;
}
