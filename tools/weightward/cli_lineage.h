/* SPDX-License-Identifier: Apache-2.0 */
/* The words of "weightward lineage": argv[0] is "lineage WORD", as messages and the help
 * show it; the JSON verb is CLI_LINEAGE. */
#ifndef WW_CLI_LINEAGE_H
#define WW_CLI_LINEAGE_H

#include "cli.h"

#define CLI_LINEAGE "lineage"

/** Base, candidates, controls and seed; all-zero is empty. */
struct cli_family {
    char *base;
    char **candidates;
    char **controls;
    long long seed;
};
/** Options for them, to be included in a word's table. */
const struct poptOption *cli_family_table(struct cli_family *family);
/** Are a base and a candidate there? */
bool cli_family_is_whole(const struct cli_family *family);
/** As the library takes them; borrows. */
struct ww_decompose_options cli_family_options(const struct cli_family *family);

/** 'n of all', or where none was found 'any of all' or 'the one', for sentences that it
 * went into a model; in out. */
const char *cli_found_of(size_t n, size_t all, char out[48]);

/** The plan that a run must be. */
struct cli_planned {
    char *plan;
    char *key;
};
const struct poptOption *cli_planned_table(struct cli_planned *planned);
/** 0, or CLI_USAGE. */
int cli_planned_check(const struct cli_planned *planned, const char *verb);

int lineage_decompose(int argc, const char **argv);
int lineage_find(int argc, const char **argv);
int lineage_index(int argc, const char **argv);
int lineage_logits(int argc, const char **argv);
int lineage_replay(int argc, const char **argv);
int lineage_plan(int argc, const char **argv);
int lineage_report(int argc, const char **argv);
int lineage_verify(int argc, const char **argv);

#endif
