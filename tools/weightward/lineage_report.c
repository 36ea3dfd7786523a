/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage report: a comparison as a folder that can be handed on. */
#include "cli_lineage.h"

#include <stdio.h>

struct report {
    struct cli_common common;
    struct cli_family family;
    struct cli_planned planned;
    int replay;
    char *out;
    char *sign;
    struct cli_passphrase passphrase;
    char **trust;
    char **certificates;
    char *trusted_root;
    char *identity;
    char *provider;
};

static int check_options(const struct report *opt, const char *verb)
{
    if (!cli_family_is_whole(&opt->family) || !opt->out) {
        return cli_usage(verb,
                         "--base MODEL, --candidate MODEL and --out FOLDER are needed");
    }
    if (!opt->identity != !opt->provider || (opt->identity && !opt->trusted_root)) {
        return cli_usage(verb, "--identity, --identity-provider and --trusted-root go "
                               "together");
    }
    return cli_planned_check(&opt->planned, verb);
}

static enum ww_err write_folder(const struct report *opt, struct ww_signkey *key,
                                const struct ww_lineage_report *report,
                                struct ww_error *err)
{
    const struct ww_signer signer = {.key = key};
    char *page = NULL;
    char *json = NULL;
    enum ww_err rc = ww_report_lineage_html(report, &page, err);

    if (!rc) {
        rc = ww_report_lineage_json(report, &json, err);
    }
    if (!rc) {
        rc = ww_lineage_report_write(opt->out, page, json, key ? &signer : NULL, err);
    }
    ww_string_free(page);
    ww_string_free(json);
    return rc;
}

static int answer(const struct report *opt, const struct ww_lineage_report *report)
{
    struct ww_error err = {0};
    char *json = NULL;
    enum ww_err rc = WW_OK;

    if (!opt->common.json) {
        printf("report of '%s' in '%s'%s; %s\n", report->models[0].name, opt->out,
               opt->sign ? ", signed: 'weightward verify' checks it" : "",
               report->decompose.confirmatory
                   ? "confirmatory, as the plan says"
                   : "exploratory, without a plan signed beforehand");
        return 0;
    }
    rc = ww_report_lineage_json(report, &json, &err);
    return cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
}

static struct ww_lineage_report_options options_of(const struct report *opt)
{
    struct ww_lineage_report_options options = {
        .compare = cli_family_options(&opt->family),
        .replay = opt->replay != 0,
        .trust = {.keys = (const char *const *)opt->trust,
                  .n_keys = cli_count(opt->trust),
                  .certificates = (const char *const *)opt->certificates,
                  .n_certificates = cli_count(opt->certificates),
                  .trusted_root = opt->trusted_root,
                  .identity = opt->identity,
                  .identity_provider = opt->provider},
    };

    options.out = opt->out;
    options.compare.plan = opt->planned.plan;
    options.compare.plan_key = opt->planned.key;
    return options;
}

static int run_report(const void *given, const char *verb, const char *const *args)
{
    const struct report *opt = given;
    struct ww_lineage_report report = {0};
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    struct ww_lineage_report_options options = options_of(opt);
    int status = check_options(opt, verb);
    if (!status) {
        status = cli_run_options(&opt->common, &options.compare.run);
    }
    if (status) {
        return status;
    }
    cli_catch_signals();
    if (opt->sign) { /* a passphrase is asked for before the long part */
        rc = cli_signkey(opt->sign, &opt->passphrase, &key, &err);
    }
    if (!rc) {
        rc = ww_lineage_report(args[0], &options, &report, &err);
    }
    cli_progress_done();
    cli_warn(&opt->common, report.decompose.warnings, report.decompose.n_warnings);
    if (!rc) {
        rc = write_folder(opt, key, &report, &err);
    }
    status = rc ? cli_fail(CLI_LINEAGE, &opt->common, &err) : answer(opt, &report);
    ww_lineage_report_release(&report);
    ww_signkey_free(key);
    return status;
}

int lineage_report(int argc, const char **argv)
{
    struct report opt = {.passphrase.fd = -1};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_family_table(&opt.family), 0, "Models:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_planned_table(&opt.planned), 0, "Plan:", NULL},
        {"replay", 0, POPT_ARG_NONE, &opt.replay, 0,
         "also infer a recipe from half of the tensors and replay it on the others",
         NULL},
        {"out", 0, POPT_ARG_STRING, &opt.out, 0, "new folder for the page and its JSON",
         "FOLDER"},
        {"sign", 0, POPT_ARG_STRING, &opt.sign, 0, "signing key for the folder", "KEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase of the key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"trust", 0, POPT_ARG_ARGV, &opt.trust, 0,
         "public key whose signatures of models count (repeatable)", "PUB"},
        {"certificate-chain", 0, POPT_ARG_ARGV, &opt.certificates, 0,
         "trusted certificates (PEM, repeatable)", "FILE"},
        {"trusted-root", 0, POPT_ARG_STRING, &opt.trusted_root, 0,
         "logs and timestamp authorities whose times count", "FILE"},
        {"identity", 0, POPT_ARG_STRING, &opt.identity, 0,
         "keyless: who must have signed", "ID"},
        {"identity-provider", 0, POPT_ARG_STRING, &opt.provider, 0,
         "keyless: who vouched for that identity", "URL"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "SUSPECT", 1, 1, run_report, &opt);
}
