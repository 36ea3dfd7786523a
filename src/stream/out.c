/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An output folder comes into being whole: everything is written below OUT.partial and
 * flushed, and one rename that never replaces makes it OUT. The journal leaves the folder
 * by a rename to OUT.partial.journal just before, so that it is in one of two places at
 * every moment and never inside OUT. A kill between that rename and the journal's removal
 * leaves it beside a whole OUT; the next run with that name removes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "stream/out.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static enum ww_err out_names(struct ww_out *out, const char *path, struct ww_error *err)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    char *clean = ww_strndup(path, len);
    if (!clean) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    const char *base = ww_path_base(clean);
    enum ww_err rc = WW_OK;

    if (strcmp(clean, "-") == 0) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "'-' is standard output and the output is a folder; give it a name, "
                     "or './-'");
        goto out;
    }

    out->base = ww_strdup(base);
    out->partial = ww_asprintf("%s.partial", base);
    out->spare = ww_asprintf("%s.partial.journal", base);
    if (!out->base || !out->partial || !out->spare) {
        rc = WW_FAIL_MEMORY(err, "a path");
        goto out;
    }
    if (!ww_path_is_bare(out->base)) {
        rc = WW_FAIL(err, WW_E_PATH, "'%s' names no new folder: its last part %s", path,
                     ww_path_fault(out->base));
        goto out;
    }
    rc = ww_dir_open_of(clean, &out->parent, err);
out:
    ww_free(clean);
    return rc;
}

void ww_out_tidy(const char *path)
{
    struct ww_out out = {.parent = -1};

    if (out_names(&out, path, NULL) == WW_OK) {
        ww_out_journal_tidy(&out);
        close(out.parent);
    }
    ww_free(out.base);
    ww_free(out.partial);
    ww_free(out.spare);
}

static enum ww_err open_partial(struct ww_out *out, struct ww_error *err)
{
    out->dirfd = openat(out->parent, out->partial,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out->dirfd < 0) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open folder '%s'",
                           out->partial);
    }
    if (flock(out->dirfd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        out->made = false;
        return WW_FAIL(
            err, WW_E_EXISTS,
            "folder '%s' is being written by another run; wait for it or choose "
            "another name",
            out->partial);
    }
    return WW_OK;
}

static enum ww_err reopen(struct ww_out *out, const uint8_t digest[WW_SHA256_BYTES],
                          struct ww_error *err)
{
    bool ours = false;

    enum ww_err rc = open_partial(out, err);
    if (rc) {
        return rc;
    }
    rc = ww_out_journal_match(out, digest, &ours, err);
    if (rc) {
        return rc;
    }
    if (!ours) {
        return WW_FAIL(err, WW_E_EXISTS,
                       "folder '%s' is of another job or other settings, it cannot be "
                       "continued; remove it",
                       out->partial);
    }
    out->made = true;
    out->resumed = true;
    return ww_out_remove_strays(out, err);
}

static enum ww_err make_folder(struct ww_out *out, const uint8_t digest[WW_SHA256_BYTES],
                               bool resume, struct ww_error *err)
{
    struct stat st;

    if (fstatat(out->parent, out->base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        ww_out_journal_tidy(out);
        return WW_FAIL(err, WW_E_EXISTS, "'%s' exists; choose another name or remove it",
                       out->base);
    }
    ww_out_journal_tidy(out);
    if (mkdirat(out->parent, out->partial, 0755) == 0) {
        out->made = true;
        return open_partial(out, err);
    }
    int e = errno;
    if (e != EEXIST) {
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make folder '%s'",
                           out->partial);
    }
    if (resume) {
        return reopen(out, digest, err);
    }
    /* Who is told to remove a folder must not remove another run's. */
    enum ww_err rc = open_partial(out, err);
    return rc ? rc
              : WW_FAIL(err, WW_E_EXISTS,
                        "folder '%s' exists, an interrupted run left it; remove it, or "
                        "continue it where the command takes --resume",
                        out->partial);
}

/* What the outputs occupy already, when a run is continued. */
static uint64_t bytes_there(const struct ww_out *out)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; out->resumed && i < out->plan->n_outputs; i++) {
        struct stat st;
        if (fstatat(out->dirfd, out->plan->outputs[i].path, &st, AT_SYMLINK_NOFOLLOW) ==
                0 &&
            S_ISREG(st.st_mode)) {
            sum += (uint64_t)st.st_blocks * 512;
        }
    }
    return sum;
}

static enum ww_err check_space(const struct ww_out *out, uint64_t extra,
                               struct ww_error *err)
{
    struct statvfs fs;
    uint64_t need = extra;

    for (uint32_t i = 0; i < out->plan->n_outputs; i++) {
        if (!ww_add_u64(need, out->plan->outputs[i].size_bytes, &need)) {
            need = UINT64_MAX;
        }
    }
    uint64_t there = bytes_there(out);
    need -= ww_min_u64(need, there);
    if (fstatvfs(out->dirfd, &fs) != 0) {
        return WW_OK; /* the preallocation will tell */
    }
    uint64_t free_bytes = 0;
    if (!ww_mul_u64(fs.f_bavail, fs.f_frsize, &free_bytes) || need <= free_bytes) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_NOSPACE,
                   "'%s' needs %" PRIu64 " bytes, the disk has %" PRIu64
                   " left; free some or choose another disk",
                   out->base, need, free_bytes);
}

enum ww_err ww_out_begin(const char *path, const struct ww_plan *plan,
                         uint64_t extra_bytes, const struct ww_run_options *options,
                         struct ww_out **out, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];

    *out = NULL;
    enum ww_err rc = ww_plan_digest(plan, digest, err);
    if (rc) {
        return rc;
    }
    struct ww_out *o = ww_calloc(1, sizeof(*o));
    if (!o) {
        return WW_FAIL_MEMORY(err, "an output folder");
    }
    o->plan = plan;
    o->parent = -1;
    o->dirfd = -1;
    o->direct = !options || options->direct == WW_DIRECT_AUTO;
    rc = out_names(o, path, err);
    if (rc) {
        goto out;
    }
    rc = make_folder(o, digest, options && options->resume, err);
    if (rc) {
        goto out;
    }
    rc = check_space(o, extra_bytes, err);
    if (rc) {
        goto out;
    }
    rc = ww_out_journal_write(o, digest, err);
out:
    if (rc) {
        /* What an earlier run left stays, so that it can be continued elsewhere. */
        ww_out_close(o, o->resumed);
        return rc;
    }
    *out = o;
    return WW_OK;
}

static enum ww_err make_parents(const struct ww_out *out, const char *path,
                                struct ww_error *err)
{
    if (!strchr(path, '/')) {
        return WW_OK;
    }
    char *folder = ww_path_folder(path);
    if (!folder) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    enum ww_err rc = ww_mkdirs_at(out->dirfd, folder, err);
    ww_free(folder);
    return rc;
}

enum ww_err ww_out_open_file(struct ww_out *out, const struct ww_output *output,
                             struct ww_sink *sink, struct ww_error *err)
{
    enum ww_err rc = make_parents(out, output->path, err);
    if (rc) {
        return rc;
    }
    return ww_sink_open(sink, out->dirfd, output->path, output->size_bytes, out->direct,
                        out->resumed, err);
}

enum ww_err ww_out_add(struct ww_out *out, const char *path, const void *bytes,
                       size_t len, struct ww_error *err)
{
    if (!ww_path_is_relative(path) || strcmp(path, WW_OUT_JOURNAL) == 0) {
        return WW_FAIL(err, WW_E_PATH, "'%s' is no path for an output", path);
    }
    enum ww_err rc = make_parents(out, path, err);
    if (rc) {
        return rc;
    }
    return ww_file_write_at(out->dirfd, path, bytes, len, 0644, true, err);
}

int ww_out_dirfd(const struct ww_out *out)
{
    return out->dirfd;
}

void ww_out_close(struct ww_out *out, bool keep)
{
    if (!out) {
        return;
    }
    if (out->made && !out->committed && !keep) {
        enum ww_err rc = ww_remove_tree_at(out->parent, out->partial, NULL);
        if (!rc) {
            unlinkat(out->parent, out->spare, 0);
        }
    }
    if (out->dirfd >= 0) {
        close(out->dirfd);
    }
    if (out->parent >= 0) {
        close(out->parent);
    }
    ww_free(out->base);
    ww_free(out->partial);
    ww_free(out->spare);
    ww_free(out);
}
