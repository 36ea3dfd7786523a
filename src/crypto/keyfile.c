/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights are checked on the open descriptor, so the file that is read is the one that was
 * checked. Symbolic links are followed on reading, since mounted secrets often are links;
 * what counts is who may read the file behind them.
 */
#include "crypto/keyfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

enum ww_err ww_keyfile_check_private(int fd, const char *path, struct ww_error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot examine '%s'", path);
    }
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "'%s' is a folder or a device, expected a key file", path);
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO) && ww_str_ends(path, ".pub")) {
        return WW_FAIL(err, WW_E_KEY_ACCESS,
                       "'%s' is open to others, as public keys are; the secret key is "
                       "expected here",
                       path);
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        return WW_FAIL(err, WW_E_KEY_ACCESS,
                       "secret file '%s' is open to others (mode %03o, expected 600); "
                       "chmod 600 %s",
                       path, (unsigned)st.st_mode & 0777u, path);
    }
    return WW_OK;
}

enum ww_err ww_keyfile_read(const char *path, bool must_be_private,
                            struct ww_secret **out, struct ww_error *err)
{
    struct ww_secret *content = NULL;
    struct stat st;
    int fd = -1;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_file_open(path, &fd, &st, err);
    if (rc) {
        goto out;
    }
    if (must_be_private) {
        rc = ww_keyfile_check_private(fd, path, err);
        if (rc) {
            goto out;
        }
    }
    if (st.st_size > WW_KEYFILE_MAX_BYTES) {
        rc = WW_FAIL(err, WW_E_KEYFILE,
                     "key file '%s' has %lld bytes, at most %d are read", path,
                     (long long)st.st_size, WW_KEYFILE_MAX_BYTES);
        goto out;
    }
    rc = ww_secret_new((size_t)st.st_size, &content, err);
    if (rc) {
        goto out;
    }
    rc = ww_pread_full(fd, ww_secret_open(content), (size_t)st.st_size, 0, path, err);
    ww_secret_close(content);
    if (rc) {
        goto out;
    }
    *out = content;
    content = NULL;
out:
    ww_secret_free(content);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum ww_err ww_keyfile_write_pair(const char *base, struct ww_secret *key,
                                  const void *pub, size_t pub_len, struct ww_error *err)
{
    char *key_path = ww_asprintf("%s.key", base);
    char *pub_path = ww_asprintf("%s.pub", base);
    enum ww_err rc = WW_OK;

    if (!key_path || !pub_path) {
        rc = WW_FAIL_MEMORY(err, "a path");
        goto out;
    }
    rc = ww_file_write(key_path, ww_secret_open(key), ww_secret_len(key), 0600, false,
                       err);
    ww_secret_close(key);
    if (rc) {
        goto out;
    }
    rc = ww_file_write(pub_path, pub, pub_len, 0644, false, err);
    if (rc) {
        unlink(key_path);
    }
out:
    ww_free(key_path);
    ww_free(pub_path);
    return rc;
}
