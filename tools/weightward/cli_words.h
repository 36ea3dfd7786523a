/* SPDX-License-Identifier: Apache-2.0 */
/* A command whose words have options of their own, as "weightward lineage" has. */
#ifndef WW_CLI_WORDS_H
#define WW_CLI_WORDS_H

#include <stddef.h>

struct cli_word {
    const char *name;                        /* "VERB WORD" */
    int (*run)(int argc, const char **argv); /* argv[0] is the name */
};

/** Run the word that argv[1] names, or tell which there are. Returns the exit status. */
int cli_words(const char *verb, const struct cli_word *words, size_t n, int argc,
              const char **argv);

#endif
