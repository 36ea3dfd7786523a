/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders as trees. A folder is listed whole and sorted before it is visited, so that a
 * walk has one order on every file system and entries may be removed on the way. Every
 * step goes through the descriptor of the folder above and never through a link.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define WALK_DEPTH 32
#define REMOVE_DEPTH 128
#define PATH_LIMIT 65536

static enum ww_err collect(DIR *dir, struct ww_strlist *names, const char *where,
                           struct ww_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            int e = errno;
            return e ? WW_FAIL_SYS(err, WW_E_IO, e, "cannot list folder '%s'", where)
                     : WW_OK;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        enum ww_err rc = ww_strlist_add(names, entry->d_name, err);
        if (rc) {
            return rc;
        }
    }
}

/* Sorted names of the folder; dirfd stays open and its position is of no matter. */
static enum ww_err list_folder(int dirfd, struct ww_strlist *names, const char *where,
                               struct ww_error *err)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int e = errno;
        if (fd >= 0) {
            close(fd);
        }
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot list folder '%s'", where);
    }
    enum ww_err rc = collect(dir, names, where, err);
    closedir(dir);
    ww_strlist_sort(names);
    return rc;
}

static int open_subfolder(int dirfd, const char *name)
{
    return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

struct walk {
    ww_walk_fn visit;
    void *payload;
    struct ww_buf path; /* of the folder being visited, then of its entry */
    unsigned depth;
};

static enum ww_err walk_folder(struct walk *w, int dirfd, struct ww_error *err);

static enum ww_err descend(struct walk *w, int dirfd, const char *name,
                           struct ww_error *err)
{
    const char *path = ww_buf_cstr(&w->path);
    if (w->depth == WALK_DEPTH) {
        return WW_FAIL(err, WW_E_LIMIT, "folder '%s' is nested deeper than %d", path,
                       WALK_DEPTH);
    }
    int fd = open_subfolder(dirfd, name);
    if (fd < 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot open folder '%s'", path);
    }
    w->depth++;
    enum ww_err rc = walk_folder(w, fd, err);
    w->depth--;
    close(fd);
    return rc;
}

/* w->path already names the entry. */
static enum ww_err walk_entry(struct walk *w, int dirfd, const char *name,
                              struct ww_error *err)
{
    struct stat st;
    const char *path = ww_buf_cstr(&w->path);
    if (!ww_path_is_bare(name)) {
        return WW_FAIL(err, WW_E_PATH,
                       "name '%s' is not UTF-8 or holds a control "
                       "character; rename or remove it",
                       path);
    }
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        int e = errno;
        return WW_FAIL_SYS(err, e == ENOENT ? WW_E_CHANGED : WW_E_IO, e,
                           "cannot examine '%s'", path);
    }
    bool skip = false;
    struct ww_walk_entry entry = {
        .path = path,
        .type = st.st_mode & S_IFMT,
        .size_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
    };
    enum ww_err rc = w->visit(w->payload, &entry, &skip, err);
    if (rc || !S_ISDIR(st.st_mode) || skip) {
        return rc;
    }
    return descend(w, dirfd, name, err);
}

static enum ww_err walk_folder(struct walk *w, int dirfd, struct ww_error *err)
{
    struct ww_strlist names = {0};
    size_t base_len = w->path.len;
    enum ww_err rc =
        list_folder(dirfd, &names, base_len ? ww_buf_cstr(&w->path) : ".", err);
    for (size_t i = 0; i < names.n && !rc; i++) {
        w->path.len = base_len;
        rc = ww_buf_addf(&w->path, err, "%s%s", base_len ? "/" : "", names.items[i]);
        if (!rc) {
            rc = walk_entry(w, dirfd, names.items[i], err);
        }
    }
    w->path.len = base_len;
    ww_strlist_release(&names);
    return rc;
}

enum ww_err ww_walk(int dirfd, ww_walk_fn visit, void *payload, struct ww_error *err)
{
    struct walk w = {.visit = visit, .payload = payload};
    ww_buf_init(&w.path, PATH_LIMIT);
    enum ww_err rc = walk_folder(&w, dirfd, err);
    ww_buf_release(&w.path);
    return rc;
}

static enum ww_err mkdir_one(int dirfd, const char *name, int *fd, const char *path,
                             struct ww_error *err)
{
    int e = 0;
    if (mkdirat(dirfd, name, 0755) != 0) {
        e = errno;
        if (e != EEXIST) {
            return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make folder '%s'",
                               path);
        }
    } else {
        enum ww_err rc = ww_fsync(dirfd, path, err);
        if (rc) {
            return rc;
        }
    }
    *fd = open_subfolder(dirfd, name);
    if (*fd < 0) {
        e = errno;
        return WW_FAIL_SYS(err, e == ENOTDIR || e == ELOOP ? WW_E_PATH : WW_E_IO, e,
                           "cannot open '%s' of '%s' as a folder", name, path);
    }
    return WW_OK;
}

enum ww_err ww_mkdirs_at(int dirfd, const char *path, struct ww_error *err)
{
    const enum ww_err plain = ww_path_check_relative(path, err);
    if (plain) {
        return plain;
    }
    char *names = ww_strdup(path);
    if (!names) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    enum ww_err rc = WW_OK;
    int at = dirfd;
    for (char *name = names; name && !rc;) {
        char *slash = strchr(name, '/');
        if (slash) {
            *slash = '\0';
        }
        int next = -1;
        rc = mkdir_one(at, name, &next, path, err);
        if (at != dirfd) {
            close(at);
        }
        at = next;
        name = slash ? slash + 1 : NULL;
    }
    if (at >= 0 && at != dirfd) {
        close(at);
    }
    ww_free(names);
    return rc;
}

static enum ww_err remove_entry(int dirfd, const char *name, unsigned depth,
                                struct ww_error *err);

static enum ww_err remove_contents(int dirfd, const char *name, unsigned depth,
                                   struct ww_error *err)
{
    struct ww_strlist names = {0};
    if (depth == REMOVE_DEPTH) {
        return WW_FAIL(err, WW_E_LIMIT, "folder '%s' is nested deeper than %d", name,
                       REMOVE_DEPTH);
    }
    int fd = open_subfolder(dirfd, name);
    if (fd < 0) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot open folder '%s'", name);
    }
    enum ww_err rc = list_folder(fd, &names, name, err);
    for (size_t i = 0; i < names.n && !rc; i++) {
        rc = remove_entry(fd, names.items[i], depth + 1, err);
    }
    ww_strlist_release(&names);
    close(fd);
    return rc;
}

static enum ww_err remove_entry(int dirfd, const char *name, unsigned depth,
                                struct ww_error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        int e = errno;
        return e == ENOENT ? WW_OK
                           : WW_FAIL_SYS(err, WW_E_IO, e, "cannot examine '%s'", name);
    }
    bool is_folder = S_ISDIR(st.st_mode);
    if (is_folder) {
        enum ww_err rc = remove_contents(dirfd, name, depth, err);
        if (rc) {
            return rc;
        }
    }
    if (unlinkat(dirfd, name, is_folder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
        int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot remove '%s'", name);
    }
    return WW_OK;
}

enum ww_err ww_remove_tree_at(int dirfd, const char *name, struct ww_error *err)
{
    if (!ww_path_is_bare(name)) {
        return WW_FAIL(err, WW_E_PATH, "'%s' is not the name of an entry", name);
    }
    return remove_entry(dirfd, name, 0, err);
}

enum ww_err ww_remove_tree(const char *path, struct ww_error *err)
{
    int dirfd = -1;
    enum ww_err rc = ww_dir_open_of(path, &dirfd, err);

    if (!rc) {
        rc = ww_remove_tree_at(dirfd, ww_path_base(path), err);
        close(dirfd);
    }
    return rc;
}
