/* SPDX-License-Identifier: Apache-2.0 */
/* Passphrases come from a file, an inherited descriptor or the terminal: never from argv
 * or the environment. */
#include "cli.h"

#include <stdio.h>
#include <unistd.h>

enum ww_err cli_passphrase(const struct cli_passphrase *from, const char *prompt,
                           bool confirm, struct ww_secret **out, struct ww_error *err)
{
    *out = NULL;
    if (from->file) {
        return ww_passphrase_from_file(from->file, out, err);
    }
    if (from->fd >= 0) {
        return ww_passphrase_from_fd(from->fd, out, err);
    }
    if (isatty(STDIN_FILENO)) {
        return ww_passphrase_from_terminal(prompt, confirm, out, err);
    }
    return WW_OK;
}

enum ww_err cli_signkey(const char *path, const struct cli_passphrase *from,
                        struct ww_signkey **out, struct ww_error *err)
{
    bool encrypted = false;
    struct ww_secret *passphrase = NULL;
    *out = NULL;
    enum ww_err rc = ww_signkey_is_encrypted(path, &encrypted, err);
    if (rc) {
        goto out;
    }
    if (encrypted) {
        char prompt[300];
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s': ", path);
        rc = cli_passphrase(from, prompt, false, &passphrase, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_signkey_load(path, passphrase, out, err);
out:
    ww_secret_free(passphrase);
    return rc;
}
