/* SPDX-License-Identifier: Apache-2.0 */
/* Passphrases come from a file, an inherited descriptor or the terminal: never from argv
 * or the environment. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

const struct poptOption *cli_lockkey_table(struct cli_lockkey *key)
{
    static struct poptOption table[7];
    const struct poptOption filled[] = {
        {"key", 'k', POPT_ARG_STRING, &key->path, 0, "lock key", "LOCKKEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &key->passphrase.file, 0,
         "passphrase of the lock key or the sealed model", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &key->passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"open-with", 0, POPT_ARG_STRING, &key->open_with, 0,
         "recipient key that opens the lock key or the sealed model", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_STRING, &key->open_passphrase.file, 0,
         "passphrase of the recipient key", "FILE"},
        {"open-passphrase-fd", 0, POPT_ARG_INT, &key->open_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

enum ww_err cli_lockkey(const struct cli_lockkey *from, struct ww_secret **out,
                        struct ww_error *err)
{
    return cli_lockkey_bound(from, out, NULL, err);
}

enum ww_err cli_lockkey_bound(const struct cli_lockkey *from, struct ww_secret **out,
                              struct ww_key_binding *binding, struct ww_error *err)
{
    struct ww_key_info info;
    struct ww_unsealer unsealer = {.recipient_key = from->open_with};
    char prompt[300];
    enum ww_err rc = ww_key_inspect(from->path, &info, err);
    if (rc) {
        return rc;
    }
    if (info.sealing == WW_SEALED_PASSPHRASE) {
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", from->path);
        rc = cli_passphrase(&from->passphrase, prompt, false, &unsealer.passphrase, err);
    } else if (info.sealing == WW_SEALED_RECIPIENTS && from->open_with) {
        struct ww_key_info recipient;
        rc = ww_key_inspect(from->open_with, &recipient, err);
        if (rc == WW_OK && recipient.sealing == WW_SEALED_PASSPHRASE) {
            snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", from->open_with);
            rc = cli_passphrase(&from->open_passphrase, prompt, false,
                                &unsealer.recipient_passphrase, err);
        }
    }
    if (rc == WW_OK) {
        rc = ww_lockkey_load_bound(from->path, &unsealer, out, binding, err);
    }
    ww_secret_free(unsealer.passphrase);
    ww_secret_free(unsealer.recipient_passphrase);
    return rc;
}

enum ww_err cli_lockkeys(char *const *paths, const struct cli_lockkey *from,
                         struct cli_lockkeys *out, struct ww_error *err)
{
    const size_t n = cli_count(paths);
    enum ww_err rc = WW_OK;
    *out = (struct cli_lockkeys){0};
    if (n == 0) {
        return WW_OK;
    }
    out->keys = calloc(n, sizeof *out->keys);
    out->bindings = calloc(n, sizeof *out->bindings);
    if (!out->keys || !out->bindings) {
        err->code = WW_E_NOMEM;
        snprintf(err->text, sizeof err->text, "out of memory for lock keys");
        return WW_E_NOMEM;
    }
    for (size_t i = 0; i < n && rc == WW_OK; i++) {
        struct cli_lockkey one = *from;
        one.path = paths[i];
        rc = cli_lockkey_bound(&one, &out->keys[i].secret, &out->bindings[i], err);
        out->keys[i].binding = &out->bindings[i];
        out->n = i + 1;
    }
    return rc;
}

void cli_lockkeys_free(struct cli_lockkeys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        ww_secret_free(keys->keys[i].secret);
    }
    free(keys->keys);
    free(keys->bindings);
}

/* A PIN is asked for like a passphrase, unless the URI says where it is. */
static enum ww_err open_token(const char *uri, const struct cli_passphrase *from,
                              struct ww_signkey **out, struct ww_error *err)
{
    struct ww_secret *pin = NULL;
    enum ww_err rc = WW_OK;
    if (from->file || from->fd >= 0 || !ww_token_uri_has_pin(uri)) {
        rc = cli_passphrase(from, "PIN of the token", false, &pin, err);
    }
    if (rc == WW_OK) {
        rc = ww_signkey_open_token(uri, pin, out, err);
    }
    ww_secret_free(pin);
    return rc;
}

enum ww_err cli_signkey(const char *path, const struct cli_passphrase *from,
                        struct ww_signkey **out, struct ww_error *err)
{
    bool encrypted = false;
    struct ww_secret *passphrase = NULL;
    *out = NULL;
    if (ww_token_uri_is(path)) {
        return open_token(path, from, out, err);
    }
    if (ww_program_uri_is(path)) {
        return ww_signkey_open_program_uri(path, 0, out, err);
    }
    enum ww_err rc = ww_signkey_is_encrypted(path, &encrypted, err);
    if (rc) {
        goto out;
    }
    if (encrypted) {
        char prompt[300];
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", path);
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

const struct poptOption *cli_signing_table(struct cli_signing *signing, bool certificates)
{
    static struct poptOption table[6];
    const struct poptOption filled[] = {
        {"sign", 0, POPT_ARG_STRING, &signing->path, 0, "sign what is written", "KEY"},
        {"sign-passphrase-file", 0, POPT_ARG_STRING, &signing->passphrase.file, 0,
         "passphrase of the signing key", "FILE"},
        {"sign-passphrase-fd", 0, POPT_ARG_INT, &signing->passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"certificate", 0, POPT_ARG_STRING, &signing->certificate, 0,
         "sign with this certificate (PEM)", "FILE"},
        {"certificate-chain", 0, POPT_ARG_ARGV, &signing->chain, 0,
         "certificates above it (repeatable)", "FILE"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    if (!certificates) {
        table[3] = filled[5];
    }
    return table;
}

enum ww_err cli_signing_open(const struct cli_signing *from, struct ww_signer *out,
                             const struct ww_signer **use, struct ww_error *err)
{
    *out = (struct ww_signer){.certificate = from->certificate,
                              .chain = (const char *const *)from->chain,
                              .n_chain = cli_count(from->chain)};
    *use = from->path ? out : NULL;
    return from->path ? cli_signkey(from->path, &from->passphrase, &out->key, err)
                      : WW_OK;
}
