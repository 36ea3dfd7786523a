/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo: the table of its words. */
#include "cli_evo.h"
#include "cli_words.h"

#include <string.h>

static const struct cli_word words[] = {
    {"evo search", evo_search,
     "find a recipe's numbers by a program that scores candidates"},
    {"evo probe", evo_probe, "what servers do, found by asking"},
    {"evo collect", evo_collect, "ask a pool about a task file, each question once"},
    {"evo fit", evo_fit, "rules fitted to what was collected, confirmed on other items"},
    {"evo run", evo_run, "collect, fit and confirm, to a signed recipe"},
    {"evo score", evo_score, "a pool as the candidate of a search, for its evaluator"},
    {"evo serve", evo_serve, "a signed recipe as one model, for OpenAI's clients"},
};
#define N_WORDS (sizeof words / sizeof words[0])

bool evo_limits(double *const *limits, size_t n)
{
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        const bool given = !(*limits[i] == EVO_UNLIMITED);
        *limits[i] = given ? *limits[i] : -1;
        good = good && (!given || *limits[i] >= 0); /* and no NaN */
    }
    return good;
}

bool evo_level(const char *name, enum ww_evo_level *out)
{
    static const char *const names[] = {[WW_EVO_TOKENS] = "tokens",
                                        [WW_EVO_OPTIONS] = "options",
                                        [WW_EVO_BYTES] = "bytes"};
    *out = WW_EVO_TOKENS;
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum ww_evo_level)i;
            return true;
        }
    }
    return !name;
}

int cmd_evo(int argc, const char **argv)
{
    return cli_words(CLI_EVO, words, N_WORDS, argc, argv);
}
