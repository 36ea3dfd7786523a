/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo probe: what the servers of a pool do. */
#include "cli_evo.h"

#include <stdio.h>

#define NO 1

struct probe {
    struct cli_common common;
    int top;
    char *out;
};

static void tell(const struct ww_probe_report *r)
{
    for (size_t i = 0; i < r->n_members; i++) {
        const struct ww_evo_member *m = &r->members[i];
        if (m->failure) {
            printf("%-20s CANNOT BE ASKED: %s\n", m->name, m->failure);
            continue;
        }
        printf("%-20s %s: %s, lists of %u tokens, %s, canary %.16s\n", m->name,
               m->dialect,
               m->scores_prompts ? "scores prompts"
               : m->continues    ? "says only what comes next"
                                 : "says only how an answer begins",
               m->top,
               m->deterministic ? "repeats itself bit for bit" : "does not repeat itself",
               m->canary);
        if (m->adapters) {
            printf("%-20s   scales %u adapters in each request\n", "", m->adapters);
        }
        printf("%-20s   in permits: model:sha256:%s\n", "", m->identity);
    }
    if (!r->compared) {
        printf("tokenizers: not compared, as fewer than two members say how they cut the "
               "probe strings\n");
    } else if (r->one_tokenizer) {
        printf("tokenizers: one, by equal cuts of the probe strings\n");
    } else {
        printf("tokenizers: SEVERAL: %s\n", r->differs);
    }
}

static int run_probe(const void *given, const char *verb, const char *const *args)
{
    const struct probe *opt = given;
    struct ww_probe_report report = {0};
    struct ww_error err = {0};
    int status = 0;
    if (opt->top < 0) {
        return cli_usage(verb, "--top is not negative");
    }
    enum ww_err rc = ww_evo_probe(args[0], (unsigned)opt->top, &report, &err);
    if (rc) {
        return cli_fail(CLI_EVO, &opt->common, &err);
    }
    rc = opt->out ? ww_evo_probe_save(&report, opt->out, &err) : WW_OK;
    if (rc) {
        ww_probe_report_release(&report);
        return cli_fail(CLI_EVO, &opt->common, &err);
    }
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_probe_json(&report, &json, &err);
        status = cli_answer_json(CLI_EVO, &opt->common, rc, json, &err);
    } else {
        tell(&report);
    }
    if (!status && (report.n_failed || (report.compared && !report.one_tokenizer))) {
        status = NO;
    }
    ww_probe_report_release(&report);
    return status;
}

int evo_probe(int argc, const char **argv)
{
    struct probe opt = {0};
    const struct poptOption table[] = {
        {"top", 0, POPT_ARG_INT, &opt.top, 0, "tokens to ask for in lists (20)", "K"},
        {"out", 0, POPT_ARG_STRING, &opt.out, 0, "also write the answer, as JSON, here",
         "FILE"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "POOL", 1, 1, run_probe, &opt);
}
