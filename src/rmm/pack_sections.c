/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying needs no key: the signed manifest holds the digest of each section as it lies
 * in the file. A file of its own, so that a program that verifies holds nothing that
 * opens.
 */
#include <string.h>

#include "crypto/hash.h"
#include "rmm/pace.h"
#include "rmm/pack_file.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define STEP ((size_t)1 << 20)

static enum ww_err check_zeros(const struct ww_pack_file *f, uint64_t from, uint64_t to,
                               struct ww_error *err)
{
    uint8_t bytes[WW_PACK_MOST_ALIGN];
    const size_t n = (size_t)(to - from);
    enum ww_err rc = ww_pread_full(f->fd, bytes, n, from, f->path, err);

    for (size_t i = 0; i < n && !rc; i++) {
        if (bytes[i] != 0) {
            rc = WW_FAIL(err, WW_E_TAMPERED,
                         "package '%s': byte %llu lies between its parts and is not zero",
                         f->path, (unsigned long long)(from + i));
        }
    }
    return rc;
}

static enum ww_err hash_section(const struct ww_pack_file *f, size_t member,
                                uint8_t *room, struct ww_pace *pace, struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[member];
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    uint64_t offset = 0;
    int fd = -1;
    enum ww_err rc = ww_pack_section_at(f, member, &fd, &offset, err);

    if (!rc) {
        rc = ww_sha256_new(&sha, err);
    }

    for (uint64_t at = 0; at < m->bytes && !rc; at += STEP) {
        const size_t n = (size_t)ww_min_u64(STEP, m->bytes - at);
        rc = ww_pread_full(fd, room, n, offset + at, f->path, err);
        if (!rc) {
            ww_sha256_update(sha, room, n);
            rc = ww_pace_step(pace, n, err);
        }
    }
    if (!rc) {
        ww_sha256_final(sha, digest);
        if (memcmp(digest, m->sha256, sizeof(digest)) != 0) {
            rc = WW_FAIL(err, WW_E_TAMPERED,
                         "package '%s': the section of member '%s' is not what the "
                         "manifest says",
                         f->path, m->name);
        }
    }
    ww_sha256_free(sha);
    ww_pack_section_give(f, fd);
    return rc;
}

enum ww_err ww_pack_check_section(const struct ww_pack_file *f,
                                  const struct ww_pack_manifest_member *m,
                                  struct ww_error *err)
{
    const struct ww_run_options run = {0};
    struct ww_pace pace;
    uint8_t *room = ww_calloc(1, STEP);
    enum ww_err rc = WW_OK;

    if (!room) {
        return WW_FAIL_MEMORY(err, "reading");
    }
    ww_pace_begin(&pace, &run, "verify", m->bytes);
    rc = hash_section(f, (size_t)(m - f->manifest.members), room, &pace, err);
    ww_free(room);
    return rc;
}

enum ww_err ww_pack_check_sections(const struct ww_pack_file *f,
                                   const struct ww_run_options *run,
                                   struct ww_run_report *report, struct ww_error *err)
{
    const struct ww_pack_manifest *m = &f->manifest;
    struct ww_pace pace;
    uint64_t end = WW_PACK_HEAD_BYTES;
    uint8_t *room = ww_calloc(1, STEP);
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "reading");

    ww_pace_begin(&pace, run, "verify", f->head.manifest_offset);
    for (size_t i = 0; i < m->n_members && !rc; i++) {
        rc = f->folder >= 0 ? WW_OK : check_zeros(f, end, m->members[i].offset, err);
        if (!rc) {
            rc = hash_section(f, i, room, &pace, err);
        }
        end = m->members[i].offset + m->members[i].bytes;
    }
    if (f->folder >= 0) {
        rc = rc ? rc
                : check_zeros(f, WW_PACK_HEAD_BYTES, ww_pack_first(f->head.version), err);
    } else if (!rc) {
        rc = check_zeros(f, end, f->head.manifest_offset, err);
    }
    if (!rc) {
        rc = ww_file_unchanged(f->fd, &f->st, f->path, err);
    }
    report->bytes_read = f->bytes;
    report->seconds = ww_pace_seconds(&pace);
    ww_free(room);
    return rc;
}
