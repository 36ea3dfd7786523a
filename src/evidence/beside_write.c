/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ancestors first, which are named by their digests and disturb nothing; then the bill of
 * an older version goes, and the statement takes the older one's place in one step. A
 * file of its own, since it signs and the verifier must not hold code that does.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "evidence/beside.h"
#include "evidence/chain.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* The folder of the file, then the one beside it. */
static enum ww_err make_dir(const char *path, int *dirfd, struct ww_error *err)
{
    char *beside = ww_evidence_path(path);
    int fd = -1;
    enum ww_err rc =
        beside ? ww_dir_open_of(beside, &fd, err) : WW_FAIL_MEMORY(err, "a path");

    if (!rc) {
        rc = ww_mkdirs_at(fd, ww_path_base(beside), err);
    }
    if (!rc) {
        rc = ww_dir_open(beside, dirfd, err);
    }
    if (!rc) {
        rc = ww_mkdirs_at(*dirfd, WW_ANCESTORS_DIR, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    ww_free(beside);
    return rc;
}

static enum ww_err put(void *payload, const char *path, const void *bytes, size_t len,
                       struct ww_error *err)
{
    const int *dirfd = payload;

    return ww_file_write_at(*dirfd, path, bytes, len, 0644, true, err);
}

static enum ww_err drop_bill(int dirfd, struct ww_error *err)
{
    static const char *const names[] = {WW_BOM_FILE, WW_BOM_SIGNED_FILE};

    for (size_t i = 0; i < WW_LEN(names); i++) {
        if (unlinkat(dirfd, names[i], 0) != 0 && errno != ENOENT) {
            const int e = errno;
            return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot remove '%s'",
                               names[i]);
        }
    }
    return WW_OK;
}

enum ww_err ww_evidence_beside(const char *path, const struct ww_provenance *p,
                               const struct ww_ancestors *ancestors,
                               const struct ww_signer *signer, struct ww_error *err)
{
    struct ww_buf payload = {0};
    struct ww_buf bundle;
    int dirfd = -1;
    enum ww_err rc = ww_provenance_write(p, &payload, err);

    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        rc = make_dir(path, &dirfd, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(ancestors, put, &dirfd, err);
    }
    if (!rc) {
        rc = drop_bill(dirfd, err);
    }
    if (!rc) {
        rc = put(&dirfd, WW_PROVENANCE_FILE, bundle.data, bundle.len, err);
    }
    if (rc) {
        ww_error_context(err, "the evidence of '%s'", path);
    }
    if (dirfd >= 0) {
        close(dirfd);
    }
    ww_buf_release(&bundle);
    ww_buf_release(&payload);
    return rc;
}
