/* SPDX-License-Identifier: Apache-2.0 */
/* weightward policy explain and test: what a policy means, and whether it does what its
 * author expects. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

struct policy {
    struct cli_common common;
};

static void tell_case(const struct ww_policy_case *c)
{
    printf("%s %-24s %s: %s", c->as_expected ? "ok   " : "WRONG", c->name,
           c->permit ? "permit" : "deny", c->reason);
    for (size_t r = 0; r < c->n_rules; r++) {
        printf("%s%s", r ? ", " : " by ", c->rules[r]);
    }
    if (c->failed[0]) {
        printf(" (a permit matches but for '%s')", c->failed);
    }
    printf("\n");
}

static int explain(const struct policy *opt, const char *const *args)
{
    struct ww_error err = {0};
    char *text = NULL;
    int status = 0;
    enum ww_err rc = ww_policy_explain(args[0], &text, &err);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_policy_text_json(text, &json, &err);
        status = cli_answer_json("policy", &opt->common, rc, json, &err);
    } else {
        fputs(text, stdout);
    }
    ww_policy_text_free(text);
    return status;
}

static int test(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_policy_test_report report = {0};
    struct ww_error err = {0};
    int status = 0;
    enum ww_err rc = ww_policy_test(args[0], args + 1, n - 1, &report, &err);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_policy_test_json(&report, &json, &err);
        status = cli_answer_json("policy", &opt->common, rc, json, &err);
    } else {
        for (size_t i = 0; i < report.n_cases; i++) {
            tell_case(&report.cases[i]);
        }
    }
    cli_say(&opt->common, "%zu cases, %zu other than expected", report.n_cases,
            report.n_wrong);
    if (status == 0 && report.n_wrong > 0) {
        status = ww_err_exit_status(WW_E_DENIED);
    }
    ww_policy_test_report_release(&report);
    return status;
}

int cmd_policy(int argc, const char **argv)
{
    struct policy opt = {0};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_common_table(&opt.common), 0,
         "Common options:", NULL},
        POPT_TABLEEND,
    };
    poptContext ctx = NULL;
    const char **args = NULL;
    int status = cli_parse(argc, argv, table, "explain POLICY | test TABLE POLICY...", 2, 66,
                           &ctx, &args);
    size_t n = 0;
    if (status || !args) {
        goto out;
    }
    while (args[n]) {
        n++;
    }
    if (strcmp(args[0], "explain") == 0 && n == 2) {
        status = explain(&opt, args + 1);
    } else if (strcmp(args[0], "test") == 0 && n >= 3) {
        status = test(&opt, args + 1, n - 1);
    } else {
        fprintf(stderr, "weightward policy: give explain POLICY, or test TABLE POLICY...\n");
        status = CLI_USAGE;
    }
out:
    cli_finish(ctx, table);
    return status;
}
