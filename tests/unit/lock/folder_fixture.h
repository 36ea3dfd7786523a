/* SPDX-License-Identifier: Apache-2.0 */
/* Folders for the lock's own verbs: copies of a small real model, and what to do to them.
 */
#ifndef WW_FOLDER_FIXTURE_H
#define WW_FOLDER_FIXTURE_H

#include "ww_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "util/buf.h"
#include "util/fs.h"
#include "weightward/lock.h"

#define FX_MODEL WW_VECTORS "/amber/expert-rev"
#define FX_OTHER WW_VECTORS "/amber/expert-caesar"

struct folders {
    char *dir;
    char *model, *locked, *back;
    struct ww_secret *secret;
    struct ww_lock_options options;
    struct ww_lock_report report;
    struct ww_error err;
};

WW_PRINTF(1, 2) static inline void shell(const char *fmt, ...)
{
    char *command = NULL;
    va_list args;
    va_start(args, fmt);
    assert_true(vasprintf(&command, fmt, args) > 0);
    va_end(args);
    if (system(command) != 0) {
        fail_msg("%s", command);
    }
    free(command);
}

static inline char *path_in(const char *dir, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

static inline struct ww_secret *fx_secret(uint8_t fill)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    OK(ww_secret_new(32, &secret, &err));
    memset(ww_secret_open(secret), fill, 32);
    ww_secret_close(secret);
    return secret;
}

static inline void folders_init(struct folders *f)
{
    memset(f, 0, sizeof(*f));
    f->dir = ww_test_mkdir();
    f->model = path_in(f->dir, "model");
    f->locked = path_in(f->dir, "locked");
    f->back = path_in(f->dir, "back");
    f->secret = fx_secret(7);
    f->options.secret = f->secret;
    f->options.run.threads = 2;
    shell("cp -r '" FX_MODEL "' '%s' && chmod -R u+w '%s'", f->model, f->model);
}

static inline void folders_free(struct folders *f)
{
    ww_lock_report_release(&f->report);
    ww_secret_free(f->secret);
    free(f->model);
    free(f->locked);
    free(f->back);
    ww_test_rmdir(f->dir);
}

static inline enum ww_err do_lock(struct folders *f)
{
    ww_lock_report_release(&f->report);
    ww_error_clear(&f->err);
    return ww_lock_folder(f->model, f->locked, &f->options, &f->report, &f->err);
}

static inline enum ww_err do_unlock(struct folders *f)
{
    ww_lock_report_release(&f->report);
    ww_error_clear(&f->err);
    return ww_unlock_folder(f->locked, f->back, &f->options, &f->report, &f->err);
}

static inline void must(struct folders *f, enum ww_err rc, enum ww_err want)
{
    if (rc != want) {
        fail_msg("got %s (%s), want %s", ww_err_name(rc), f->err.text, ww_err_name(want));
    }
}

static inline void says(const struct folders *f, const char *text)
{
    if (!strstr(f->err.text, text)) {
        fail_msg("'%s' does not say '%s'", f->err.text, text);
    }
}

static inline bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Neither OUT nor OUT.partial. */
static inline void nothing_at(const char *path)
{
    char *partial = NULL;
    assert_true(asprintf(&partial, "%s.partial", path) > 0);
    assert_false(exists(path));
    assert_false(exists(partial));
    free(partial);
}

static inline void same_folders(const char *a, const char *b)
{
    shell("diff -r '%s' '%s'", a, b);
}

static inline void file_digest(const char *dir, const char *name, uint8_t out[32])
{
    struct ww_error err = {0};
    struct ww_buf buf;
    char *path = path_in(dir, name);
    ww_buf_init(&buf, 64 << 20);
    OK(ww_file_read(path, &buf, &err));
    ww_sha256_of(buf.data, buf.len, out);
    ww_buf_release(&buf);
    free(path);
}

/* Overwrite bytes of a file; a negative offset counts from the end. */
static inline void poke(const char *dir, const char *name, off_t offset,
                        const void *bytes, size_t len)
{
    char *path = path_in(dir, name);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    off_t at = offset < 0 ? st.st_size + offset : offset;
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
    free(path);
}

#endif
