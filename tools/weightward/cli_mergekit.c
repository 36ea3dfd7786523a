/* SPDX-License-Identifier: Apache-2.0 */
/* Options and programs of mergekit, typed from habit. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define NOT_NEEDED "leave it away: nothing here is loaded whole, run or downloaded"

struct habit {
    const char *word;
    const char *here;
};

/* Options of all its programs. */
static const struct habit common[] = {
    {"--transformers-cache", "here it is --hub-cache"},
    {"--verbose", "leave it away: --dry-run prints the plan"},
    {"-v", "leave it away: --dry-run prints the plan"},
    {"--lora-merge-cache", "leave it away: adapters are added as they are read"},
    {"--lora-merge-dtype", "leave it away: adapters are added in float32"},
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
    {"--num-threads", "here it is --threads"},
    {"-j", "here it is --threads"},
    {"--copy-tokenizer", "leave it away: the tokenizer is always copied"},
    {"--no-copy-tokenizer", "leave it away: the tokenizer is always copied"},
    {"--write-model-card", "leave it away: the card is always written"},
    {"--no-write-model-card", "leave it away: the card is always written"},
};

static const struct habit of_merge[] = {
    {"--allow-crimes", "here it is --allow-mixed"},
    {"--random-seed", "here it is --seed"},
    {"--out-shard-size", "here it is --shard-size"},
    {"--unsafe-truncate-embeddings", "say tokenizer_source in the recipe: rows are then "
                                     "those of the tokens"},
    {"--intermediate-dir", "leave it away: what a document makes for others is made as "
                           "they read it"},
    {"-I", "leave it away: what a document makes for others is made as they read it"},
    {"--lazy", "leave it away: --resume goes on with what was begun"},
    {"--out-path", "the folder stands behind the recipe: weightward merge RECIPE OUT"},
    {"--tensor-intersection", "here it is --allow-mixed, which names what is dropped"},
    {"--tensor-union",
     "a tensor that one model lacks has no merge; --allow-mixed drops it"},
};

static const struct habit of_extract[] = {
    {"--model", "say weightward extract BASE MODEL OUT"},
    {"--base-model", "say weightward extract BASE MODEL OUT"},
    {"--out-path", "say weightward extract BASE MODEL OUT"},
    {"--max-rank", "here it is --rank"},
    {"--sv-epsilon", "here it is --energy, the share of the squared norm that is kept"},
    {"--skip-undecomposable", "here it is --portable"},
    {"--embed-lora", "leave it away: an embedding that changed is carried whole"},
    {"--no-embed-lora", "leave it away: an embedding that changed is carried whole"},
    {"--distribute-scale", "leave it away: what counts is the product of the factors"},
    {"--no-distribute-scale", "leave it away: what counts is the product of the factors"},
    {"--save-module", "leave it away: what is no linear layer is carried whole, and a "
                      "large --rank keeps all of a layer"},
    {"--exclude-regex", "every weight that changed is taken: an adapter stands for its "
                        "model"},
    {"-e", "every weight that changed is taken: an adapter stands for its model"},
    {"--include-regex", "every weight that changed is taken: an adapter stands for its "
                        "model"},
    {"-i", "every weight that changed is taken: an adapter stands for its model"},
    {"--allow-crimes", "leave it away: both have the same tensors, or it is refused"},
    {"--random-seed", "leave it away: nothing here is drawn by chance"},
    {"--out-shard-size", "leave it away: an adapter is one file"},
    {"--transformers-cache", "name folders: nothing is downloaded"},
    {"--verbose", "leave it away: the answer says what was kept"},
    {"-v", "leave it away: the answer says what was kept"},
    {"--copy-tokenizer", "leave it away: an adapter has its base's tokenizer"},
    {"--no-copy-tokenizer", "leave it away: an adapter has its base's tokenizer"},
    {"--unsafe-truncate-embeddings", "both models have one vocabulary, or it is refused"},
};

/* Its programs, with and without "mergekit-" before them. */
static const struct habit programs[] = {
    {"yaml", "say weightward merge RECIPE OUT"},
    {"multi", "weightward merge takes files of several documents"},
    {"pytorch", "weightward merge takes folders of safetensors by the names of tensors"},
    {"legacy", "write a recipe for weightward merge"},
    {"bakllama", "write the layers as slices of a recipe for weightward merge"},
    {"layershuffle", "write the layers as slices of a recipe for weightward merge"},
    {"extract-lora", "say weightward extract BASE MODEL OUT"},
    {"evolve", "weightward evo search tries the numbers of a recipe"},
    {"moe",
     "experts are not made of models here; what it makes can be merged, locked and "
     "signed"},
    {"tokensurgeon",
     "a vocabulary is not transplanted here; tokenizer_source in a recipe for "
     "weightward merge gives models one vocabulary, token by token"},
};

struct habits {
    const struct habit *items;
    size_t n;
};
#define HABITS(list) ((struct habits){list, sizeof list / sizeof list[0]})

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

static const char *find(struct habits habits, const char *arg)
{
    for (size_t k = 0; k < habits.n; k++) {
        if (is_written(habits.items[k].word, arg)) {
            return habits.items[k].here;
        }
    }
    return NULL;
}

/* What is said of an option; "--no-cuda" turns off what is not there, and what can be on
 * is said by its own words. */
static const char *here(struct habits own, const char *arg)
{
    const char *words = find(own, arg);
    char option[64];

    words = words ? words : find(HABITS(common), arg);
    if (words || strncmp(arg, "--no-", 5) != 0) {
        return words;
    }
    snprintf(option, sizeof option, "--%s", arg + 5);
    return find(own, option) || find(HABITS(common), option)
               ? "leave it away: it is off here"
               : NULL;
}

int cli_mergekit_option(const char *verb, int argc, const char **argv)
{
    const struct habits own =
        strcmp(verb, "extract") == 0 ? HABITS(of_extract) : HABITS(of_merge);
    char text[300];

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *words = argv[i][0] == '-' ? here(own, argv[i]) : NULL;
        if (words) {
            snprintf(text, sizeof text, "'%.*s' is an option of mergekit; %s",
                     (int)strcspn(argv[i], "="), argv[i], words);
            return cli_usage(verb, text);
        }
    }
    return 0;
}

const char *cli_mergekit_program(const char *word)
{
    static const char prefix[] = "mergekit-";
    const size_t skip = strncmp(word, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;

    for (size_t k = 0; k < sizeof programs / sizeof programs[0]; k++) {
        if (strcmp(word + skip, programs[k].word) == 0) {
            return programs[k].here;
        }
    }
    return NULL;
}
