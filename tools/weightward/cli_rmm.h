/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands below "weightward rmm" share. */
#ifndef WW_CLI_RMM_H
#define WW_CLI_RMM_H

#include "cli_guard.h"

struct cli_rmm {
    const struct poptOption *tables[4]; /* of the options below */
    struct cli_common common;
    char *base;
    char *merged;
    char **sources;
    int exact;
    int folder; /* pack */
    double error;
    long long budget;
    char **to;    /* NAME=PUB */
    char **chain; /* pack, add: NAME=PARENT */
    char *after;  /* add: parent of the members */
    int versions; /* each member is one of the one before it */
    struct cli_signing signing;
    char *open_with;
    struct cli_passphrase open_passphrase;
    char *key;       /* verify: public key */
    char *signed_by; /* unpack: public key */
    char *tensor;
    int resume;
    char *form; /* unpack: name of a form */
    int at_least;
    char *report;           /* inspect: a page */
    char **weights;         /* mix: NAME=W */
    char *recipe;           /* mix */
    int rank;               /* mix */
    int directions;         /* rows, pack, add */
    char *codec;            /* pack, add */
    struct cli_guard guard; /* pack, add, share, unpack, mix */
};

/** One of them; args: what stands behind the word, NULL-terminated. Exit status. */
typedef int (*cli_rmm_fn)(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_pack(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_add(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_drop(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_share(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_list(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_verify(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_inspect(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_mix(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_rows(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_unpack(const struct cli_rmm *opt, const char *const *args);
int cli_rmm_unmerge(const struct cli_rmm *opt, const char *const *args);

/** Take slashes off the end of an argument, where they lie: shells complete the name of a
 *  folder so, and files beside it are named by it. */
void cli_rmm_trim(const char *path);
/** That adapters are beside a base of which the package does not say that it is theirs.
 */
void cli_rmm_tell_unknown(const struct cli_rmm *opt);
/** Print the report as --json asks, or for people when `show` is set; exit status. */
int cli_rmm_answer(const struct cli_rmm *opt, const char *word,
                   const struct ww_pack_report *report, bool show);
/** What opens sealed members, asking for a passphrase only when one is needed. Free
 *  out->recipient_passphrase. */
enum ww_err cli_rmm_unsealer(const struct cli_rmm *opt, struct ww_unsealer *out,
                             struct ww_error *err);

/** NAME=PATH: the name, to be freed, and a borrow of the path; NULL when there is no '='.
 */
char *cli_rmm_cut(const char *text, const char **rest);

/** What is about to be packed, or handed on. */
struct cli_packing {
    const char *package;
    const char *decision; /* where what was permitted goes; NULL: beside the package */
    const struct ww_pack_member *members;
    size_t n;
    bool adds;   /* to a package that is there */
    bool shares; /* what is in it: for more recipients, by names of members */
};
/** Ask policies whether the members may be handed on in a package. sign: key of --sign,
 * or NULL. WW_OK to go on; a denial is recorded as cli_guard_ask does. WW_E_EXISTS when
 * the place of the decision is taken. */
enum ww_err cli_pack_ask(const struct cli_guard *guard, const struct cli_common *common,
                         const struct cli_packing *packing, struct ww_signkey *sign,
                         struct cli_verdict *verdict, struct ww_error *err);
/** What was permitted, in the packing's decision or beside the package, with its version.
 */
enum ww_err cli_pack_record(const struct cli_common *common,
                            const struct cli_packing *packing, uint64_t version,
                            const struct cli_verdict *verdict, struct ww_error *err);

#endif
