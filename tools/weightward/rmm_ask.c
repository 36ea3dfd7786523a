/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who packs hands models on, so policies are asked whether they may be redistributed,
 * about all members of one command together: where adapters share numbers, who opens one
 * of them can read what tells of the others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "rmm_mix.h"

/* Where the decision about this version goes when nothing else is said; free. */
static char *beside(const struct cli_packing *packing, uint64_t version)
{
    char *path = NULL;
    return asprintf(&path, "%s.v%llu%s.decision.sigstore.json", packing->package,
                    (unsigned long long)version, packing->shares ? ".share" : "") < 0
               ? NULL
               : path;
}

/* A package whose decision has no place would be there without it, so that is seen first.
 */
static enum ww_err check_place(const struct cli_packing *packing, struct ww_error *err)
{
    const char *decision = packing->decision;
    const char *package = packing->package;
    struct ww_pack_report report = {.version = 0};
    struct stat st;
    char *path = NULL;
    enum ww_err rc = WW_OK;

    if (packing->adds || packing->shares) {
        rc = ww_pack_list(package, &report, err);
    }
    if (rc == WW_OK && !decision) {
        path = beside(packing, report.version + !packing->shares);
        rc = path ? WW_OK
                  : cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'", package);
    }
    if (rc == WW_OK && lstat(decision ? decision : path, &st) == 0) {
        rc = cli_rmm_error(
            err, WW_E_EXISTS,
            "'%.300s' exists, and the decision would be written there; move it or "
            "name a new file with --decision",
            decision ? decision : path);
    }
    free(path);
    ww_pack_report_release(&report);
    return rc;
}

enum ww_err cli_pack_ask(const struct cli_guard *guard, const struct cli_common *common,
                         const struct cli_packing *packing, struct ww_signkey *sign,
                         struct cli_verdict *verdict, struct ww_error *err)
{
    const size_t n = packing->n;
    struct ww_policy_source *sources = calloc(n + 1, sizeof *sources);
    char *name = cli_guard_name(packing->package);
    enum ww_err rc = WW_OK;

    if (!sources || !name) {
        rc = cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'",
                           packing->package);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        sources[i] = (struct ww_policy_source){
            .path = (char *)(uintptr_t)packing->members[i].path,
            .weight = 1000000,
            .name = packing->shares ? (char *)(uintptr_t)packing->members[i].name : NULL};
    }
    const struct ww_policy_ask what = {.action = "redistribute",
                                       .sources = sources,
                                       .n_sources = n,
                                       .output_name = name};
    rc = cli_guard_ask(guard, common, &what, packing->package, sign, verdict, err);
    if (rc == WW_OK && verdict->verdict) {
        rc = check_place(packing, err);
    }
out:
    free(sources);
    free(name);
    return rc;
}

enum ww_err cli_pack_record(const struct cli_common *common,
                            const struct cli_packing *packing, uint64_t version,
                            const struct cli_verdict *verdict, struct ww_error *err)
{
    char *path = NULL;

    if (!verdict->verdict) {
        return WW_OK;
    }
    if (!packing->decision) {
        path = beside(packing, version);
        if (!path) {
            return cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'",
                                 packing->package);
        }
    }
    const char *to = path ? path : packing->decision;
    const enum ww_err rc =
        ww_verdict_record(verdict->verdict, NULL, to, verdict->key, err);
    cli_say(common,
            rc == WW_OK ? "the decision is in '%s'"
                        : "what was permitted is done, and there is no decision in '%s'",
            to);
    free(path);
    return rc;
}
