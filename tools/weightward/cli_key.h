/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands below "weightward key" share. */
#ifndef WW_CLI_KEY_H
#define WW_CLI_KEY_H

#include "cli.h"

struct cli_key {
    const struct poptOption *tables[2]; /* of the options below */
    struct cli_common common;
    char *out;
    char *curve;
    char **to;
    struct cli_passphrase passphrase; /* of what is written */
    int no_passphrase;
    char *for_model;
    char *purpose;
    struct cli_passphrase key_passphrase; /* of the lock key that is read */
    char **open_with;                     /* recipients' keys */
    char **open_passphrase_files;
    char **share_passphrase_files;
    int shares;
    int threshold;
    char *sign;
    struct cli_passphrase sign_passphrase;
    char *signed_by;
};

/** Print what a key file is; exit status. */
int cli_key_describe(const struct cli_key *opt, const char *verb, const char *path);
/** Passphrase and recipients for a key that is written; WW_E_PASSPHRASE when there is
 *  neither and --no-passphrase was not given, WW_E_USAGE when two of the three were. Free
 *  sealer->passphrase. */
enum ww_err cli_key_sealer(const struct cli_key *opt, struct ww_sealer *sealer,
                           struct ww_error *err);
/** The binding that --for-model and --purpose ask for, on top of what *binding holds. */
enum ww_err cli_key_binding(const struct cli_key *opt, struct ww_key_binding *binding,
                            struct ww_error *err);

/* Exit statuses. */
int cli_key_bind(const struct cli_key *opt, const char *path);
int cli_key_split(const struct cli_key *opt, const char *path);
int cli_key_combine(const struct cli_key *opt, const char *const *paths);

#endif
