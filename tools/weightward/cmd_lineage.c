/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage: the table of its words. */
#include "cli_lineage.h"
#include "cli_words.h"

static const struct cli_word words[] = {
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

int cmd_lineage(int argc, const char **argv)
{
    return cli_words(CLI_LINEAGE, words, N_WORDS, argc, argv);
}
