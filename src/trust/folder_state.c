/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a folder is what it was when it was judged. A source is read by the guard and
 * then once more by the action, which may have waited for a passphrase in between; change
 * times, which nobody can set, tell whether somebody exchanged it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "sign/cache.h"
#include "sign/ignore.h"
#include "trust/facts.h"
#include "util/fail.h"
#include "util/fs.h"

struct folder {
    int dirfd;
    struct ww_sha256 *sha;
};

static enum ww_err add_entry(void *payload, const struct ww_walk_entry *entry, bool *skip,
                             struct ww_error *err)
{
    const struct folder *f = payload;
    char state[WW_FILE_STATE_BYTES];
    struct stat st;

    *skip = ww_oms_leaves_out(entry->path);
    if (*skip || entry->type == S_IFDIR) {
        return WW_OK;
    }
    if (fstatat(f->dirfd, entry->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_CHANGED, e, "cannot examine '%s'", entry->path);
    }
    ww_file_state(&st, state);
    ww_sha256_update(f->sha, entry->path, strlen(entry->path) + 1);
    ww_sha256_update(f->sha, state, strlen(state) + 1);
    return WW_OK;
}

enum ww_err ww_facts_folder_state(const char *path, uint8_t out[WW_SHA256_BYTES],
                                  struct ww_error *err)
{
    struct folder f = {.dirfd = -1};
    enum ww_err rc = ww_dir_open(path, &f.dirfd, err);

    if (rc) {
        return rc;
    }
    rc = ww_sha256_new(&f.sha, err);
    if (!rc) {
        rc = ww_walk(f.dirfd, add_entry, &f, err);
        ww_sha256_final(f.sha, out);
    }
    ww_sha256_free(f.sha);
    close(f.dirfd);
    return rc;
}
