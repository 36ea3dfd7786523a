/* SPDX-License-Identifier: Apache-2.0 */
/* What each command and word is for, and how it is typed. The examples are run as they
 * stand, in this order, by tests/cli/usage.bats; those of evo need servers and are not.
 */
#include "cli_help.h"

#include <string.h>

static const struct row {
    const char *name, *summary, *examples;
} rows[] = {
    {"inspect", "what a model folder holds and what a lock would move",
     "  weightward inspect model\n"},
    {"key", "make, describe, bind and split keys",
     "  weightward key new signing --out me\n"
     "  weightward key new lock --out team.lock\n"
     "  weightward key new recipient --out ann\n"},
    {"sign", "sign a folder (OpenSSF Model Signing)",
     "  weightward sign model --key me.key --tensors --origin\n"},
    {"verify", "check a signature and every file under it",
     "  weightward verify model --key me.pub\n"
     "  weightward verify model --key me.pub --chain\n"},
    {"lock", "transform the weights so that default merging tools fail on them",
     "  weightward lock model locked --key team.lock --sign me.key\n"
     "  weightward lock model sealed --level sealed --to ann.pub --sign me.key\n"},
    {"unlock", "give the source back, byte for byte",
     "  weightward unlock locked back --key team.lock\n"
     "  weightward unlock sealed opened --open-with ann.key\n"},
    {"attack", "undo a lock without its key, by the base model or a sibling",
     "  weightward attack locked undone --anchor base\n"},
    {"merge", "merge models by a mergekit recipe, with a record of it",
     "  weightward merge recipe.yml merged --sign me.key\n"
     "  weightward merge --rederive merged\n"},
    {"recipients", "who may open a sealed model",
     "  weightward recipients list sealed\n"},
    {"extract", "write the difference of two models as a LoRA adapter",
     "  weightward extract base model adapter --rank 16\n"},
    {"rmm", "packages from which each of several models comes back, byte for byte",
     "  weightward rmm pack tunes.pkg one=model two=other --base base --exact\n"
     "  weightward rmm unpack tunes.pkg one one --base base\n"},
    {"trace", "say whose copy a model came from",
     "  weightward trace suspect --ledger copies --key team.lock\n"},
    {"lineage", "say which sources a model was made of, in which shares", NULL},
    {"lineage decompose", "shares of given sources in a model",
     "  weightward lineage decompose merged --base base --candidate model "
     "--candidate other\n"},
    {"lineage index", "prints of models into a catalogue",
     "  weightward lineage index catalogue.db base model other\n"},
    {"lineage find", "sources of a model among those of a catalogue",
     "  weightward lineage find catalogue.db merged\n"},
    {"lineage logits", "answers of an interface against heads",
     "  weightward lineage logits answers.jsonl --candidate base\n"},
    {"lineage plan", "what will be compared, signed beforehand",
     "  weightward lineage plan plan.json --base base --candidate model "
     "--candidate other --sign me.key\n"},
    {"lineage replay", "a recipe computed again and compared bit for bit",
     "  weightward lineage replay merged --base base --candidate model "
     "--candidate other\n"},
    {"lineage report", "a comparison as a page and JSON, signed",
     "  weightward lineage report merged --base base --candidate model "
     "--candidate other --out report --sign me.key\n"},
    {"lineage verify", "what a folder declares, against its weights",
     "  weightward lineage verify merged\n"},
    {"policy", "explain, test, sign and check policies: who may do what",
     "  weightward policy explain policy.json\n"
     "  weightward policy sign policy.json --key me.key\n"},
    {"evo", "pool models behind servers; search merges by their scores", NULL},
    {"evo search", "find a recipe's numbers by a program that scores candidates",
     "  weightward evo search space.yml --evaluator ./score --output found.json "
     "--journal journal\n"},
    {"evo probe", "what servers do, found by asking",
     "  weightward evo probe pool.yml\n"},
    {"evo collect", "ask a pool about a task file, each question once",
     "  weightward evo collect pool.yml tasks.jsonl --cache answers --max-calls 5000\n"},
    {"evo fit", "rules fitted to what was collected, confirmed on other items",
     "  weightward evo fit pool.yml tasks.jsonl --confirm held-out.jsonl --cache "
     "answers\n"},
    {"evo run", "collect, fit and confirm, to a signed recipe",
     "  weightward evo run pool.yml tasks.jsonl --confirm held-out.jsonl --cache answers "
     "--output pool.json --sign me.key\n"},
    {"evo score", "a pool as the candidate of a search, for its evaluator",
     "  weightward evo search scales.yml --evaluator /usr/bin/weightward --output "
     "scales.json --journal journal -- evo score --tasks tasks.jsonl --cache answers\n"},
    {"evo serve", "a signed recipe as one model, for OpenAI's clients",
     "  weightward evo serve pool.json --key me.pub --listen 127.0.0.1:8080\n"},
};

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *cli_summary(const char *name)
{
    const struct row *row = find(name);
    return row ? row->summary : "";
}

void cli_help_end(FILE *to, const char *name)
{
    const struct row *row = find(name);

    if (row && row->examples) {
        fprintf(to, "\n%s: %s\n%s", name, row->summary, row->examples);
    }
    fputs("\nexit status: 0 yes or done, 1 no, 2 usage, 3 input, 4 system, 5 key, 6 not "
          "supported, 130 interrupted\n",
          to);
}
