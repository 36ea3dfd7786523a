/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A package as the first link of a chain: its own signature by one of those that the walk
 * trusts, and every section, before the statement beside it is believed to speak of it.
 */
#include <string.h>
#include <unistd.h>

#include "evidence/chain.h"
#include "rmm/pack_folder.h"
#include "util/fail.h"
#include "util/fs.h"

/* Whatever begins like a package must be one. */
static enum ww_err is_package(const char *path, bool *out, struct ww_error *err)
{
    uint8_t bytes[sizeof(WW_PACK_MAGIC) - 1];
    struct stat st = {0};
    int fd = -1;
    enum ww_err rc = WW_OK;

    *out = ww_pack_folder_is(path);
    if (*out) {
        return WW_OK;
    }
    rc = ww_file_open(path, &fd, &st, err);
    if (!rc && (uint64_t)st.st_size >= sizeof(bytes)) {
        rc = ww_pread_full(fd, bytes, sizeof(bytes), 0, path, err);
        *out = !rc && memcmp(bytes, WW_PACK_MAGIC, sizeof(bytes)) == 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum ww_err check_signer(const struct ww_pack_file *f,
                                const struct ww_chain_keys *keys,
                                struct ww_verify_report *report, char hint[65],
                                struct ww_error *err)
{
    const struct ww_verifier *verifier = NULL;
    struct ww_bundle bundle = {0};
    enum ww_err rc = WW_OK;

    if (f->bundle.len == 0) {
        return WW_FAIL(err, WW_E_NOT_SIGNED,
                       "package '%s' is not signed; its author signs it with --sign when "
                       "it is packed or changed",
                       f->path);
    }
    rc = ww_bundle_parse(f->bundle.data, f->bundle.len, &bundle, err);
    if (!rc) {
        rc = ww_chain_keys_find(keys, &bundle, &verifier, err);
    }
    if (!rc) {
        rc = ww_pack_check_bundle(f, &bundle, verifier, report->signer, err);
    }
    if (!rc) {
        memcpy(hint, verifier->hint, WW_HINT_BYTES);
    } else {
        ww_error_context(err, "the signature of package '%s'", f->path);
    }
    ww_bundle_release(&bundle);
    return rc;
}

enum ww_err ww_pack_check_file(const char *path, const struct ww_chain_keys *keys,
                               struct ww_verify_report *report, char hint[65],
                               struct ww_error *err)
{
    const struct ww_run_options run = {0};
    struct ww_run_report read = {0};
    struct ww_pack_file f;
    bool is = false;
    enum ww_err rc = is_package(path, &is, err);

    if (rc || !is) {
        return rc;
    }
    rc = ww_pack_open(path, &f, err);
    if (rc) {
        return rc;
    }
    rc = check_signer(&f, keys, report, hint, err);
    if (!rc && f.folder >= 0) {
        rc = ww_pack_folder_alone(&f, err);
    }
    if (!rc) {
        rc = ww_pack_check_sections(&f, &run, &read, err);
    }
    if (!rc) {
        ww_hex(report->root_sha256, f.head.manifest_sha256, WW_SHA256_BYTES);
        report->files_checked = 1;
        report->bytes_checked = read.bytes_read;
    }
    ww_pack_close(&f);
    return rc;
}
