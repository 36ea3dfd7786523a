/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: the option tables' manners, answers, progress. */
#ifndef WW_CLI_H
#define WW_CLI_H

#include <popt.h>
#include <stdbool.h>
#include <stdio.h>

#include "weightward/report.h"

/* Usage errors end with this status, before any file is touched. */
#define CLI_USAGE 2

/** Options every command takes. */
struct cli_common {
    int json; /* one object on stdout */
    int quiet;
    char *progress; /* auto, always, never */
    int threads;
    int memory_mib;
    int no_direct;
};
/** The table for them, to be included at the end of a command's own table. */
const struct poptOption *cli_common_table(struct cli_common *common);

/**
 * Parse argv against a table. Exact names only. On success *args holds the positional
 * arguments (min..max of them, NULL-terminated, borrowed from *ctx). Returns 0, or the
 * status to exit with; --help prints and gives 0 with *args NULL.
 */
int cli_parse(int argc, const char **argv, const struct poptOption *table,
              const char *synopsis, int min, int max, poptContext *ctx,
              const char ***args);

/** What a command does once its options are read, positional arguments in args. Returns
 *  the exit status. */
typedef int (*cli_command_fn)(const void *opt, const char *verb, const char *const *args);

/** Parse argv, run the command, free what parsing made. verb is argv[0]. */
int cli_run(int argc, const char **argv, const struct poptOption *table,
            const char *synopsis, int min, int max, cli_command_fn run, const void *opt);

/** For commands whose words share a table: refuse an option that was given, is none of
 * those that takes names and would be looked at by nobody. Tables that it includes are
 * left out, and an option at its default was not given. 0, or CLI_USAGE with the option
 * told. */
int cli_refuse_idle(const char *verb, const char *word, const struct poptOption *table,
                    const char *takes);

/** Leave the same options out of the word's help. The table is one that can be written.
 */
void cli_hide_idle(const struct poptOption *table, const char *takes);

/** Print "weightward VERB: ..." and keep it for cli_usage_json; verb may be NULL.
 * CLI_USAGE.
 */
int cli_wrong_use(const char *verb, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** With --json among the arguments, the error object of a wrong use that was told. */
void cli_usage_json(const char *verb, int argc, const char *const *argv);

/** Put one more name behind a list of known ones, in a buffer of so many bytes. */
void cli_list_add(char *list, size_t bytes, const char *name);

/** Print "weightward VERB: what" for a wrong combination of options; CLI_USAGE. */
int cli_usage(const char *verb, const char *what);

/** Print "weightward VERB: what takes KNOWN, not 'given'"; CLI_USAGE. known: "a, b or c".
 */
int cli_choice(const char *verb, const char *what, const char *known, const char *given);

/** Print "weightward VERB: unknown word 'word'; known are: ..."; CLI_USAGE. */
int cli_unknown_word(const char *verb, const char *word, const char *known);

/** A combination of options that is wrong where it is met, and what to say then. */
struct cli_rule {
    bool broken;
    const char *what;
};
/** 0, or CLI_USAGE with the first broken one of n said. */
int cli_rules(const char *verb, const struct cli_rule *rules, size_t n);

/** Of verb "merge" or "extract": an option of mergekit is met with what does the same
 * here; CLI_USAGE, or 0 when there is none. */
int cli_mergekit_option(const char *verb, int argc, const char **argv);
/** What to say to the name of one of mergekit's programs; NULL: it is none. */
const char *cli_mergekit_program(const char *word);

/** Free what parsing made: the context (may be NULL) and the strings in the table's
 *  variables. */
void cli_finish(poptContext ctx, const struct poptOption *table);

/** Check the common options and turn them into run options with a progress display.
 *  Returns 0 or CLI_USAGE. */
int cli_run_options(const struct cli_common *common, struct ww_run_options *run);

/** From here on all that goes to stdout and stderr is spelt as ww_text_shown does. First
 *  thing in main. */
void cli_show_safely(void);
/** Where the progress line moves the cursor: stderr as it is. */
FILE *cli_terminal(void);
/** Bytes of a file to standard output, as they are; payload is not used. */
enum ww_err cli_give_bytes(void *payload, const void *bytes, size_t n,
                           struct ww_error *err);

/** Erase the progress line, if one stands there. */
void cli_progress_done(void);

/** Print an error for people on stderr and, with --json, the error object on stdout.
 *  Returns the exit status. */
int cli_fail(const char *verb, const struct cli_common *common,
             const struct ww_error *err);

/** The same of a command that writes the folder out (may be NULL): when it was
 * interrupted and OUT.partial stays, that is said, and what to do with it. */
int cli_fail_out(const char *verb, const struct cli_common *common, struct ww_error *err,
                 const char *out, bool resumes);

/** What main returns: status, or that of an I/O error where the answer did not all reach
 *  standard output, which is then said. */
int cli_end(int status);

/** Print a finished JSON answer and free it; status of the printing call goes through. */
int cli_answer_json(const char *verb, const struct cli_common *common, enum ww_err rc,
                    char *json, const struct ww_error *err);

/** 0 when a report can become this new file, else the status to exit with: asked before
 *  anything is paid for. path may be NULL. */
int cli_report_free(const char *verb, const struct cli_common *common, const char *path);
/** Write text to a new file, never over something; err must be empty. */
enum ww_err cli_write_new(const char *path, const char *text, struct ww_error *err);

/** One line to stderr unless --quiet. */
void cli_say(const struct cli_common *common, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** The same of each warning of a report. */
void cli_warn(const struct cli_common *common, char *const *warnings, size_t n);

/** The number of items in a popt ARGV list. */
size_t cli_count(char *const *list);

/** Install SIGINT/SIGTERM handlers that make the next progress call cancel. */
void cli_catch_signals(void);
bool cli_interrupted(void);

/** The "s" behind the name of so many things. */
const char *cli_s(uint64_t n);

/** "1.5 GiB" into a caller's buffer. */
const char *cli_bytes(uint64_t n, char out[32]);

/** Where the passphrase for one key comes from. */
struct cli_passphrase {
    char *file;
    int fd; /* -1: not given */
};
/** Read it: file, descriptor, or the terminal when there is one. *out stays NULL when
 *  neither option was given and no terminal is there. */
enum ww_err cli_passphrase(const struct cli_passphrase *from, const char *prompt,
                           bool confirm, struct ww_secret **out, struct ww_error *err);
/** A lock key and what opens it; start with CLI_LOCKKEY. */
struct cli_lockkey {
    char *path;
    struct cli_passphrase passphrase;
    char *open_with;
    struct cli_passphrase open_passphrase;
};
#define CLI_LOCKKEY                                                                      \
    {                                                                                    \
        .passphrase.fd = -1, .open_passphrase.fd = -1                                    \
    }
/** Its options, to be included in a command's table. */
const struct poptOption *cli_lockkey_table(struct cli_lockkey *key);
/** Load it, asking for passphrases where that is needed. */
enum ww_err cli_lockkey(const struct cli_lockkey *from, struct ww_secret **out,
                        struct ww_error *err);
/** The same with what the key is bound to. */
enum ww_err cli_lockkey_bound(const struct cli_lockkey *from, struct ww_secret **out,
                              struct ww_key_binding *binding, struct ww_error *err);
/** Lock keys of the same kinds, several; passphrases are those of `from`. The list and
 * its secrets are the caller's: cli_lockkeys_free. */
struct cli_lockkeys {
    struct ww_merge_key *keys;
    struct ww_key_binding *bindings;
    size_t n;
};
enum ww_err cli_lockkeys(char *const *paths, const struct cli_lockkey *from,
                         struct cli_lockkeys *out, struct ww_error *err);
void cli_lockkeys_free(struct cli_lockkeys *keys);
/** Load a signing key, asking for its passphrase only when it is encrypted. path may also
 *  be a token's URI ("pkcs11:...", the passphrase being its PIN) or
 *  "program:PATH?public-key=PUB", a program that signs. */
enum ww_err cli_signkey(const char *path, const struct cli_passphrase *from,
                        struct ww_signkey **out, struct ww_error *err);

/** What a command's output is signed with; start with CLI_SIGNING. */
struct cli_signing {
    char *path; /* NULL: it stays unsigned */
    struct cli_passphrase passphrase;
    char *certificate;
    char **chain;
};
#define CLI_SIGNING                                                                      \
    {                                                                                    \
        .passphrase.fd = -1                                                              \
    }
/** Its options, to be included in a command's table, those of certificates where asked
 *  for. */
const struct poptOption *cli_signing_table(struct cli_signing *signing,
                                           bool certificates);
/** Open the key, if there is one: *use is out then, else NULL. out->key is the caller's
 * on failure too: ww_signkey_free. */
enum ww_err cli_signing_open(const struct cli_signing *from, struct ww_signer *out,
                             const struct ww_signer **use, struct ww_error *err);

/** What lock, unlock and recipients need for level sealed; all borrowed. */
struct cli_seal {
    const struct cli_common *common;
    char **to;
    const struct cli_lockkey *key;  /* its passphrase and recipient's key */
    const struct ww_signer *signer; /* NULL: not signed */
    const char *file;               /* unlock this one to standard output */
    bool resume;
    bool no_lineage;
};
/** args: MODEL OUT. Return the exit status. */
int cli_seal(const struct cli_seal *opt, const char *const *args);
int cli_unseal(const struct cli_seal *opt, const char *const *args);
/** What opens a sealed folder, asking for passphrases only where one is needed. */
enum ww_err cli_unsealer(const char *path, const struct cli_seal *opt,
                         struct ww_unsealer *out, struct ww_error *err);
void cli_unsealer_release(struct ww_unsealer *unsealer);

/* The commands: argv[0] is the verb. */
int cmd_attack(int argc, const char **argv);
int cmd_evo(int argc, const char **argv);
int cmd_inspect(int argc, const char **argv);
int cmd_key(int argc, const char **argv);
int cmd_lock(int argc, const char **argv);
int cmd_recipients(int argc, const char **argv);
int cmd_unlock(int argc, const char **argv);
int cmd_merge(int argc, const char **argv);
int cmd_extract(int argc, const char **argv);
int cmd_lineage(int argc, const char **argv);
int cmd_policy(int argc, const char **argv);
int cmd_rmm(int argc, const char **argv);
int cmd_sign(int argc, const char **argv);
int cmd_trace(int argc, const char **argv);
int cmd_verify(int argc, const char **argv);

#endif
