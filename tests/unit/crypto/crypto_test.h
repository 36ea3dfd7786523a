/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of this module share: secrets from text, files, the openssl program. */
#ifndef CRYPTO_TEST_H
#define CRYPTO_TEST_H

#include "ww_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "crypto/secret.h"
#include "util/buf.h"
#include "util/fs.h"

static const struct ww_error no_error;

static inline struct ww_secret *secret_of(const void *bytes, size_t len)
{
    struct ww_error err = no_error;
    struct ww_secret *secret = NULL;
    OK(ww_secret_new(len, &secret, &err));
    memcpy(ww_secret_open(secret), bytes, len);
    ww_secret_close(secret);
    return secret;
}

static inline struct ww_secret *secret_text(const char *text)
{
    return secret_of(text, strlen(text));
}

/* PATH in a rotating set of buffers, so that several can be used in one call. */
static inline const char *at(const char *dir, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline void write_file(const char *path, const void *bytes, size_t len,
                              mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void read_file(const char *path, struct ww_buf *buf)
{
    struct ww_error err = no_error;
    ww_buf_init(buf, 1 << 20);
    OK(ww_file_read(path, buf, &err));
}

static inline mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 0777;
}

static inline bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Run a shell command line in dir; its exit status. */
static inline int shell_in(const char *dir, const char *command)
{
    char *line = NULL;
    assert_true(asprintf(&line, "cd '%s' && { %s ; } >/dev/null 2>&1", dir, command) > 0);
    int status = system(line);
    free(line);
    return status;
}

#endif
