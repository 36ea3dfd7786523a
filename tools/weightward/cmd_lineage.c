/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage: the table of its words. */
#include "cli_lineage.h"

#include <stdio.h>
#include <string.h>

static const struct word {
    const char *name; /* "lineage WORD" */
    int (*run)(int argc, const char **argv);
    const char *summary;
} words[] = {
    {"lineage decompose", lineage_decompose, "shares of given sources in a model"},
    {"lineage find", lineage_find, "sources of a model among those of a catalogue"},
    {"lineage index", lineage_index, "prints of models into a catalogue"},
    {"lineage logits", lineage_logits, "answers of an interface against heads"},
    {"lineage plan", lineage_plan, "what will be compared, signed beforehand"},
    {"lineage replay", lineage_replay,
     "a recipe computed again and compared bit for bit"},
    {"lineage report", lineage_report, "a comparison as a page and JSON, signed"},
    {"lineage verify", lineage_verify, "what a folder declares, against its weights"},
};
#define N_WORDS (sizeof words / sizeof words[0])

static const char *word_of(const struct word *w)
{
    return w->name + sizeof CLI_LINEAGE;
}

static void print_words(FILE *to)
{
    fputs("usage: weightward lineage WORD ...\n\n", to);
    for (size_t i = 0; i < N_WORDS; i++) {
        fprintf(to, "  %-10s %s\n", word_of(&words[i]), words[i].summary);
    }
    fputs("\nweightward lineage WORD --help lists a word's options (all take --json)\n",
          to);
}

int cmd_lineage(int argc, const char **argv)
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
    fprintf(stderr, "weightward lineage: unknown word '%.60s'; known are:", argv[1]);
    for (size_t i = 0; i < N_WORDS; i++) {
        fprintf(stderr, "%s %s", i ? "," : "", word_of(&words[i]));
    }
    fprintf(stderr, "\n");
    return CLI_USAGE;
}
