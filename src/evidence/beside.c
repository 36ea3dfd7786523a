/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder carries its evidence; a package or a recipe is one file, so its evidence lies
 * in a folder beside it, under the same paths, and the walk need not know the difference.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence/beside.h"
#include "evidence/chain.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define STEP ((size_t)1 << 20)

char *ww_evidence_path(const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/') {
        len--; /* shells complete names of folders so */
    }
    return ww_asprintf("%.*s" WW_EVIDENCE_SUFFIX, (int)len, path);
}

/* A package as a folder is known by its digest, as one file is. */
static bool is_packed(const char *path)
{
    char *file = ww_asprintf("%s/" WW_PACKED_FILE, path);
    uint8_t bytes[sizeof(WW_PACKED_MAGIC) - 1];
    struct stat st;
    int fd = -1;
    bool is = file && lstat(file, &st) == 0 && S_ISREG(st.st_mode) &&
              (size_t)st.st_size >= sizeof(bytes) &&
              ww_file_open(file, &fd, &st, NULL) == WW_OK &&
              ww_pread_full(fd, bytes, sizeof(bytes), 0, file, NULL) == WW_OK &&
              memcmp(bytes, WW_PACKED_MAGIC, sizeof(bytes)) == 0;

    if (fd >= 0) {
        close(fd);
    }
    ww_free(file);
    return is;
}

enum ww_err ww_evidence_dir(const char *path, bool *is_file, int *dirfd,
                            struct ww_error *err)
{
    struct ww_error local = {0};
    struct stat st;
    char *beside = NULL;
    enum ww_err rc = WW_OK;

    *is_file = (stat(path, &st) == 0 && S_ISREG(st.st_mode)) || is_packed(path);
    if (!*is_file) {
        return ww_dir_open(path, dirfd, err);
    }
    beside = ww_evidence_path(path);
    if (!beside) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = ww_dir_open(beside, dirfd, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_FAIL(err, rc, "'%s' has no evidence beside it: there is no folder '%s'",
                     path, beside);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    }
    ww_free(beside);
    return rc;
}

bool ww_evidence_speaks_of(int dirfd, const uint8_t root[WW_SHA256_BYTES])
{
    struct ww_provenance_view view = {0};
    struct ww_bundle bundle = {0};
    struct ww_buf text;
    bool same = false;

    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    same = ww_file_read_at(dirfd, WW_PROVENANCE_FILE, WW_LINKS_REFUSE, &text, NULL) ==
               WW_OK &&
           ww_bundle_parse(text.data, text.len, &bundle, NULL) == WW_OK &&
           ww_provenance_parse(bundle.payload.data, bundle.payload.len, &view, NULL) ==
               WW_OK &&
           memcmp(view.root, root, WW_SHA256_BYTES) == 0;
    ww_provenance_release(&view);
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
    return same;
}

enum ww_err ww_file_sha256(const char *path, uint8_t out[WW_SHA256_BYTES],
                           uint64_t *bytes, struct ww_error *err)
{
    uint8_t *room = ww_calloc(1, STEP);
    struct ww_sha256 *sha = NULL;
    struct stat st = {0};
    int fd = -1;
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "reading");

    if (!rc) {
        rc = ww_sha256_new(&sha, err);
    }
    if (!rc) {
        rc = ww_file_open(path, &fd, &st, err);
    }
    *bytes = (uint64_t)st.st_size;
    for (uint64_t at = 0; !rc && at < *bytes; at += STEP) {
        const size_t n = (size_t)ww_min_u64(STEP, *bytes - at);
        rc = ww_pread_full(fd, room, n, at, path, err);
        if (!rc) {
            ww_sha256_update(sha, room, n);
        }
    }
    if (!rc) {
        rc = ww_file_unchanged(fd, &st, path, err);
    }
    if (!rc) {
        ww_sha256_final(sha, out);
    }
    ww_sha256_free(sha);
    ww_free(room);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
