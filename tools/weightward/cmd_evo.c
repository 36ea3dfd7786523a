/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo: the table of its words. */
#include "cli_evo.h"
#include "cli_words.h"

#include <string.h>

static const struct cli_word words[] = {
    {"evo search", evo_search}, {"evo probe", evo_probe}, {"evo collect", evo_collect},
    {"evo fit", evo_fit},       {"evo run", evo_run},     {"evo score", evo_score},
    {"evo serve", evo_serve},
};
#define N_WORDS (sizeof words / sizeof words[0])

const struct poptOption *evo_limits_table(struct evo_limits *limits)
{
    static struct poptOption table[5];
    const struct poptOption filled[] = {
        {"max-calls", 0, POPT_ARG_DOUBLE, &limits->calls, 0,
         "never more calls, tries included", "N"},
        {"max-tokens", 0, POPT_ARG_DOUBLE, &limits->tokens, 0, "never more tokens", "N"},
        {"max-cost", 0, POPT_ARG_DOUBLE, &limits->cost, 0,
         "never more money, by the pool's prices", "X"},
        {"max-time", 0, POPT_ARG_DOUBLE, &limits->seconds, 0, "stop asking after so long",
         "SECONDS"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

int evo_take_limits(const struct evo_limits *limits, const char *verb,
                    struct ww_collect_options *out)
{
    const struct {
        double given;
        double *taken;
    } each[] = {{limits->calls, &out->max_calls},
                {limits->tokens, &out->max_tokens},
                {limits->cost, &out->max_cost},
                {limits->seconds, &out->max_seconds}};
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        const bool none = each[i].given == EVO_NO_LIMIT;
        if (!none && !(each[i].given >= 0)) {
            return cli_usage(verb, "limits (--max-...) are 0 or more");
        }
        *each[i].taken = none ? -1 : each[i].given;
    }
    return 0;
}

bool evo_level(const char *name, enum ww_evo_level *out)
{
    static const char *const names[] = {[WW_EVO_TOKENS] = "tokens",
                                        [WW_EVO_OPTIONS] = "options",
                                        [WW_EVO_BYTES] = "bytes"};
    *out = WW_EVO_TOKENS;
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum ww_evo_level)i;
            return true;
        }
    }
    return !name;
}

int cmd_evo(int argc, const char **argv)
{
    return cli_words(CLI_EVO, words, N_WORDS, argc, argv);
}
