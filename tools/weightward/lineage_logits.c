/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage logits: answers of an interface against heads. */
#include "cli_lineage.h"

#include <inttypes.h>
#include <stdio.h>

struct logits {
    struct cli_common common;
    struct cli_family family;
};

static void tell_head(const struct ww_logits_head *h, bool control)
{
    printf("  %s '%s', width %" PRIu64 ": ", control ? "control" : "head of", h->name,
           h->width);
    if (h->note) {
        printf("not compared: %s\n", h->note);
        return;
    }
    printf("residual %.3g, unrelated %.3g, explained %.6f, p %.2g by labels", h->residual,
           h->unrelated, h->explained, h->p_labels);
    if (h->p_controls >= 0) {
        printf(", %.2g among controls", h->p_controls);
    }
    printf("\n");
}

static void tell_blend(const struct ww_logits_blend *b)
{
    if (b->share < 0) {
        printf("  share of the head of '%s': cannot be told: %s\n", b->name, b->note);
        return;
    }
    printf("  share of the head of '%s': %.4f (95 %% interval %.4f to %.4f), residual "
           "%.3g there, %.3g at the base, %.3g at the candidate\n",
           b->name, b->share, b->low, b->high, b->residual, b->at_base, b->at_source);
}

static void tell(const struct ww_logits_report *report, const char *answers)
{
    bool any = false;

    for (size_t i = 0; i < report->n_candidates; i++) {
        const struct ww_logits_head *h = &report->heads[i];
        any = any || h->supported;
        if (h->supported) {
            printf("SUPPORTS: the answers of '%s' support the head of '%s', or one that "
                   "descends from it\n",
                   answers, h->name);
        }
    }
    if (!any && report->n_candidates > 0) {
        printf("DOES NOT SUPPORT: the answers of '%s' do not support the head of any "
               "candidate\n",
               answers);
    }
    printf("%" PRIu64 " answers over %" PRIu64 " tokens, %s\n", report->n,
           report->n_tokens, report->logprobs ? "log-probabilities" : "logits");
    if (report->width > 0) {
        printf("hidden width: %" PRIu64 " (step of %.3g in the singular values)\n",
               report->width, report->gap);
    } else {
        printf("hidden width: at least %" PRIu64 "\n", report->at_least);
    }
    for (size_t i = 0; i < report->n_heads; i++) {
        tell_head(&report->heads[i], i >= report->n_candidates);
    }
    for (size_t i = 0; i < report->n_blends; i++) {
        tell_blend(&report->blends[i]);
    }
    printf(
        "note: exploratory; a head says nothing about the layers below it, and whoever "
        "knows a head's space can make up answers in it\n");
}

static int run_logits(const void *given, const char *verb, const char *const *args)
{
    const struct logits *opt = given;
    struct ww_logits_options options = {
        .base = opt->family.base,
        .candidates = (const char *const *)opt->family.candidates,
        .n_candidates = cli_count(opt->family.candidates),
        .controls = (const char *const *)opt->family.controls,
        .n_controls = cli_count(opt->family.controls),
        .seed = (uint64_t)opt->family.seed};
    struct ww_logits_report report = {0};
    struct ww_error err = {0};

    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    if ((options.base || options.n_controls > 0) && options.n_candidates == 0) {
        return cli_usage(verb, "--base and --control need a --candidate MODEL");
    }
    cli_catch_signals();
    enum ww_err rc = ww_lineage_logits(args[0], &options, &report, &err);
    cli_progress_done();
    cli_warn(&opt->common, report.warnings, report.n_warnings);
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_logits_json(&report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    } else {
        tell(&report, args[0]);
    }
    ww_logits_report_release(&report);
    return status;
}

int lineage_logits(int argc, const char **argv)
{
    struct logits opt = {0};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_family_table(&opt.family), 0, "Models:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "ANSWERS", 1, 1, run_logits, &opt);
}
