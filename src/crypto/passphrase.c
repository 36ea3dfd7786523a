/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passphrases are read byte by byte straight into guarded memory: no stdio buffer keeps a
 * copy, and what follows the line stays in the descriptor for its next reader.
 */
#include "crypto/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "crypto/keyfile.h"
#include "crypto/secret.h"
#include "util/fail.h"
#include "util/str.h"

/* Read into line (of WW_PASSPHRASE_MAX_BYTES + 1). */
static enum ww_err read_bytes(int fd, int cancel_byte, uint8_t *line, size_t *len,
                              struct ww_error *err)
{
    *len = 0;
    for (;;) {
        const ssize_t n = read(fd, line + *len, 1);
        if (n < 0 && errno == EINTR) {
            return WW_FAIL(err, WW_E_CANCELLED,
                           "interrupted while a passphrase was read");
        }
        if (n < 0) {
            const int e = errno;
            return WW_FAIL_SYS(err, WW_E_IO, e, "passphrase cannot be read");
        }
        if (n == 0 || line[*len] == '\n') {
            return WW_OK;
        }
        if (line[*len] == cancel_byte) {
            return WW_FAIL(err, WW_E_CANCELLED,
                           "interrupted while a passphrase was read");
        }
        if (*len == WW_PASSPHRASE_MAX_BYTES) {
            return WW_FAIL(err, WW_E_LIMIT, "passphrase is longer than %d bytes",
                           WW_PASSPHRASE_MAX_BYTES);
        }
        (*len)++;
    }
}

enum ww_err ww_passphrase_read_line(int fd, int cancel_byte, struct ww_secret **out,
                                    struct ww_error *err)
{
    struct ww_secret *line = NULL;
    struct ww_secret *exact = NULL;
    size_t len = 0;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_secret_new(WW_PASSPHRASE_MAX_BYTES + 1, &line, err);
    if (rc) {
        goto out;
    }
    rc = read_bytes(fd, cancel_byte, ww_secret_open(line), &len, err);
    ww_secret_close(line);
    if (rc) {
        goto out;
    }
    if (len == 0) {
        rc = WW_FAIL(
            err, WW_E_PASSPHRASE,
            "passphrase is empty, expected at least one character in the first line");
        goto out;
    }
    rc = ww_secret_new(len, &exact, err);
    if (rc) {
        goto out;
    }
    memcpy(ww_secret_open(exact), ww_secret_open(line), len);
    ww_secret_close(exact);
    ww_secret_close(line);
    *out = exact;
out:
    ww_secret_free(line);
    return rc;
}

enum ww_err ww_passphrase_check_new(struct ww_secret *passphrase, struct ww_error *err)
{
    if (!passphrase) {
        return WW_OK;
    }
    const size_t len = ww_secret_len(passphrase);
    const uint8_t *bytes = ww_secret_open(passphrase);
    const bool returns = len > 0 && bytes[len - 1] == '\r';
    ww_secret_close(passphrase);
    return returns ? WW_FAIL(err, WW_E_PASSPHRASE,
                             "the passphrase ends in a carriage return, which cannot be "
                             "typed; write its file with LF line ends, not CR LF")
                   : WW_OK;
}

enum ww_err ww_passphrase_from_fd(int fd, struct ww_secret **out, struct ww_error *err)
{
    return ww_passphrase_read_line(fd, WW_NO_CANCEL_BYTE, out, err);
}

/* The N of "/dev/fd/N", -1 for other paths. Such a path leads through /proc, which a
 * process that is not dumpable may not enter; the descriptor itself it may use. */
static int descriptor_of_path(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (ww_str_eq(path, "/dev/stdin")) {
        return STDIN_FILENO;
    }
    for (size_t i = 0; i < WW_LEN(folders); i++) {
        const size_t n = strlen(folders[i]);
        uint64_t number = 0;
        if (ww_str_starts(path, folders[i]) &&
            ww_parse_u64(path + n, strlen(path + n), &number) && number < 1u << 20) {
            return (int)number;
        }
    }
    return -1;
}

enum ww_err ww_passphrase_from_file(const char *path, struct ww_secret **out,
                                    struct ww_error *err)
{
    const int given = descriptor_of_path(path);
    int fd = -1;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (given >= 0) {
        return ww_passphrase_from_fd(given, out, err);
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, e == ENOENT ? WW_E_NOTFOUND : WW_E_IO, e,
                         "cannot open passphrase file '%s'", path);
        goto out;
    }
    rc = ww_keyfile_check_private(fd, path, err);
    if (rc) {
        goto out;
    }
    rc = ww_passphrase_from_fd(fd, out, err);
    if (rc) {
        ww_error_context(err, "passphrase file '%s'", path);
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
