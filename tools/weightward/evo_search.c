/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo search: numbers of a recipe, by a program that scores candidates. */
#include <math.h>
#include <stdio.h>

#include "cli_evo.h"
#include "weightward/search.h"

#define STOPPED 1 /* before its end */

struct search_options {
    struct cli_common common;
    char *evaluator;
    char *output;
    char *journal;
    char *page;
    int evaluations;
    int parallel;
    long long seed;
};

static void show_gain(const struct ww_search_report *r)
{
    if (!r->has_gain) {
        printf("no gain over the start was found; the result is the start\n");
    }
    if (isnan(r->gain)) {
        printf("nothing was compared: the re-tests gave no scores\n%s\n%s", r->chosen,
               r->recipe);
        return;
    }
    printf("difference to the start %.4g", r->gain);
    if (r->has_interval) {
        printf(", 95 %% interval %.4g to %.4g", r->interval[0], r->interval[1]);
    }
    printf("; score %.4g, the start's %.4g\n", r->score, r->start_score);
    printf("%s\n%s", r->chosen, r->recipe);
}

static void show(const struct ww_search_report *r)
{
    printf("%u trials, %u of them made now, %u failed\n", r->trials, r->made, r->failed);
    if (r->recipe) {
        show_gain(r);
    } else {
        printf("%u candidates that none is better than, volume %.4g above the start\n",
               r->front, r->hypervolume);
    }
}

static enum ww_err write_page(const char *path, const struct ww_search_report *report,
                              struct ww_error *err)
{
    char *page = NULL;
    enum ww_err rc = ww_report_search_html(report, &page, err);
    if (rc == WW_OK) {
        rc = cli_write_new(path, page, err);
    }
    ww_string_free(page);
    return rc;
}

static int answer(const struct search_options *opt, const struct ww_search_report *report)
{
    struct ww_error err = {0};
    char *json = NULL;
    if (!opt->common.json) {
        show(report);
        return 0;
    }
    enum ww_err rc = ww_report_search_json(opt->output, report, &json, &err);
    return cli_answer_json(CLI_EVO, &opt->common, rc, json, &err);
}

static int run_search(const void *given, const char *verb, const char *const *args)
{
    const struct search_options *opt = given;
    struct ww_search_options options = {.journal = opt->journal,
                                        .evaluations = (uint32_t)opt->evaluations,
                                        .parallel = (uint32_t)opt->parallel,
                                        .seed = (uint64_t)opt->seed};
    struct ww_search_report report = {0};
    struct ww_error err = {0};
    const char *argv[64] = {opt->evaluator};
    size_t n = 1;
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    if (!opt->evaluator || !opt->output || !opt->journal) {
        return cli_usage(verb, "--evaluator, --output and --journal are needed");
    }
    if (opt->evaluations < 0 || opt->parallel < 1 || opt->seed < 0) {
        return cli_usage(verb, "--evaluations and --seed cannot be negative, --parallel "
                               "is at least 1");
    }
    status = cli_report_free(CLI_EVO, &opt->common, opt->page);
    if (status) {
        return status;
    }
    for (; args[n] && n < sizeof argv / sizeof argv[0] - 1; n++) {
        argv[n] = args[n]; /* args[0] is the space */
    }
    options.evaluator = argv;
    cli_catch_signals();
    enum ww_err rc = ww_search_run(args[0], opt->output, &options, &report, &err);
    cli_progress_done();
    if (rc == WW_OK && opt->page) {
        rc = write_page(opt->page, &report, &err);
    }
    status = rc ? cli_fail(CLI_EVO, &opt->common, &err) : answer(opt, &report);
    status = rc == WW_E_LIMIT ? STOPPED : status;
    ww_search_report_release(&report);
    return status;
}

int evo_search(int argc, const char **argv)
{
    struct search_options opt = {.parallel = 1};
    const struct poptOption table[] = {
        {"evaluator", 0, POPT_ARG_STRING, &opt.evaluator, 0,
         "program that scores candidates; its arguments follow the space", "PROGRAM"},
        {"output", 'o', POPT_ARG_STRING, &opt.output, 0, "where the result is written",
         "FILE"},
        {"journal", 0, POPT_ARG_STRING, &opt.journal, 0,
         "what was tried; continued when it is there", "FILE"},
        {"evaluations", 0, POPT_ARG_INT, &opt.evaluations, 0, "trials in all (400)", "N"},
        {"report", 0, POPT_ARG_STRING, &opt.page, 0, "a page about the search", "PAGE"},
        {"parallel", 0, POPT_ARG_INT, &opt.parallel, 0, "trials side by side (1)", "N"},
        {"seed", 0, POPT_ARG_LONGLONG, &opt.seed, 0, "of candidates and items (0)", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table,
                   "SPACE.yml --evaluator PROGRAM --output FILE --journal FILE [ARG...]",
                   1, 60, run_search, &opt);
}
