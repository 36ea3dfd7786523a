/* SPDX-License-Identifier: Apache-2.0 */
/* Options of mergekit-yaml, typed from habit. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define NOT_NEEDED "leave it away: nothing here is loaded whole, run or downloaded"

static const struct {
    const char *option;
    const char *here;
} options[] = {
    {"--allow-crimes", "here it is --allow-mixed"},
    {"--random-seed", "here it is --seed"},
    {"--out-shard-size", "here it is --shard-size"},
    {"--num-threads", "here it is --threads"},
    {"-j", "here it is --threads"},
    {"--unsafe-truncate-embeddings", "say tokenizer_source in the recipe: rows are then "
                                     "those of the tokens"},
    {"--copy-tokenizer", "leave it away: the tokenizer is always copied"},
    {"--no-copy-tokenizer", "leave it away: the tokenizer is always copied"},
    {"--write-model-card", "leave it away: the card is always written"},
    {"--no-write-model-card", "leave it away: the card is always written"},
    {"--lora-merge-cache", "leave it away: adapters are added as they are read"},
    {"--lora-merge-dtype", "leave it away: adapters are added in float32"},
    {"--transformers-cache", "here it is --hub-cache"},
    {"--verbose", "leave it away: --dry-run prints the plan"},
    {"-v", "leave it away: --dry-run prints the plan"},
    {"--cuda", NOT_NEEDED},
    {"--device", NOT_NEEDED},
    {"--low-cpu-memory", NOT_NEEDED},
    {"--lazy-unpickle", NOT_NEEDED},
    {"--clone-tensors", NOT_NEEDED},
    {"--trust-remote-code", NOT_NEEDED},
    {"--safe-serialization", NOT_NEEDED},
    {"--read-to-gpu", NOT_NEEDED},
    {"--multi-gpu", NOT_NEEDED},
    {"--gpu-rich", NOT_NEEDED},
    {"--async-write", NOT_NEEDED},
    {"--write-threads", NOT_NEEDED},
};

/* "--cuda", "--cuda=x", "-j4", "-vv". */
static bool is_written(const char *option, const char *arg)
{
    const size_t len = strlen(option);

    if (option[1] != '-') {
        return strncmp(arg, option, len) == 0 &&
               strspn(arg + len, "0123456789v") == strlen(arg + len);
    }
    return strlen(option) == strcspn(arg, "=") && memcmp(option, arg, len) == 0;
}

/* "--no-cuda" turns off what is not there; what can be on is said by its own words. */
static const char *turned_off(const char *arg)
{
    char option[64];

    if (strncmp(arg, "--no-", 5) != 0) {
        return NULL;
    }
    snprintf(option, sizeof option, "--%s", arg + 5);
    for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
        if (strcmp(options[k].option, option) == 0) {
            return "leave it away: it is off here";
        }
    }
    return NULL;
}

static const char *here(const char *arg)
{
    for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
        if (is_written(options[k].option, arg)) {
            return options[k].here;
        }
    }
    return turned_off(arg);
}

int cli_mergekit_option(int argc, const char **argv)
{
    char text[300];

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *words = argv[i][0] == '-' ? here(argv[i]) : NULL;
        if (words) {
            snprintf(text, sizeof text, "'%.*s' is an option of mergekit; %s",
                     (int)strcspn(argv[i], "="), argv[i], words);
            return cli_usage("merge", text);
        }
    }
    return 0;
}
