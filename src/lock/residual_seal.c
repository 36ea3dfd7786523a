/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two locks under one key must never encrypt two texts with one keystream, and the same
 * lock made twice should give the same file. Both follow from a synthetic iv (as in RFC
 * 5297): the key of a section comes from a keyed hash of where it belongs and what it
 * holds.
 */
#include <fcntl.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lock/draw.h"
#include "lock/residual_file.h"
#include "lock/residual_frame.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BINDING_LABEL "weightward/lock/residual/v1"
#define IV_LABEL "weightward/lock/residual-iv/v1"
#define KEY_LABEL "weightward/lock/residual-key/v1"

static void hash_str(struct ww_sha256 *sha, const char *s)
{
    ww_sha256_u32le(sha, (uint32_t)strlen(s));
    ww_sha256_update(sha, s, strlen(s));
}

enum ww_err ww_residual_binding(uint32_t index, uint32_t n, const char *tensor,
                                uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (rc) {
        return rc;
    }
    hash_str(sha, BINDING_LABEL);
    ww_sha256_u32le(sha, index);
    ww_sha256_u32le(sha, n);
    hash_str(sha, tensor);
    ww_sha256_final(sha, out);
    ww_sha256_free(sha);
    return WW_OK;
}

/* The iv that a plain section has: a keyed hash of binding and content. */
static enum ww_err make_iv(struct ww_secret *prk, const uint8_t binding[WW_SHA256_BYTES],
                           const uint8_t *plain, size_t len,
                           uint8_t iv[WW_RESIDUAL_IV_BYTES], struct ww_error *err)
{
    uint8_t extra[2 * WW_SHA256_BYTES];

    memcpy(extra, binding, WW_SHA256_BYTES);
    ww_sha256_of(plain, len, extra + WW_SHA256_BYTES);
    return ww_draw_key(prk, IV_LABEL, extra, sizeof(extra), iv, WW_RESIDUAL_IV_BYTES,
                       err);
}

enum ww_err ww_residual_key(struct ww_secret *prk, const uint8_t iv[WW_RESIDUAL_IV_BYTES],
                            uint8_t key[WW_XCHACHA_KEY_BYTES], struct ww_error *err)
{
    return ww_draw_key(prk, KEY_LABEL, iv, WW_RESIDUAL_IV_BYTES, key,
                       WW_XCHACHA_KEY_BYTES, err);
}

struct waiting {
    const char *tensor;
    struct ww_buf plain;
    bool there;
};

struct ww_residual_sink {
    int fd;
    struct ww_secret *prk;
    struct ww_sha256 *sha;
    uint64_t offset;
    struct waiting *waiting; /* by section */
    uint32_t n_sections;
    uint32_t next;
};

static enum ww_err append(struct ww_residual_sink *sink, const void *bytes, size_t len,
                          struct ww_error *err)
{
    enum ww_err rc =
        ww_pwrite_full(sink->fd, bytes, len, sink->offset, WW_RESIDUAL_FILE, err);

    ww_sha256_update(sink->sha, bytes, len);
    sink->offset += len;
    return rc;
}

static enum ww_err open_file(struct ww_residual_sink *sink, int dirfd,
                             struct ww_error *err)
{
    enum ww_err rc = ww_mkdirs_at(dirfd, "attestations", err);

    if (rc) {
        return rc;
    }
    sink->fd = openat(dirfd, WW_RESIDUAL_FILE,
                      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (sink->fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make file '%s'",
                           WW_RESIDUAL_FILE);
    }
    return WW_OK;
}

enum ww_err ww_residual_sink_new(int dirfd, struct ww_secret *prk, uint32_t n_sections,
                                 struct ww_residual_sink **out, struct ww_error *err)
{
    struct ww_residual_sink *sink = ww_calloc(1, sizeof(*sink));
    uint8_t head[WW_RESIDUAL_HEAD_BYTES];
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!sink) {
        return WW_FAIL_MEMORY(err, "a residual");
    }
    sink->fd = -1;
    sink->prk = prk;
    sink->n_sections = n_sections;
    sink->waiting = ww_calloc(n_sections, sizeof(*sink->waiting));
    if (!sink->waiting) {
        rc = WW_FAIL_MEMORY(err, "a residual");
    }
    if (!rc) {
        rc = ww_sha256_new(&sink->sha, err);
    }
    if (!rc) {
        rc = open_file(sink, dirfd, err);
    }
    if (!rc) {
        memcpy(head, WW_RESIDUAL_MAGIC, WW_RESIDUAL_MAGIC_BYTES);
        ww_put_u32le(head + WW_RESIDUAL_MAGIC_BYTES, WW_RESIDUAL_VERSION);
        ww_put_u32le(head + WW_RESIDUAL_MAGIC_BYTES + 4, n_sections);
        rc = append(sink, head, sizeof(head), err);
    }
    if (rc) {
        ww_residual_sink_free(sink);
        return rc;
    }
    *out = sink;
    return WW_OK;
}

void ww_residual_sink_free(struct ww_residual_sink *sink)
{
    if (!sink) {
        return;
    }
    for (uint32_t i = 0; sink->waiting && i < sink->n_sections; i++) {
        if (sink->waiting[i].there) {
            ww_buf_release(&sink->waiting[i].plain);
        }
    }
    if (sink->fd >= 0) {
        close(sink->fd);
    }
    ww_free(sink->waiting);
    ww_sha256_free(sink->sha);
    ww_free(sink);
}

static enum ww_err write_section(struct ww_residual_sink *sink, struct waiting *w,
                                 struct ww_error *err)
{
    const size_t len = w->plain.len;
    uint8_t head[WW_RESIDUAL_SECTION_HEAD];
    uint8_t binding[WW_SHA256_BYTES];
    uint8_t key[WW_XCHACHA_KEY_BYTES];
    uint8_t *box = ww_calloc(1, len + WW_XCHACHA_TAG_BYTES);
    enum ww_err rc = WW_OK;

    if (!box) {
        rc = WW_FAIL_MEMORY(err, "a residual");
        goto out;
    }
    rc = ww_residual_binding(sink->next, sink->n_sections, w->tensor, binding, err);
    if (rc) {
        goto out;
    }
    ww_put_u64le(head, len + WW_XCHACHA_TAG_BYTES);
    rc = make_iv(sink->prk, binding, w->plain.data, len, head + 8, err);
    if (rc) {
        goto out;
    }
    rc = ww_residual_key(sink->prk, head + 8, key, err);
    if (rc) {
        goto out;
    }
    ww_xchacha_seal(key, binding, sizeof(binding), w->plain.data, len, box);
    rc = append(sink, head, sizeof(head), err);
    if (!rc) {
        rc = append(sink, box, len + WW_XCHACHA_TAG_BYTES, err);
    }
out:
    ww_wipe(key, sizeof(key));
    ww_free(box);
    return rc;
}

enum ww_err ww_residual_sink_put(struct ww_residual_sink *sink, uint32_t index,
                                 const char *tensor, struct ww_buf *plain,
                                 struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    WW_INVARIANT(index < sink->n_sections && !sink->waiting[index].there);
    sink->waiting[index] = (struct waiting){tensor, *plain, true};
    memset(plain, 0, sizeof(*plain));
    while (!rc && sink->next < sink->n_sections && sink->waiting[sink->next].there) {
        struct waiting *w = &sink->waiting[sink->next];
        rc = write_section(sink, w, err);
        ww_buf_release(&w->plain);
        w->there = false;
        sink->next++;
    }
    return rc;
}

enum ww_err ww_residual_sink_end(struct ww_residual_sink *sink, uint64_t *size_bytes,
                                 uint8_t sha256[WW_SHA256_BYTES], struct ww_error *err)
{
    WW_INVARIANT(sink->next == sink->n_sections);
    *size_bytes = sink->offset;
    ww_sha256_final(sink->sha, sha256);
    return ww_fsync(sink->fd, WW_RESIDUAL_FILE, err);
}
