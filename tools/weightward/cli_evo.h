/* SPDX-License-Identifier: Apache-2.0 */
/* The words of "weightward evo": argv[0] is "evo WORD", as messages and the help show it;
 * the JSON verb is CLI_EVO. */
#ifndef WW_CLI_EVO_H
#define WW_CLI_EVO_H

#include "cli.h"

#define CLI_EVO "evo"

/** --level NAME; NULL: tokens. false for another name. */
bool evo_level(const char *name, enum ww_evo_level *out);

/** Where no limit was given. */
#define EVO_UNLIMITED (-1e300)
/** Limits as they are asked for: n of them, 0 or more, or not given (then -1). False for
 *  another number: a limit that is none must not pass as one. */
bool evo_limits(double *const *limits, size_t n);

int evo_search(int argc, const char **argv);
int evo_collect(int argc, const char **argv);
int evo_fit(int argc, const char **argv);
int evo_run(int argc, const char **argv);
int evo_probe(int argc, const char **argv);
int evo_score(int argc, const char **argv);
int evo_serve(int argc, const char **argv);

#endif
