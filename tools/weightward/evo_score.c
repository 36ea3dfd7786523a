/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo score: a pool as the candidate of a search, in the form of evaluators.
 */
#include "cli_evo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define STOPPED 75 /* EX_TEMPFAIL: the search ends and no trial failed */

struct score {
    struct cli_common common;
    char *tasks;
    char *cache;
    int sample;
    int top;
    int connections;
    struct evo_limits limits;
};

static int run_score(const void *given, const char *verb, const char *const *args)
{
    const struct score *opt = given;
    struct ww_pool_scores scores = {0};
    struct ww_error err = {0};
    char *end = NULL;
    struct ww_collect_options o = {
        .pool = args[0],
        .tasks = opt->tasks,
        .cache = opt->cache,
        .top = (unsigned)opt->top,
        .connections = (unsigned)opt->connections,
        .part = args[1],
        .sample = (size_t)opt->sample,
    };
    errno = 0;
    o.draw = strtoull(args[2], &end, 10);
    if (!opt->tasks || !opt->cache) {
        return cli_usage(verb, "--tasks TASKS and --cache DIR are needed");
    }
    if (errno || *end || args[2][0] < '0' || args[2][0] > '9' || opt->sample < 0 ||
        opt->top < 0 || opt->connections < 0) {
        return cli_usage(verb,
                         "SEED, --sample, --top and --connections are numbers from 0");
    }
    int status = evo_take_limits(&opt->limits, verb, &o);
    status = status ? status : cli_run_options(&opt->common, &o.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_pool_score(&o, &scores, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(CLI_EVO, &opt->common, &err);
        return rc == WW_E_LIMIT ? STOPPED : status;
    }
    printf("{\"scores\": [");
    for (size_t i = 0; i < scores.n; i++) {
        printf("%s%.17g", i ? ", " : "", scores.scores[i]);
    }
    printf("]}\n");
    cli_say(
        &opt->common,
        "%zu of %zu answers right, %llu calls; with this cache %llu calls, %llu tokens, "
        "cost %g",
        scores.right, scores.n, (unsigned long long)scores.calls,
        (unsigned long long)scores.all_calls, (unsigned long long)scores.all_tokens,
        scores.all_cost);
    ww_pool_scores_release(&scores);
    return 0;
}

int evo_score(int argc, const char **argv)
{
    struct score opt = {.limits = EVO_NO_LIMITS};
    const struct poptOption table[] = {
        {"tasks", 0, POPT_ARG_STRING, &opt.tasks, 0, "items", "TASKS"},
        {"cache", 0, POPT_ARG_STRING, &opt.cache, 0, "folder that keeps every answer",
         "DIR"},
        {"sample", 0, POPT_ARG_INT, &opt.sample, 0, "items of the part (all)", "N"},
        {"top", 0, POPT_ARG_INT, &opt.top, 0, "likeliest tokens at each position (20)",
         "K"},
        {"connections", 0, POPT_ARG_INT, &opt.connections, 0, "at once (4)", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)evo_limits_table(&opt.limits), 0, "Limits:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "--tasks TASKS --cache DIR POOL PART SEED", 3, 3,
                   run_score, &opt);
}
