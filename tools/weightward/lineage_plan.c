/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage plan: what will be compared, signed before the suspect is opened. */
#include "cli_lineage.h"

#include <stdio.h>

struct plan {
    struct cli_common common;
    struct cli_family family;
    char *sign;
    struct cli_passphrase passphrase;
};

static int run_plan(const void *given, const char *verb, const char *const *args)
{
    const struct plan *opt = given;
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    struct ww_decompose_options options = cli_family_options(&opt->family);
    if (!cli_family_is_whole(&opt->family) || !opt->sign) {
        return cli_usage(verb,
                         "--base MODEL, --candidate MODEL and --sign KEY are needed");
    }
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = cli_signkey(opt->sign, &opt->passphrase, &key, &err);
    if (rc == WW_OK) {
        const struct ww_signer signer = {.key = key};
        rc = ww_lineage_plan(&options, &signer, args[0], &err);
    }
    cli_progress_done();
    ww_signkey_free(key);
    if (rc) {
        return cli_fail(CLI_LINEAGE, &opt->common, &err);
    }
    cli_say(&opt->common,
            "plan '%s' is signed; now 'lineage decompose' or 'lineage replay' "
            "with --plan",
            args[0]);
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_plan_json(args[0], &options, &json, &err);
        return cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    }
    return 0;
}

int lineage_plan(int argc, const char **argv)
{
    struct plan opt = {.passphrase.fd = -1};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_family_table(&opt.family), 0, "Models:", NULL},
        {"sign", 0, POPT_ARG_STRING, &opt.sign, 0, "signing key", "KEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase of the key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "PLAN", 1, 1, run_plan, &opt);
}
