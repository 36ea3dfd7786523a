/* SPDX-License-Identifier: Apache-2.0 */
/* verify --chain, which both programs share. */
#ifndef WW_CLI_CHAIN_H
#define WW_CLI_CHAIN_H

#include "weightward/guard.h"
#include "weightward/report.h"

struct cli_common;

struct cli_chain {
    const struct cli_common *common;
    struct ww_chain_options options;
    struct ww_trust_options trust; /* no roots: by what the options name alone */
    const char *page;              /* --report: an HTML file to write, or NULL */
    const char *bom;               /* --bom: the same as CycloneDX */
};
/** Verify, answer, and return the exit status. */
int cli_verify_chain(const struct cli_chain *opt, const char *verb, const char *model);

#endif
