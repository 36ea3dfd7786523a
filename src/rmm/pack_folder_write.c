/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections first, then the file that names them, in one step: whoever reads in between
 * has the version before. A file with a section's name has its bytes, or a run was killed
 * while it was written under another name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "rmm/pack_folder.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define STEP ((size_t)1 << 20)
#define PARTIAL ".partial"

struct placing {
    const struct ww_pack_new *made;
    int dirfd;
    uint8_t *room; /* STEP */
    bool *put;     /* sections that were not there, per member */
    bool named;    /* by "package" */
};

/* Bytes of the package as one file, at the end of another. */
static enum ww_err append(const struct placing *p, uint64_t from, uint64_t n, int to,
                          uint64_t at, const char *name, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t done = 0; done < n && !rc; done += STEP) {
        const size_t some = (size_t)ww_min_u64(STEP, n - done);
        rc =
            ww_pread_full(p->made->fd, p->room, some, from + done, p->made->partial, err);
        if (!rc) {
            rc = ww_pwrite_full(to, p->room, some, at + done, name, err);
        }
    }
    return rc;
}

/* Two ranges as one file, which appears whole. *named: it has its name, which it may have
 * after a failure too, when only the folder could not be flushed. */
static enum ww_err put_file(const struct placing *p, const char *name, uint64_t from,
                            uint64_t n, uint64_t tail, uint64_t n_tail, bool *named,
                            struct ww_error *err)
{
    char *partial = ww_asprintf("%s" PARTIAL, name);
    int fd = -1;
    enum ww_err rc = partial ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    if (!rc) {
        (void)unlinkat(p->dirfd, partial, 0);
        fd = openat(p->dirfd, partial,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    }
    if (!rc && fd < 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot create '%s' in '%s'",
                         partial, p->made->path);
    }
    if (!rc) {
        rc = append(p, from, n, fd, 0, partial, err);
    }
    if (!rc) {
        rc = append(p, tail, n_tail, fd, n, partial, err);
    }
    if (!rc) {
        rc = ww_fsync(fd, partial, err);
    }
    if (!rc) {
        rc = ww_rename_at(p->dirfd, partial, p->dirfd, name, true, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    *named = fd >= 0;
    if (rc && fd >= 0 && unlinkat(p->dirfd, partial, 0) == 0) {
        *named = false;
    }
    ww_free(partial);
    return rc;
}

static enum ww_err put_section(const struct placing *p,
                               const struct ww_pack_manifest_member *m, bool *put,
                               struct ww_error *err)
{
    char name[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct stat st;

    ww_hex(name, m->sha256, WW_SHA256_BYTES);
    if (fstatat(p->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_size == m->bytes) {
        return WW_OK;
    }
    return put_file(p, name, m->offset, m->bytes, 0, 0, put, err);
}

/* What a version that failed has put there: nobody names it. */
static void take_back(const struct placing *p, const struct ww_pack_manifest *manifest)
{
    char name[WW_HEX_BYTES(WW_SHA256_BYTES)];

    for (size_t i = 0; i < manifest->n_members && !p->named; i++) {
        if (p->put[i]) {
            ww_hex(name, manifest->members[i].sha256, WW_SHA256_BYTES);
            (void)unlinkat(p->dirfd, name, 0);
        }
    }
}

/* Names of sections alone: whatever else lies there is not ours. */
static void drop_unwanted(const struct placing *p,
                          const struct ww_pack_manifest *manifest)
{
    const int copy = openat(p->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir) {
        if (copy >= 0) {
            close(copy);
        }
        return;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (ww_pack_folder_names_section(e->d_name) &&
            !ww_pack_folder_wants(manifest, e->d_name)) {
            (void)unlinkat(p->dirfd, e->d_name, 0);
        }
    }
    closedir(dir);
}

static enum ww_err put_all(struct placing *p, const struct ww_pack_manifest *manifest,
                           uint64_t tail_bytes, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < manifest->n_members && !rc; i++) {
        rc = put_section(p, &manifest->members[i], &p->put[i], err);
    }
    if (!rc) {
        rc =
            ww_fsync(p->dirfd, p->made->path, err); /* their names before it names them */
    }
    if (!rc) {
        rc = put_file(p, WW_PACK_FOLDER_FILE, 0, ww_pack_first(p->made->version),
                      p->made->at, tail_bytes, &p->named, err);
    }
    return rc ? rc : ww_fsync(p->dirfd, p->made->path, err);
}

/* In a folder of another name, which then gets its own. */
static enum ww_err place_new(struct placing *p, const struct ww_pack_manifest *manifest,
                             uint64_t tail_bytes, struct ww_error *err)
{
    const char *base = ww_path_base(p->made->path);
    char *partial = ww_asprintf("%s.folder" PARTIAL, base);
    enum ww_err rc = partial ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    if (!rc) {
        (void)!ww_remove_tree_at(p->made->dirfd, partial, NULL); /* a killed run's */
    }
    if (!rc && mkdirat(p->made->dirfd, partial, 0777) != 0) {
        const int e = errno;
        rc =
            WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make folder '%s'", partial);
    }
    if (rc) {
        ww_free(partial);
        return rc;
    }
    p->dirfd = openat(p->made->dirfd, partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = p->dirfd >= 0 ? put_all(p, manifest, tail_bytes, err)
                       : WW_FAIL(err, WW_E_IO, "cannot open folder '%s'", partial);
    if (!rc) {
        rc = ww_rename_at(p->made->dirfd, partial, p->made->dirfd, base, false, err);
    }
    if (rc) {
        const enum ww_err removed = ww_remove_tree_at(p->made->dirfd, partial, NULL);
        (void)removed;
    }
    ww_free(partial);
    return rc;
}

enum ww_err ww_pack_folder_place(struct ww_pack_new *made,
                                 const struct ww_pack_manifest *manifest,
                                 uint64_t tail_bytes, bool replace, struct ww_error *err)
{
    struct placing p = {.made = made, .dirfd = -1, .room = ww_calloc(1, STEP)};
    enum ww_err rc = WW_OK;

    p.put = ww_calloc(manifest->n_members, sizeof(*p.put));
    rc = p.room && p.put ? WW_OK : WW_FAIL_MEMORY(err, "copying");

    if (!rc && !replace) {
        rc = place_new(&p, manifest, tail_bytes, err);
    } else if (!rc) {
        rc = ww_dir_open(made->path, &p.dirfd, err);
        if (!rc) {
            rc = put_all(&p, manifest, tail_bytes, err);
            if (rc) {
                take_back(&p, manifest);
            }
        }
        if (!rc) {
            drop_unwanted(&p, manifest);
        }
    }
    if (p.dirfd >= 0) {
        close(p.dirfd);
    }
    ww_free(p.room);
    ww_free(p.put);
    return rc;
}
