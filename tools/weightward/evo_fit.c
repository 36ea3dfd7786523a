/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo fit, weightward evo run: rules fitted to a pool's answers, confirmed on
 * others, and written as a signed recipe. fit reads the cache alone; run asks first. */
#include "cli_evo.h"

#include <stdio.h>
#include <string.h>

#include "weightward/fusion.h"

#define STOPPED 1

struct fit {
    struct cli_common common;
    char *cache;
    char *confirm;
    char *output;
    char *rule;
    char *level;
    char *page;
    int per_byte;
    char *sign;
    struct cli_passphrase passphrase;
    int top;
    int vocabulary;
    int connections;
    long long seed;
    struct evo_limits limits;
};

static void tell(const struct ww_fusion_report *r, const char *output, bool is_signed)
{
    printf("%-12s  %8s  %7s  %7s%s\n", "rule", "bits", "tokens", "answers",
           r->confirmed ? "  gain over the best single" : "");
    for (size_t i = 0; i < r->n_rules; i++) {
        const struct ww_fusion_rule *rule = &r->rules[i];
        printf("%-12s  %8.4f  %5.1f %%  %5.1f %%", rule->name, rule->bits,
               100 * rule->next, 100 * rule->whole);
        if (r->confirmed) {
            printf("  %+.4f [%+.4f, %+.4f]", rule->gain, rule->low, rule->high);
        }
        printf("\n");
    }
    printf("best single: %s; %llu items fitted, ", r->best,
           (unsigned long long)r->fitted);
    if (r->confirmed) {
        printf("scores of %llu others\n", (unsigned long long)r->held_out);
    } else {
        printf("scores of the same (--confirm gives others)\n");
    }
    if (r->assumed) {
        printf(
            "%llu right tokens are in no list and count as one of %u: no server told how "
            "many it knows (--vocabulary)\n",
            (unsigned long long)r->assumed, r->vocabulary);
    }
    if (strcmp(r->chosen, r->asked) != 0) {
        printf("'%s' is not shown to be better: '%s' is taken\n", r->asked, r->chosen);
    }
    if (output) {
        printf("recipe '%s': %s%s\n", output, r->chosen,
               is_signed ? "" : "; it bears no signature: for reading only (use --sign)");
    }
}

static enum ww_err write_page(const char *path, const struct ww_fusion_report *report,
                              struct ww_error *err)
{
    char *page = NULL;
    enum ww_err rc = ww_report_fusion_html(report, &page, err);
    if (rc == WW_OK) {
        rc = cli_write_new(path, page, err);
    }
    ww_string_free(page);
    return rc;
}

static int answer(const struct fit *opt, const char *verb,
                  const struct ww_fusion_report *report)
{
    struct ww_error err = {0};
    char *json = NULL;
    if (opt->common.json) {
        enum ww_err rc = ww_report_fusion_json(report, verb + sizeof CLI_EVO, opt->output,
                                               &json, &err);
        int status = cli_answer_json(CLI_EVO, &opt->common, rc, json, &err);
        return status || report->complete ? status : STOPPED;
    }
    if (!report->complete) {
        printf("STOPPED: %s%s\n", report->stopped,
               report->calls ? "; run it again to go on" : "");
        return STOPPED;
    }
    tell(report, opt->output, opt->sign != NULL);
    return 0;
}

static int run_fit(const void *given, const char *verb, const char *const *args)
{
    const struct fit *opt = given;
    struct ww_fusion_report report = {0};
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    struct ww_fusion_options o = {
        .collect = {.pool = args[0],
                    .tasks = args[1],
                    .cache = opt->cache,
                    .top = (unsigned)opt->top,
                    .connections = (unsigned)opt->connections},
        .ask = strcmp(verb, "evo run") == 0,
        .confirm = opt->confirm,
        .per_byte = opt->per_byte != 0,
        .details = opt->page != NULL,
        .rule = opt->rule,
        .vocabulary = (unsigned)opt->vocabulary,
        .seed = (uint64_t)opt->seed,
        .output = opt->output,
    };
    if (!opt->cache) {
        return cli_usage(verb, "--cache DIR is needed: where answers are kept");
    }
    if (opt->top < 0 || opt->vocabulary < 0 || opt->connections < 0 || opt->seed < 0) {
        return cli_usage(verb, "--top, --vocabulary, --connections and --seed are not "
                               "negative");
    }
    if (opt->sign && !opt->output) {
        return cli_usage(verb, "--sign signs a recipe: --output RECIPE says where");
    }
    if (!evo_level(opt->level, &o.collect.level)) {
        return cli_choice(verb, "--level", "tokens, options or bytes", opt->level);
    }
    int status = evo_take_limits(&opt->limits, verb, &o.collect);
    status = status ? status : cli_run_options(&opt->common, &o.collect.run);
    status = status ? status : cli_report_free(CLI_EVO, &opt->common, opt->page);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc =
        opt->sign ? cli_signkey(opt->sign, &opt->passphrase, &key, &err) : WW_OK;
    if (rc == WW_OK) {
        o.key = key;
        rc = ww_fusion_fit(&o, &report, &err);
    }
    cli_progress_done();
    ww_signkey_free(key);
    if (rc == WW_OK && opt->page && report.complete) {
        rc = write_page(opt->page, &report, &err);
    }
    status = rc ? cli_fail(CLI_EVO, &opt->common, &err) : answer(opt, verb, &report);
    ww_fusion_report_release(&report);
    return status;
}

int evo_fit(int argc, const char **argv)
{
    struct fit opt = {.passphrase.fd = -1, .seed = 1, .limits = EVO_NO_LIMITS};
    const struct poptOption table[] = {
        {"cache", 0, POPT_ARG_STRING, &opt.cache, 0, "folder that keeps every answer",
         "DIR"},
        {"confirm", 0, POPT_ARG_STRING, &opt.confirm, 0, "held-out items", "TASKS"},
        {"output", 'o', POPT_ARG_STRING, &opt.output, 0, "write the recipe here",
         "RECIPE"},
        {"rule", 0, POPT_ARG_STRING, &opt.rule, 0,
         "the rule of the recipe (adaptive); 'signed' is tried only when named", "NAME"},
        {"level", 0, POPT_ARG_STRING, &opt.level, 0,
         "compare members by tokens (as is), options or bytes", "NAME"},
        {"per-byte", 0, POPT_ARG_NONE, &opt.per_byte, 0,
         "divide what is said of an option by its length", NULL},
        {"report", 0, POPT_ARG_STRING, &opt.page, 0, "a page about the fit", "PAGE"},
        {"sign", 0, POPT_ARG_STRING, &opt.sign, 0, "signing key", "KEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase of the key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"seed", 0, POPT_ARG_LONGLONG, &opt.seed, 0, "of searches and draws (1)", "N"},
        {"top", 0, POPT_ARG_INT, &opt.top, 0, "likeliest tokens at each position (20)",
         "K"},
        {"vocabulary", 0, POPT_ARG_INT, &opt.vocabulary, 0,
         "tokens that the members know (told by servers, else 32768)", "N"},
        {"connections", 0, POPT_ARG_INT, &opt.connections, 0, "at once (4)", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)evo_limits_table(&opt.limits), 0, "Limits:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "POOL TASKS --cache DIR", 2, 2, run_fit, &opt);
}
