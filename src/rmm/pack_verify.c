/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying needs no key: the signed manifest holds the digest of each section as it lies
 * in the file. With the base, and keys for what is sealed, members are restored in memory
 * as well, which shows that they can be.
 */
#include <string.h>

#include "rmm/pace.h"
#include "rmm/unpack_run.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define STEP ((size_t)1 << 20)

static enum ww_err check_zeros(const struct ww_pack_file *f, uint64_t from, uint64_t to,
                               struct ww_error *err)
{
    uint8_t bytes[WW_PACK_ALIGN];
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

static enum ww_err hash_section(const struct ww_pack_file *f,
                                const struct ww_pack_manifest_member *m, uint8_t *room,
                                struct ww_pace *pace, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    for (uint64_t at = 0; at < m->bytes && !rc; at += STEP) {
        const size_t n = (size_t)ww_min_u64(STEP, m->bytes - at);
        rc = ww_pread_full(f->fd, room, n, m->offset + at, f->path, err);
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
    return rc;
}

static enum ww_err check_sections(const struct ww_pack_file *f,
                                  const struct ww_run_options *run,
                                  struct ww_run_report *report, struct ww_error *err)
{
    const struct ww_pack_manifest *m = &f->manifest;
    struct ww_pace pace;
    uint64_t end = WW_PACK_HEAD_BYTES;
    uint8_t *room = ww_calloc(1, STEP);
    enum ww_err rc = room ? WW_OK : WW_FAIL(err, WW_E_NOMEM, "out of memory for reading");

    ww_pace_begin(&pace, run, "verify", f->head.manifest_offset);
    for (size_t i = 0; i < m->n_members && !rc; i++) {
        rc = check_zeros(f, end, m->members[i].offset, err);
        if (!rc) {
            rc = hash_section(f, &m->members[i], room, &pace, err);
        }
        end = m->members[i].offset + m->members[i].bytes;
    }
    if (!rc) {
        rc = check_zeros(f, end, f->head.manifest_offset, err);
    }
    if (!rc) {
        rc = ww_file_unchanged(f->fd, &f->st, f->path, err);
    }
    report->bytes_read = (uint64_t)f->st.st_size;
    report->seconds = ww_pace_seconds(&pace);
    ww_free(room);
    return rc;
}

/* Members that cannot be opened with what was given are left to the digests. */
static enum ww_err restore_members(const char *path,
                                   const struct ww_pack_verify_options *options,
                                   struct ww_pack_report *report, struct ww_error *err)
{
    const struct ww_unpack_options unpack = {.base = options->base,
                                             .sources = options->sources,
                                             .n_sources = options->n_sources,
                                             .unsealer = options->unsealer};
    const bool may_open = options->unsealer && options->unsealer->recipient_key;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_members && !rc; i++) {
        struct ww_unpack_run run;
        struct ww_run_report one = {0};
        struct ww_error why = {0};
        if (report->members[i].sealed && !may_open) {
            continue;
        }
        rc = ww_unpack_open(&run, path, report->members[i].name, &unpack, &why);
        if (rc == WW_E_NOT_FOR_YOU && report->members[i].sealed) {
            rc = WW_OK;
            continue;
        }
        if (!rc) {
            rc = ww_unpack_restore(&run, NULL, &options->run, &one, &why);
            ww_unpack_close(&run);
        }
        report->restored += !rc;
        report->run.bytes_read += one.bytes_read;
        report->run.seconds += one.seconds;
        if (rc) {
            rc = WW_FAIL(err, rc, "%s", why.text);
        }
    }
    return rc;
}

static enum ww_err check_version(const struct ww_pack_file *f, uint64_t least,
                                 struct ww_error *err)
{
    if (f->manifest.version >= least) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_DENIED,
                   "package '%s' is version %llu, expected at least %llu: it was rolled "
                   "back, or is an old copy",
                   f->path, (unsigned long long)f->manifest.version,
                   (unsigned long long)least);
}

enum ww_err ww_pack_verify(const char *path, const struct ww_pack_verify_options *options,
                           struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_pack_file f;
    char signer[256] = "";
    enum ww_err rc = ww_pack_open(path, &f, err);

    memset(report, 0, sizeof(*report));
    if (rc) {
        return rc;
    }
    if (options->public_key) {
        rc = ww_pack_check_signature(&f, options->public_key, signer, err);
    }
    if (!rc) {
        rc = check_version(&f, options->least_version, err);
    }
    if (!rc) {
        rc = ww_pack_describe(&f, report, err);
    }
    if (!rc) {
        memcpy(report->signer, signer, sizeof(signer));
        rc = check_sections(&f, &options->run, &report->run, err);
    }
    if (!rc && options->base) {
        rc = restore_members(path, options, report, err);
    }
    ww_pack_close(&f);
    if (rc) {
        ww_pack_report_release(report);
    }
    return rc;
}
