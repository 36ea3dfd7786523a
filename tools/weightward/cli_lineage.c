/* SPDX-License-Identifier: Apache-2.0 */
/* The models that a comparison names, for the words that compare. */
#include "cli_lineage.h"

#include <stdio.h>
#include <string.h>

const struct poptOption *cli_family_table(struct cli_family *family)
{
    static struct poptOption table[5];
    const struct poptOption filled[] = {
        {"base", 0, POPT_ARG_STRING, &family->base, 0, "the model that all descend from",
         "MODEL"},
        {"candidate", 0, POPT_ARG_ARGV, &family->candidates, 0,
         "a possible source (repeatable)", "MODEL"},
        {"control", 0, POPT_ARG_ARGV, &family->controls, 0,
         "a descendant of the base that is no source (repeatable)", "MODEL"},
        {"seed", 0, POPT_ARG_LONGLONG, &family->seed, 0,
         "of halves, draws and random masks (default 0)", "N"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

const char *cli_found_of(size_t n, size_t all, char out[48])
{
    if (n) {
        snprintf(out, 48, "%zu of %zu", n, all);
    } else if (all == 1) {
        snprintf(out, 48, "the one");
    } else {
        snprintf(out, 48, "any of %zu", all);
    }
    return out;
}

bool cli_family_is_whole(const struct cli_family *family)
{
    return family->base && cli_count(family->candidates) > 0;
}

struct ww_decompose_options cli_family_options(const struct cli_family *family)
{
    return (struct ww_decompose_options){
        .base = family->base,
        .candidates = (const char *const *)family->candidates,
        .n_candidates = cli_count(family->candidates),
        .controls = (const char *const *)family->controls,
        .n_controls = cli_count(family->controls),
        .seed = (uint64_t)family->seed,
    };
}

const struct poptOption *cli_planned_table(struct cli_planned *planned)
{
    static struct poptOption table[3];
    const struct poptOption filled[] = {
        {"plan", 0, POPT_ARG_STRING, &planned->plan, 0,
         "signed plan that this run must be (see lineage plan)", "FILE"},
        {"key", 'k', POPT_ARG_STRING, &planned->key, 0, "public key that signed the plan",
         "PUB"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

int cli_planned_check(const struct cli_planned *planned, const char *verb)
{
    if (planned->key && !planned->plan) {
        return cli_usage(verb, "--key is of who signed a plan: add --plan FILE");
    }
    return planned->plan && !planned->key
               ? cli_usage(verb, "--plan needs --key PUB, the key that signed it")
               : 0;
}
