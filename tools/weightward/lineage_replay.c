/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage replay: does a recipe give this model's bits again? */
#include "cli_lineage.h"

#include <stdio.h>

#define NO_MATCH 1

struct replay {
    struct cli_common common;
    char *recipe;
    struct cli_family family;
    struct cli_planned planned;
};

static void tell_control(const struct ww_replay_control *c)
{
    if (c->control) {
        printf("  with '%s' in the place of '%s': %.4f\n", c->control, c->source,
               c->match);
    } else {
        printf("  without '%s': %.4f\n", c->source, c->match);
    }
}

static void tell_match(const struct ww_replay_report *report, const char *suspect)
{
    if (!report->recipe) {
        printf("DOES NOT SUPPORT: no recipe could be inferred for '%s'\n", suspect);
        return;
    }
    printf("%s: %s gives %.4f of the moved bits of '%s' (%.4f to %.4f over tensors), "
           "computed as %s\n",
           report->supports ? "SUPPORTS" : "DOES NOT SUPPORT",
           report->nearest    ? "the nearest recipe"
           : report->inferred ? "the inferred recipe"
                              : "the recipe",
           report->match, suspect, report->low, report->high,
           report->arithmetic ? report->arithmetic : "nothing");
}

static void tell(const struct ww_replay_report *report, const char *suspect)
{
    tell_match(report, suspect);
    for (size_t i = 0; i < report->n_controls; i++) {
        tell_control(&report->controls[i]);
    }
    if (report->drawn && !report->supports) {
        printf("its elements are drawn by chance, and the suspect %s%s\n",
               report->apart ? "is no such draw: " : "may be such a draw",
               report->apart ? report->apart : "");
    }
    if (report->inferred && report->recipe) {
        printf("%s, from %llu tensors that are not counted:\n%s",
               report->nearest ? "nearest recipe, not to be taken for the suspect's"
                               : "recipe",
               (unsigned long long)report->tensors_fit, report->recipe);
    }
    printf("note: %s\n", report->confirmatory
                             ? "confirmatory, as the plan says"
                             : "exploratory, without a plan signed beforehand");
}

static int check_options(const struct replay *opt, const char *verb)
{
    if (opt->recipe && (opt->family.base || opt->family.candidates)) {
        return cli_usage(verb, "--recipe FILE has its base and sources; leave --base and "
                               "--candidate away");
    }
    if (!opt->recipe && !cli_family_is_whole(&opt->family)) {
        return cli_usage(verb, "--recipe FILE is needed, or --base MODEL and --candidate "
                               "MODEL to infer one");
    }
    return cli_planned_check(&opt->planned, verb);
}

static int run_replay(const void *given, const char *verb, const char *const *args)
{
    const struct replay *opt = given;
    struct ww_replay_report report = {0};
    struct ww_error err = {0};
    const struct ww_decompose_options family = cli_family_options(&opt->family);
    struct ww_replay_options options = {
        .recipe = opt->recipe,
        .base = family.base,
        .candidates = family.candidates,
        .n_candidates = family.n_candidates,
        .controls = family.controls,
        .n_controls = family.n_controls,
        .seed = family.seed,
        .plan = opt->planned.plan,
        .plan_key = opt->planned.key,
    };
    int status = check_options(opt, verb);
    if (!status) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_lineage_replay(args[0], &options, &report, &err);
    cli_progress_done();
    cli_warn(&opt->common, report.warnings, report.n_warnings);
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_replay_json(&report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    } else {
        tell(&report, args[0]);
    }
    if (!status && !report.supports) {
        status = NO_MATCH;
    }
    ww_replay_report_release(&report);
    return status;
}

int lineage_replay(int argc, const char **argv)
{
    struct replay opt = {0};
    const struct poptOption table[] = {
        {"recipe", 0, POPT_ARG_STRING, &opt.recipe, 0, "what is said to have been done",
         "FILE"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_family_table(&opt.family), 0, "Models:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_planned_table(&opt.planned), 0, "Plan:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "SUSPECT", 1, 1, run_replay, &opt);
}
