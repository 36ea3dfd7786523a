/* SPDX-License-Identifier: Apache-2.0 */
/* weightward policy: what a policy means, whether it does what its author expects, and
 * the signed files that put it in force. */
#include "cli_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct policy {
    const struct poptOption *table; /* of the options below */
    struct cli_common common;
    char *key;
    struct cli_passphrase passphrase;
    char *out;
    char **roots;
    char *state;
    char *at;
    char *method;
    char *recipe;
    char *output;
    char *license;
    char *purpose;
    int locked;
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
    if (!c->as_expected) {
        printf("; expected %s", c->expected);
    }
    printf("\n");
}

static int explain(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_error err = {0};
    char *text = NULL;
    int status = 0;
    (void)n;
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
    ww_string_free(text);
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

static int sign(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_policy_signed report = {0};
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    char *json = NULL;
    int status = 0;
    enum ww_err rc = cli_signkey(opt->key, &opt->passphrase, &key, &err);
    (void)n;
    if (rc == WW_OK) {
        rc = ww_policy_sign(args[0], key, opt->out, &report, &err);
    }
    ww_signkey_free(key);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    cli_say(&opt->common, "signed the %s '%s' with key %s; it has %zu %s now",
            report.kind, args[0], report.keyid, report.n_signatures,
            report.n_signatures == 1 ? "signature" : "signatures");
    if (opt->common.json) {
        rc = ww_report_policy_sign_json(&report, &json, &err);
        status = cli_answer_json("policy", &opt->common, rc, json, &err);
    }
    return status;
}

static void tell_checked(const struct ww_policy_checked *f)
{
    printf("%s '%s': %s%s%s%s%s, %zu of %zu signatures count\n", f->kind, f->path, f->id,
           f->version[0] ? " version " : "", f->version, f->expires[0] ? ", until " : "",
           f->expires, f->n_signers, f->n_signatures);
    for (size_t i = 0; i < f->n_signers; i++) {
        printf("  signed by %s\n", f->signers[i]);
    }
}

static int check(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_policy_check_report report = {0};
    struct ww_error err = {0};
    struct ww_trust_options trust = {.roots = (const char *const *)opt->roots,
                                     .n_roots = cli_count(opt->roots),
                                     .state = opt->state};
    char *json = NULL;
    int status = 0;
    enum ww_err rc = WW_OK;
    if (trust.n_roots == 0) {
        return cli_usage("policy",
                         "check needs --root ROOT: the trust root that is believed");
    }
    if (opt->at && !ww_time_parse(opt->at, &trust.at_unix)) {
        return cli_usage("policy", "--at is a time like 2026-11-25T12:00:00Z");
    }
    rc = ww_policy_check(args, n, &trust, &report, &err);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    if (opt->common.json) {
        rc = ww_report_policy_check_json(&report, &json, &err);
        status = cli_answer_json("policy", &opt->common, rc, json, &err);
    } else {
        printf("root version %s, until %s\n", report.root_version, report.root_expires);
        for (size_t i = 0; i < report.n_files; i++) {
            tell_checked(&report.files[i]);
        }
    }
    ww_policy_check_report_release(&report);
    return status;
}

static enum ww_err request_merge(const struct policy *opt, struct ww_policy_ask *ask,
                                 struct ww_signkey *key, struct ww_error *err)
{
    const struct ww_merge_options options = {0};
    struct ww_merge_ask merge = {0};
    enum ww_err rc = ww_merge_ask(opt->recipe, &options, true, &merge, err);
    if (rc == WW_OK) {
        ask->method = merge.method;
        ask->sources = merge.sources;
        ask->n_sources = merge.n_sources;
        rc = ww_policy_request(ask, key, opt->out, err);
    }
    ww_merge_ask_release(&merge);
    return rc;
}

static enum ww_err request_other(const struct policy *opt, struct ww_policy_ask *ask,
                                 const char *const *models, size_t n,
                                 struct ww_signkey *key, struct ww_error *err)
{
    struct ww_policy_source *sources = calloc(n + 1, sizeof *sources);
    enum ww_err rc = WW_OK;
    for (size_t i = 0; sources && i < n && rc == WW_OK; i++) {
        sources[i].path = strdup(models[i]);
        sources[i].weight = 1000000;
        rc = sources[i].path ? WW_OK : WW_E_NOMEM;
    }
    if (!sources || rc) {
        err->code = rc = WW_E_NOMEM;
        snprintf(err->text, sizeof err->text, "out of memory for a request");
    } else {
        ask->sources = sources;
        ask->n_sources = n;
        rc = ww_policy_request(ask, key, opt->out, err);
    }
    for (size_t i = 0; sources && i < n; i++) {
        free(sources[i].path);
    }
    free(sources);
    return rc;
}

static int request(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_policy_ask ask = {.action = args[0],
                                .method = opt->method,
                                .recipe = opt->recipe,
                                .output_name = opt->output,
                                .output_license = opt->license,
                                .output_locked = opt->locked != 0,
                                .purpose = opt->purpose};
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    if (!opt->out) {
        return cli_usage("policy", "--out FILE is needed: where the request goes");
    }
    if ((strcmp(args[0], "merge") == 0) != (opt->recipe != NULL) ||
        (n == 1) != (opt->recipe != NULL)) {
        return cli_usage("policy",
                         "request merge --recipe RECIPE, or request ACTION MODEL...");
    }
    if (!ask.method && strcmp(args[0], "lock") == 0) {
        ask.method = "exact"; /* the level that lock has unless told */
    }
    rc = cli_signkey(opt->key, &opt->passphrase, &key, &err);
    if (rc == WW_OK) {
        rc = opt->recipe ? request_merge(opt, &ask, key, &err)
                         : request_other(opt, &ask, args + 1, n - 1, key, &err);
    }
    ww_signkey_free(key);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    cli_say(&opt->common, "the request to %s is in '%s'", args[0], opt->out);
    return 0;
}

static int approve(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    (void)n;
    if (!opt->out) {
        return cli_usage("policy", "--out FILE is needed: where the approval goes");
    }
    rc = cli_signkey(opt->key, &opt->passphrase, &key, &err);
    if (rc == WW_OK) {
        rc = ww_policy_approve(args[0], key, opt->out, &err);
    }
    ww_signkey_free(key);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    cli_say(&opt->common, "approved '%s' in '%s'", args[0], opt->out);
    return 0;
}

static int refer(const struct policy *opt, const char *const *args, size_t n)
{
    struct ww_error err = {0};
    enum ww_err rc = ww_policy_refer(args[0], args + 1, n - 1, &err);
    if (rc) {
        return cli_fail("policy", &opt->common, &err);
    }
    cli_say(&opt->common, "'%s/" WW_POLICY_REFERENCE "' is written; now sign the folder",
            args[0]);
    return 0;
}

struct word {
    const char *name;
    size_t max; /* arguments behind the word */
    size_t min;
    int needs_key;
    int (*run)(const struct policy *opt, const char *const *args, size_t n);
    const char *takes; /* options beside the common ones */
    const char *synopsis;
};

#define SIGNING "key passphrase-file passphrase-fd out"

static const struct word words[] = {
    {"explain", 1, 1, 0, explain, "", "explain POLICY"},
    {"test", 65, 2, 0, test, "", "test TABLE POLICY..."},
    {"sign", 1, 1, 1, sign, SIGNING, "sign DOCUMENT --key KEY"},
    {"check", 65, 0, 0, check, "root state at", "check FILE... --root ROOT"},
    {"request", 65, 1, 1, request, SIGNING " recipe method output license locked purpose",
     "request ACTION MODEL... --key KEY --out FILE"},
    {"refer", 65, 1, 0, refer, "", "refer MODEL POLICY..."},
    {"approve", 1, 1, 1, approve, SIGNING, "approve REQUEST --key KEY --out FILE"},
};
#define N_WORDS (sizeof words / sizeof words[0])

static int run_policy(const void *given, const char *verb, const char *const *args)
{
    const struct policy *opt = given;
    size_t n = 0;
    while (args[n + 1]) {
        n++;
    }
    for (size_t i = 0; i < N_WORDS; i++) {
        const struct word *w = &words[i];
        if (strcmp(args[0], w->name) != 0) {
            continue;
        }
        if (n < w->min || n > w->max) {
            return cli_wrong_use(verb, "give %s", w->synopsis);
        }
        if (w->needs_key && !opt->key) {
            return cli_usage(verb, "--key KEY is needed: the signing key");
        }
        const int status = cli_refuse_idle(verb, w->name, opt->table, w->takes);
        return status ? status : w->run(opt, args + 1, n);
    }
    char known[300] = "";
    for (size_t i = 0; i < N_WORDS; i++) {
        cli_list_add(known, sizeof known, words[i].name);
    }
    return cli_unknown_word(verb, args[0], known);
}

int cmd_policy(int argc, const char **argv)
{
    struct policy opt = {.passphrase.fd = -1};
    const struct poptOption table[] = {
        {"key", 'k', POPT_ARG_STRING, &opt.key, 0,
         "sign, request, approve: the signing key", "KEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase of the key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"out", 0, POPT_ARG_STRING, &opt.out, 0, "where to write", "FILE"},
        {"root", 0, POPT_ARG_ARGV, &opt.roots, 0,
         "check: the trust root that is believed, then its successors (repeatable)",
         "ROOT"},
        {"state", 0, POPT_ARG_STRING, &opt.state, 0,
         "check: refuse what is older than this file has seen", "FILE"},
        {"at", 0, POPT_ARG_STRING, &opt.at, 0, "check: at this time (now)", "TIME"},
        {"recipe", 0, POPT_ARG_STRING, &opt.recipe, 0, "request merge: the recipe",
         "RECIPE"},
        {"method", 0, POPT_ARG_STRING, &opt.method, 0,
         "request lock: the level (exact, dense, sealed)", "NAME"},
        {"output", 0, POPT_ARG_STRING, &opt.output, 0, "request: name of the output",
         "NAME"},
        {"license", 0, POPT_ARG_STRING, &opt.license, 0,
         "request: licence that the output will state", "ID"},
        {"locked", 0, POPT_ARG_NONE, &opt.locked, 0, "request: the output will be locked",
         NULL},
        {"purpose", 0, POPT_ARG_STRING, &opt.purpose, 0, "request: what it is for",
         "WORD"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    opt.table = table;
    return cli_run(
        argc, argv, table,
        "explain POLICY | test TABLE POLICY... | sign DOCUMENT | check FILE... | "
        "request ACTION MODEL... | approve REQUEST | refer MODEL POLICY...",
        1, 66, run_policy, &opt);
}
