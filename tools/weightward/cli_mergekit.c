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

int cli_mergekit_option(int argc, const char **argv)
{
    char text[300];
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const size_t len = strcspn(argv[i], "=");
        for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
            if (strlen(options[k].option) == len &&
                memcmp(options[k].option, argv[i], len) == 0) {
                snprintf(text, sizeof text, "'%s' is an option of mergekit; %s",
                         options[k].option, options[k].here);
                return cli_usage("merge", text);
            }
        }
    }
    return 0;
}
