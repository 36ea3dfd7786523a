/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_words.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char *word_of(const char *verb, const struct cli_word *w)
{
    return w->name + strlen(verb) + 1;
}

static void print_words(FILE *to, const char *verb, const struct cli_word *words,
                        size_t n)
{
    fprintf(to, "usage: weightward %s WORD ...\n\n", verb);
    for (size_t i = 0; i < n; i++) {
        fprintf(to, "  %-10s %s\n", word_of(verb, &words[i]), words[i].summary);
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
    fprintf(stderr, "weightward %s: unknown word '%.60s'; known are:", verb, argv[1]);
    for (size_t i = 0; i < n; i++) {
        fprintf(stderr, "%s %s", i ? "," : "", word_of(verb, &words[i]));
    }
    fprintf(stderr, "\n");
    return CLI_USAGE;
}
