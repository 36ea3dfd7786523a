/* SPDX-License-Identifier: Apache-2.0 */
/* weightward extract: the difference of two models as a LoRA adapter. */
#include "cli_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct extract {
    struct cli_common common;
    int rank;
    double energy;
    int portable;
    struct cli_signing signing;
    struct cli_guard guard;
};

static void tell(const struct extract *opt, const struct ww_extract_report *r,
                 const char *out)
{
    cli_warn(&opt->common, r->warnings, r->n_warnings);
    cli_say(&opt->common,
            "wrote '%s': %llu matrices of rank at most %llu, %llu weights whole, %llu "
            "left out, "
            "%llu unchanged",
            out, (unsigned long long)r->matrices, (unsigned long long)r->rank,
            (unsigned long long)r->whole, (unsigned long long)r->dropped,
            (unsigned long long)r->unchanged);
    cli_say(&opt->common, "kept %.4f of the squared norm; least %.4f, of '%s'", r->kept,
            r->worst, r->worst_name ? r->worst_name : "none");
}

/* The base gives its shape, the model its difference: both are asked about. */
static enum ww_err guard(const struct extract *opt, const char *const *args,
                         struct ww_signkey *key, struct cli_verdict *verdict,
                         struct ww_error *err)
{
    char *base = strdup(args[0]);
    char *model = strdup(args[1]);
    char *name = cli_guard_name(args[2]);
    const struct ww_policy_source sources[] = {{.path = base, .weight = 1000000},
                                               {.path = model, .weight = 1000000}};
    const struct ww_policy_ask ask = {
        .action = "extract", .sources = sources, .n_sources = 2, .output_name = name};
    enum ww_err rc =
        cli_guard_ask(&opt->guard, &opt->common, &ask, args[2], key, verdict, err);
    free(base);
    free(model);
    free(name);
    return rc;
}

static int run_extract(const void *given, const char *verb, const char *const *args)
{
    const struct extract *opt = given;
    struct ww_extract_report report = {0};
    struct ww_error err = {0};
    struct ww_signer signer = {0};
    struct cli_verdict verdict = {0};
    struct ww_extract_options options = {.energy = opt->energy,
                                         .portable = opt->portable != 0};
    int status = cli_run_options(&opt->common, &options.run);
    enum ww_err rc = WW_OK;
    if (status) {
        return status;
    }
    if (opt->rank < 1) {
        return cli_usage(verb, "--rank must be at least 1");
    }
    options.rank = (uint64_t)opt->rank;
    cli_catch_signals();
    rc = cli_signing_open(&opt->signing, &signer, &options.signer, &err);
    if (!rc) {
        rc = guard(opt, args, signer.key, &verdict, &err);
    }
    if (!rc) {
        rc = ww_extract_adapter(args[0], args[1], args[2], &options, &report, &err);
    }
    if (!rc) {
        rc = cli_guard_record(&opt->guard, &verdict, args[2], &err);
    }
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    } else {
        cli_bom(&opt->common, args[2], options.signer);
        tell(opt, &report, args[2]);
        if (opt->common.json) {
            char *json = NULL;
            rc = ww_report_extract_json(&report, &json, &err);
            status = cli_answer_json(verb, &opt->common, rc, json, &err);
        }
    }
    ww_extract_report_release(&report);
    cli_guard_release(&verdict);
    ww_signkey_free(signer.key);
    return status;
}

int cmd_extract(int argc, const char **argv)
{
    struct extract opt = {.rank = 64, .guard = CLI_GUARD, .signing = CLI_SIGNING};
    const struct poptOption table[] = {
        {"rank", 0, POPT_ARG_INT, &opt.rank, 0, "largest rank of a factor (default 64)",
         "R"},
        {"energy", 0, POPT_ARG_DOUBLE, &opt.energy, 0,
         "smallest rank that keeps this share of the squared norm", "SHARE"},
        {"portable", 0, POPT_ARG_NONE, &opt.portable, 0,
         "one rank and no whole weights, for engines beside PEFT", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_signing_table(&opt.signing, false), 0, NULL, NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_guard_table(&opt.guard),
         0, "Policy options:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    const int foreign = cli_mergekit_option("extract", argc, argv);

    return foreign
               ? foreign
               : cli_run(argc, argv, table, "BASE MODEL OUT", 3, 3, run_extract, &opt);
}
