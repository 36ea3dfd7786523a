/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo: the table of its words. */
#include "cli_evo.h"

#include <stdio.h>
#include <string.h>

static const struct word {
    const char *name; /* "evo WORD" */
    int (*run)(int argc, const char **argv);
    const char *summary;
} words[] = {
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

static const char *word_of(const struct word *w)
{
    return w->name + sizeof CLI_EVO;
}

static void print_words(FILE *to)
{
    fputs("usage: weightward evo WORD ...\n\n", to);
    for (size_t i = 0; i < N_WORDS; i++) {
        fprintf(to, "  %-10s %s\n", word_of(&words[i]), words[i].summary);
    }
    fputs("\nweightward evo WORD --help lists a word's options (all take --json)\n", to);
}

int cmd_evo(int argc, const char **argv)
{
    if (argc < 2) {
        print_words(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_words(stdout);
        return 0;
    }
    for (size_t i = 0; i < N_WORDS; i++) {
        if (strcmp(argv[1], word_of(&words[i])) == 0) {
            argv[1] = words[i].name;
            return words[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "weightward evo: unknown word '%.60s'; known are:", argv[1]);
    for (size_t i = 0; i < N_WORDS; i++) {
        fprintf(stderr, "%s %s", i ? "," : "", word_of(&words[i]));
    }
    fprintf(stderr, "\n");
    return CLI_USAGE;
}
