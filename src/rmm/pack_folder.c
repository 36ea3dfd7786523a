/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a package that is a folder. */
#include "rmm/pack_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

bool ww_pack_folder_is(const char *path)
{
    char *file = ww_asprintf("%s/" WW_PACK_FOLDER_FILE, path);
    struct stat st;
    const bool is = file && lstat(file, &st) == 0 && S_ISREG(st.st_mode);

    ww_free(file);
    return is;
}

enum ww_err ww_pack_folder_open(struct ww_pack_file *out, struct ww_error *err)
{
    enum ww_err rc = ww_dir_open(out->path, &out->folder, err);

    return rc ? rc
              : ww_file_open_at(out->folder, WW_PACK_FOLDER_FILE, WW_LINKS_REFUSE,
                                &out->fd, &out->st, err);
}

bool ww_pack_folder_names_section(const char *name)
{
    uint8_t sha256[WW_SHA256_BYTES];
    const size_t len = strlen(name);

    return len == 2 * sizeof(sha256) && ww_unhex(sha256, sizeof(sha256), name, len);
}

bool ww_pack_folder_wants(const struct ww_pack_manifest *manifest, const char *name)
{
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    for (size_t i = 0; i < manifest->n_members; i++) {
        ww_hex(hex, manifest->members[i].sha256, WW_SHA256_BYTES);
        if (strcmp(hex, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A descriptor of its own, since a listing has a place in it. */
static enum ww_err open_listing(const struct ww_pack_file *f, DIR **out,
                                struct ww_error *err)
{
    const int copy = openat(f->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *out = copy < 0 ? NULL : fdopendir(copy);
    if (*out) {
        return WW_OK;
    }
    const int e = errno;
    if (copy >= 0) {
        close(copy);
    }
    return WW_FAIL_SYS(err, WW_E_IO, e, "cannot read folder '%s'", f->path);
}

enum ww_err ww_pack_folder_foreign(const struct ww_pack_file *f, uint64_t *n,
                                   char **first, struct ww_error *err)
{
    DIR *dir = NULL;
    enum ww_err rc = open_listing(f, &dir, err);

    *n = 0;
    *first = NULL;
    if (rc) {
        return rc;
    }
    for (struct dirent *e = readdir(dir); e && !rc; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, WW_PACK_FOLDER_FILE) == 0 ||
            ww_pack_folder_wants(&f->manifest, e->d_name)) {
            continue;
        }
        if (!*first || strcmp(e->d_name, *first) < 0) {
            ww_free(*first);
            *first = ww_strdup(ww_text_ok((const uint8_t *)e->d_name, strlen(e->d_name))
                                   ? e->d_name
                                   : "?");
            rc = *first ? WW_OK : WW_FAIL_MEMORY(err, "a name");
        }
        ++*n;
    }
    closedir(dir);
    return rc;
}

enum ww_err ww_pack_folder_alone(const struct ww_pack_file *f, struct ww_error *err)
{
    DIR *dir = NULL;
    enum ww_err rc = open_listing(f, &dir, err);

    if (rc) {
        return rc;
    }
    for (struct dirent *e = readdir(dir); e && !rc; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, WW_PACK_FOLDER_FILE) != 0 &&
            !ww_pack_folder_names_section(e->d_name)) {
            rc =
                WW_FAIL(err, WW_E_TAMPERED,
                        "'%s' in package '%s' is no part of it; what else is in there is "
                        "not under its signature: move it away",
                        e->d_name, f->path);
        }
    }
    closedir(dir);
    return rc;
}

enum ww_err ww_pack_folder_section(const struct ww_pack_file *f, size_t member, int *fd,
                                   struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[member];
    char name[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct stat st;
    enum ww_err rc = WW_OK;

    ww_hex(name, m->sha256, WW_SHA256_BYTES);
    rc = ww_file_open_at(f->folder, name, WW_LINKS_REFUSE, fd, &st, err);
    if (!rc && (uint64_t)st.st_size != m->bytes) {
        close(*fd);
        *fd = -1;
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "section '%.16s...' has %llu bytes, the manifest says %llu", name,
                     (unsigned long long)st.st_size, (unsigned long long)m->bytes);
    }
    if (rc) {
        ww_error_context(err, "package '%s', member '%s'", f->path, m->name);
    }
    return rc;
}
