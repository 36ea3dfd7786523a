/* SPDX-License-Identifier: Apache-2.0 */
/* What --help says beside the options. */
#ifndef WW_CLI_HELP_H
#define WW_CLI_HELP_H

#include <stdio.h>

/** What a command ("lock") or word ("lineage find") is for; "" for an unknown name. */
const char *cli_summary(const char *name);
/** The end of its help: what it is for, examples, and what exit statuses mean. */
void cli_help_end(FILE *to, const char *name);

#endif
