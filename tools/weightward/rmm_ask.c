/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who packs hands models on, so policies are asked whether they may be redistributed,
 * about all members of one command together: where adapters share numbers, who opens one
 * of them can read what tells of the others.
 */
#include <stdio.h>
#include <stdlib.h>

#include "rmm_mix.h"

enum ww_err cli_rmm_ask(const struct cli_rmm *opt, const char *package,
                        const struct ww_pack_member *members, size_t n,
                        struct ww_signkey *sign, struct cli_verdict *verdict,
                        struct ww_error *err)
{
    struct ww_policy_source *sources = calloc(n + 1, sizeof *sources);
    char *name = cli_guard_name(package);
    enum ww_err rc = WW_OK;

    if (!sources || !name) {
        rc = cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'", package);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        sources[i] = (struct ww_policy_source){
            .path = (char *)(uintptr_t)members[i].path, .weight = 1000000};
    }
    const struct ww_policy_ask what = {.action = "redistribute",
                                       .sources = sources,
                                       .n_sources = n,
                                       .output_name = name};
    rc = cli_guard_ask(&opt->guard, &opt->common, &what, package, sign, verdict, err);
out:
    free(sources);
    free(name);
    return rc;
}

enum ww_err cli_rmm_record(const struct cli_rmm *opt, const char *package,
                           uint64_t version, const struct cli_verdict *verdict,
                           struct ww_error *err)
{
    char *path = NULL;

    if (!verdict->verdict) {
        return WW_OK;
    }
    if (!opt->guard.decision && asprintf(&path, "%s.v%llu.decision.sigstore.json", package,
                                         (unsigned long long)version) < 0) {
        return cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'", package);
    }
    const char *to = path ? path : opt->guard.decision;
    const enum ww_err rc =
        ww_verdict_record(verdict->verdict, NULL, to, verdict->key, err);
    if (rc == WW_OK) {
        cli_say(&opt->common, "the decision is in '%s'", to);
    }
    free(path);
    return rc;
}
