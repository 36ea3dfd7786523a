/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage: the table of its words. */
#include "cli_lineage.h"
#include "cli_words.h"

static const struct cli_word words[] = {
    {"lineage decompose", lineage_decompose}, {"lineage find", lineage_find},
    {"lineage index", lineage_index},         {"lineage logits", lineage_logits},
    {"lineage plan", lineage_plan},           {"lineage replay", lineage_replay},
    {"lineage report", lineage_report},       {"lineage verify", lineage_verify},
};
#define N_WORDS (sizeof words / sizeof words[0])

int cmd_lineage(int argc, const char **argv)
{
    return cli_words(CLI_LINEAGE, words, N_WORDS, argc, argv);
}
