/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for the commands that use models: options, the decision, its record. */
#ifndef WW_CLI_GUARD_H
#define WW_CLI_GUARD_H

#include "cli.h"
#include "weightward/guard.h"

struct cli_guard {
    char **roots;
    char **policies;
    char *request;
    char **approvals;
    char *as;
    struct cli_passphrase as_passphrase;
    char *state;
    char *decision;
    char *purpose;
};
#define CLI_GUARD                                                                        \
    {                                                                                    \
        .as_passphrase.fd = -1                                                           \
    }
/** Its options, to be included in a command's table. */
const struct poptOption *cli_guard_table(struct cli_guard *guard);

/** A decision that waits for its action. */
struct cli_verdict {
    struct ww_verdict *verdict; /* NULL: nobody asked */
    struct ww_signkey *key;     /* that records it: of --as, or the given one, borrowed */
    struct ww_signkey *own_key;
};
/**
 * Decide before the action: WW_OK to go on. A denial is recorded in --decision, or beside
 * the output as OUT.decision.sigstore.json. sign: the key of --sign, may be NULL.
 */
enum ww_err cli_guard_ask(const struct cli_guard *guard, const struct cli_common *common,
                          const struct ww_policy_ask *ask, const char *out,
                          struct ww_signkey *sign, struct cli_verdict *verdict,
                          struct ww_error *err);
/** After the action: leave the decision in the folder that it made. */
enum ww_err cli_guard_record(const struct cli_guard *guard,
                             const struct cli_verdict *verdict, const char *out,
                             struct ww_error *err);
void cli_guard_release(struct cli_verdict *verdict);

/** The name that a request has for an output path; free. */
char *cli_guard_name(const char *out);

/* Write the bill of materials into a signed folder; signer NULL: nothing. */
void cli_bom(const struct cli_common *common, const char *out,
             const struct ww_signer *signer);

#endif
