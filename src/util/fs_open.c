/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening input. A model folder is untrusted: a name in it may be a link to a secret, a
 * pipe that never answers or a device. So files are opened below the folder's descriptor
 * without blocking, and only then is it decided, on the open descriptor, what they are.
 *
 * The one link out of the folder that is followed is the Hugging Face hub cache's:
 * models--X/snapshots/REV/FILE -> ../../blobs/HASH. It is read as text, and the blob is
 * opened below that blobs folder without following anything further.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/beneath.h"
#include "util/fail.h"
#include "util/fs.h"

#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define LINK_BYTES 4096

struct errno_row {
    int sys_errno;
    enum ww_err code;
};

static const struct errno_row errno_rows[] = {
    {ENOSPC, WW_E_NOSPACE}, {EDQUOT, WW_E_NOSPACE}, {ENOENT, WW_E_NOTFOUND},
    {EEXIST, WW_E_EXISTS},  {ENOMEM, WW_E_NOMEM},
};

enum ww_err ww_err_from_errno(int sys_errno)
{
    for (size_t i = 0; i < WW_LEN(errno_rows); i++) {
        if (errno_rows[i].sys_errno == sys_errno) {
            return errno_rows[i].code;
        }
    }
    return WW_E_IO;
}

enum ww_err ww_dir_open(const char *path, int *fd, struct ww_error *err)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        int e = errno;
        struct stat st;
        if (e == ENOTDIR && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            return WW_FAIL(err, WW_E_IO,
                           "cannot open folder '%s': it is a file; give the folder that "
                           "holds it",
                           path);
        }
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open folder '%s'", path);
    }
    return WW_OK;
}

enum ww_err ww_dir_open_of(const char *path, int *fd, struct ww_error *err)
{
    char *folder = ww_path_folder(path);
    const enum ww_err rc =
        folder ? ww_dir_open(folder, fd, err) : WW_FAIL_MEMORY(err, "a path");

    ww_free(folder);
    return rc;
}

static enum ww_err open_failed(const char *path, int e, struct ww_error *err)
{
    if (e == ELOOP) {
        return WW_FAIL_SYS(err, WW_E_PATH, e,
                           "file '%s' is or lies behind a link that "
                           "is not followed",
                           path);
    }
    if (e == EXDEV) {
        return WW_FAIL(err, WW_E_PATH, "file '%s' is a link that leaves the folder",
                       path);
    }
    if (e == ENXIO) {
        return WW_FAIL(err, WW_E_PATH, "file '%s' is not a regular file", path);
    }
    if (e == ENOTDIR) {
        return WW_FAIL_SYS(err, WW_E_NOTFOUND, e, "cannot open '%s'", path);
    }
    return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open '%s'", path);
}

/* Drop the last component of a path that has been built up; false at its start. */
static bool drop_last(char *path)
{
    char *slash = strrchr(path, '/');
    char *end = slash ? slash : path;
    bool had_one = *path != '\0';
    *end = '\0';
    return had_one;
}

/*
 * The name of the blob that target, read from a link in folder (relative, "" for the
 * model folder itself), points at; NULL when it does not lead to ../../blobs/NAME.
 * folder is used up.
 */
static const char *blob_name(char *folder, const char *target)
{
    unsigned above = 0;
    while (strncmp(target, "../", 3) == 0) {
        above += !drop_last(folder);
        target += 3;
    }
    bool is_blob = above == 2 && ww_str_starts(target, "blobs/") &&
                   ww_path_is_bare(target + strlen("blobs/"));
    return is_blob ? target + strlen("blobs/") : NULL;
}

/* A descriptor, or -errno; EXDEV for a link that leads anywhere else. */
static int open_blob(int dirfd, const char *name)
{
    int fd = openat(dirfd, "../../blobs", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? -EXDEV : -errno;
    }
    int file = ww_open_beneath(fd, name, READ_FLAGS, false);
    close(fd);
    return file;
}

static int open_hub_link(int dirfd, const char *path)
{
    char target[LINK_BYTES];
    int folder_fd = -1;
    int result = -ENOMEM;
    char *folder = ww_strdup(path);
    if (!folder) {
        return -ENOMEM;
    }
    if (!strchr(path, '/')) {
        folder[0] = '\0';
    } else {
        drop_last(folder);
    }
    /* Without links on the way, stepping back in the text is stepping back on disk. */
    folder_fd =
        ww_open_beneath(dirfd, folder[0] ? folder : ".", O_PATH | O_DIRECTORY, false);
    if (folder_fd < 0) {
        result = folder_fd;
        goto out;
    }
    ssize_t n = readlinkat(folder_fd, ww_path_base(path), target, sizeof(target) - 1);
    if (n < 0) {
        result = errno == EINVAL ? -EXDEV : -errno;
        goto out;
    }
    target[n] = '\0';
    const char *name = blob_name(folder, target);
    result = name ? open_blob(dirfd, name) : -EXDEV;
out:
    if (folder_fd >= 0) {
        close(folder_fd);
    }
    ww_free(folder);
    return result;
}

/* What was opened must be a regular file; from then on reads may block as usual. */
static enum ww_err accept_regular(int fd, const char *path, struct stat *st,
                                  struct ww_error *err)
{
    if (fstat(fd, st) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot examine '%s'", path);
    }
    if (S_ISDIR(st->st_mode)) {
        return WW_FAIL(err, WW_E_PATH, "'%s' is a folder, a file is expected", path);
    }
    if (!S_ISREG(st->st_mode)) {
        return WW_FAIL(err, WW_E_PATH, "file '%s' is not a regular file", path);
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot prepare '%s' for reading", path);
    }
    return WW_OK;
}

static enum ww_err finish_open(int opened, const char *path, int *fd, struct stat *st,
                               struct ww_error *err)
{
    struct stat own;
    if (opened < 0) {
        return open_failed(path, -opened, err);
    }
    enum ww_err rc = accept_regular(opened, path, st ? st : &own, err);
    if (rc) {
        close(opened);
        return rc;
    }
    *fd = opened;
    return WW_OK;
}

enum ww_err ww_file_open_at(int dirfd, const char *path, enum ww_links links, int *fd,
                            struct stat *st, struct ww_error *err)
{
    *fd = -1;
    const enum ww_err plain = ww_path_check_relative(path, err);
    if (plain) {
        return plain;
    }
    int opened = ww_open_beneath(dirfd, path, READ_FLAGS, links != WW_LINKS_REFUSE);
    if (opened == -EXDEV && links == WW_LINKS_HUB) {
        opened = open_hub_link(dirfd, path);
    }
    return finish_open(opened, path, fd, st, err);
}

enum ww_err ww_file_open(const char *path, int *fd, struct stat *st, struct ww_error *err)
{
    *fd = -1;
    int opened = open(path, READ_FLAGS);
    return finish_open(opened < 0 ? -errno : opened, path, fd, st, err);
}
