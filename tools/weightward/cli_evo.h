/* SPDX-License-Identifier: Apache-2.0 */
/* The words of "weightward evo": argv[0] is "evo WORD", as messages and the help show it;
 * the JSON verb is CLI_EVO. */
#ifndef WW_CLI_EVO_H
#define WW_CLI_EVO_H

#include "cli.h"

#define CLI_EVO "evo"

/** --level NAME; NULL: tokens. false for another name. */
bool evo_level(const char *name, enum ww_evo_level *out);

/** What asking may take, for every word that asks. */
struct evo_limits {
    double calls;
    double tokens;
    double cost;
    double seconds;
};
#define EVO_NO_LIMIT (-1e300)
#define EVO_NO_LIMITS                                                                    \
    {                                                                                    \
        EVO_NO_LIMIT, EVO_NO_LIMIT, EVO_NO_LIMIT, EVO_NO_LIMIT                           \
    }
/** Their options, to be included in a word's table. */
const struct poptOption *evo_limits_table(struct evo_limits *limits);
/** As collecting takes them. Usage where one is below 0 or no number: a limit that is
 *  none must not pass as one. */
int evo_take_limits(const struct evo_limits *limits, const char *verb,
                    struct ww_collect_options *out);

int evo_search(int argc, const char **argv);
int evo_collect(int argc, const char **argv);
int evo_fit(int argc, const char **argv);
int evo_run(int argc, const char **argv);
int evo_probe(int argc, const char **argv);
int evo_score(int argc, const char **argv);
int evo_serve(int argc, const char **argv);

#endif
