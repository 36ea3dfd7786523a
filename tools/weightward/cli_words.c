/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_words.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cli_help.h"

static const char *word_of(const char *verb, const struct cli_word *w)
{
    return w->name + strlen(verb) + 1;
}

static void print_words(FILE *to, const char *verb, const struct cli_word *words,
                        size_t n)
{
    fprintf(to, "usage: weightward %s WORD ...\n\n", verb);
    for (size_t i = 0; i < n; i++) {
        fprintf(to, "  %-10s %s\n", word_of(verb, &words[i]), cli_summary(words[i].name));
    }
    fprintf(to, "\nweightward %s WORD --help lists a word's options (all take --json)\n",
            verb);
}

int cli_words(const char *verb, const struct cli_word *words, size_t n, int argc,
              const char **argv)
{
    if (argc < 2) {
        print_words(stderr, verb, words, n);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_words(stdout, verb, words, n);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(argv[1], word_of(verb, &words[i])) == 0) {
            argv[1] = words[i].name;
            return words[i].run(argc - 1, argv + 1);
        }
    }
    char known[300] = "";
    for (size_t i = 0; i < n; i++) {
        cli_list_add(known, sizeof known, word_of(verb, &words[i]));
    }
    return cli_unknown_word(verb, argv[1], known);
}
