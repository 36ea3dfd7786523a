/* SPDX-License-Identifier: Apache-2.0 */
/* The words of "weightward lineage": argv[0] is "lineage WORD", as messages and the help
 * show it; the JSON verb is CLI_LINEAGE. */
#ifndef WW_CLI_LINEAGE_H
#define WW_CLI_LINEAGE_H

#include "cli.h"

#define CLI_LINEAGE "lineage"

int lineage_decompose(int argc, const char **argv);
int lineage_replay(int argc, const char **argv);
int lineage_plan(int argc, const char **argv);
int lineage_verify(int argc, const char **argv);

#endif
