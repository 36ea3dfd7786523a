/* SPDX-License-Identifier: Apache-2.0 */
/* Files: opened once below a folder descriptor, written whole or not at all. */
#ifndef WW_UTIL_FS_H
#define WW_UTIL_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/str.h"
#include "weightward/error.h"

/** True for a bare file name: UTF-8, 1 to 255 bytes, no '/', not "." or "..", no control
 *  character. */
bool ww_path_is_bare(const char *name);

/** What keeps a name from being one, to be said behind it: "is empty"; borrowed, NULL
 * when nothing does. */
const char *ww_path_fault(const char *name);

/** True for a clean relative path: components as above joined by single '/'. */
bool ww_path_is_relative(const char *path);

/** The same asked: WW_E_PATH when it is none. */
enum ww_err ww_path_check_relative(const char *path, struct ww_error *err) WW_MUST_USE;

/** "a/b"; NULL when memory is out. */
char *ww_path_join(const char *a, const char *b) WW_MUST_USE;

/** The last component of a path, borrowed; trailing slashes must have been removed. */
const char *ww_path_base(const char *path);

/** The folder that a path lies in, without a slash at its end: "." for a bare name, "/"
 * for what lies there. The caller's; NULL when memory ends. */
char *ww_path_folder(const char *path);

/** The last component of a path that may end in slashes; *out is the caller's. */
enum ww_err ww_path_last(const char *path, char **out, struct ww_error *err) WW_MUST_USE;

/** WW_E_EXISTS when something is there, be it a dangling link. */
enum ww_err ww_path_check_new(const char *path, struct ww_error *err) WW_MUST_USE;

/** May out_path be made beside model_path? WW_E_EXISTS when it is there, WW_E_USAGE when
 *  it lies inside the model. */
enum ww_err ww_path_check_output(const char *model_path, const char *out_path,
                                 struct ww_error *err) WW_MUST_USE;

/** May something be written to path, whether it is there or not? WW_E_USAGE when it lies
 *  inside the model, WW_E_NOTFOUND when its folder is not there. */
enum ww_err ww_path_check_outside(const char *model_path, const char *path,
                                  struct ww_error *err) WW_MUST_USE;

/** Open a folder; *fd is the caller's. */
enum ww_err ww_dir_open(const char *path, int *fd, struct ww_error *err) WW_MUST_USE;

/** Open the folder that a path lies in; *fd is the caller's. */
enum ww_err ww_dir_open_of(const char *path, int *fd, struct ww_error *err) WW_MUST_USE;

/** How a symbolic link met on the way is treated. */
enum ww_links {
    WW_LINKS_REFUSE, /* any link is WW_E_PATH */
    WW_LINKS_INSIDE, /* followed while it stays below the folder */
    WW_LINKS_HUB     /* as INSIDE, also into a hub cache's ../../blobs/ */
};

/** Open a regular file below dirfd for reading: relative clean path only, no FIFO, no
 *  device. WW_E_NOTFOUND, WW_E_PATH, WW_E_IO. */
enum ww_err ww_file_open_at(int dirfd, const char *path, enum ww_links links, int *fd,
                            struct stat *st, struct ww_error *err) WW_MUST_USE;

/** Open a regular file by a path that the user gave: links are followed. */
enum ww_err ww_file_open(const char *path, int *fd, struct stat *st,
                         struct ww_error *err) WW_MUST_USE;

/** Read exactly len bytes at offset; a short file is WW_E_IO. */
enum ww_err ww_pread_full(int fd, void *out, size_t len, uint64_t offset,
                          const char *name, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_pwrite_full(int fd, const void *bytes, size_t len, uint64_t offset,
                           const char *name, struct ww_error *err) WW_MUST_USE;

/** Read a whole small file in place of what buf held; larger than buf->max is
 *  WW_E_LIMIT. */
enum ww_err ww_file_read_at(int dirfd, const char *path, enum ww_links links,
                            struct ww_buf *buf, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_file_read(const char *path, struct ww_buf *buf,
                         struct ww_error *err) WW_MUST_USE;

/** Same file, size and times as before? Used after reading: WW_E_CHANGED if not. */
enum ww_err ww_file_unchanged(int fd, const struct stat *before, const char *name,
                              struct ww_error *err) WW_MUST_USE;

/** fsync with fault injection; WW_E_IO or WW_E_NOSPACE. */
enum ww_err ww_fsync(int fd, const char *name, struct ww_error *err) WW_MUST_USE;

/** The same for the folder that a path lies in, which then remembers a new name. */
enum ww_err ww_fsync_folder_of(const char *path, struct ww_error *err) WW_MUST_USE;

/** renameat within one folder or between two, then fsync of the target folder. */
enum ww_err ww_rename_at(int from_dir, const char *from, int to_dir, const char *to,
                         bool replace, struct ww_error *err) WW_MUST_USE;

/** rename that refuses an existing target, for file systems that cannot do it in one
 *  call: a second hard link is as atomic. 0, or -1 with errno. Used by ww_rename_at. */
int ww_rename_new_portable(int from_dir, const char *from, int to_dir, const char *to);

/** Write a small file whole: NAME.partial (0644 or the given mode), fsync, rename, fsync
 *  of the folder. Never replaces unless asked. Writers at the same time go one after the
 *  other, and WW_E_EXISTS is for who waited in vain. */
enum ww_err ww_file_write_at(int dirfd, const char *path, const void *bytes, size_t len,
                             mode_t mode, bool replace, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_file_write(const char *path, const void *bytes, size_t len, mode_t mode,
                          bool replace, struct ww_error *err) WW_MUST_USE;

/** mkdir -p below dirfd (0755); a link in the place of a folder is WW_E_PATH. */
enum ww_err ww_mkdirs_at(int dirfd, const char *path, struct ww_error *err) WW_MUST_USE;

/** Remove the entry with this bare name and all below it; links are removed, not
 *  followed; missing is fine. Depth limit 128. */
enum ww_err ww_remove_tree_at(int dirfd, const char *name,
                              struct ww_error *err) WW_MUST_USE;

/** The same for an entry by its path. */
enum ww_err ww_remove_tree(const char *path, struct ww_error *err) WW_MUST_USE;

/** One entry of a walk; path is relative to the walked folder, '/'-separated. */
struct ww_walk_entry {
    const char *path;
    mode_t type; /* S_IFREG, S_IFLNK, S_IFDIR, ... (S_IFMT bits) */
    uint64_t size_bytes;
};
/** Called per entry that is not a folder, and per folder before its contents with type
 *  S_IFDIR; set *skip to leave the folder out. */
typedef enum ww_err (*ww_walk_fn)(void *payload, const struct ww_walk_entry *entry,
                                  bool *skip, struct ww_error *err);
/** Visit everything below dirfd, entries of a folder in byte order. Names that are not
 *  UTF-8 or hold control characters are WW_E_PATH. Depth limit 32. */
enum ww_err ww_walk(int dirfd, ww_walk_fn visit, void *payload,
                    struct ww_error *err) WW_MUST_USE;

/** Map errno to a code: ENOSPC and EDQUOT to WW_E_NOSPACE, ENOENT to WW_E_NOTFOUND,
 *  EEXIST to WW_E_EXISTS, ENOMEM to WW_E_NOMEM, else WW_E_IO. */
enum ww_err ww_err_from_errno(int sys_errno);

#endif
