/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo collect: what a pool says about a task file, into a cache. */
#include "cli_evo.h"

#include <stdio.h>
#include <string.h>

#define STOPPED 1

struct collect {
    struct cli_common common;
    char *cache;
    char *level;
    int top;
    int connections;
    int tries;
    struct evo_limits limits;
};

static int tell(const struct ww_collect_report *r)
{
    for (size_t i = 0; i < r->n_members; i++) {
        const struct ww_evo_member *m = &r->members[i];
        if (strcmp(m->dialect, "auto") == 0) {
            printf("%-20s not asked\n", m->name);
            continue;
        }
        printf("%-20s %s, %s\n", m->name, m->dialect,
               m->scores_prompts && m->top ? "one call for an item"
                                           : "one call for a token");
    }
    printf("%llu of %llu items, %llu answers kept; %llu calls now, %llu not needed; %llu "
           "tokens, cost %g, %.1f s\n",
           (unsigned long long)r->items_complete, (unsigned long long)r->items,
           (unsigned long long)r->answers, (unsigned long long)r->calls,
           (unsigned long long)r->calls_avoided, (unsigned long long)r->tokens, r->cost,
           r->seconds);
    if (r->damaged) {
        printf("%llu damaged places in the cache; their answers were asked for again\n",
               (unsigned long long)r->damaged);
    }
    if (r->complete) {
        printf("root %s\n", r->root);
        return 0;
    }
    printf("STOPPED: %s%s\n", r->stopped, r->calls ? "; run it again to go on" : "");
    return STOPPED;
}

static int run_collect(const void *given, const char *verb, const char *const *args)
{
    const struct collect *opt = given;
    struct ww_collect_report report = {0};
    struct ww_error err = {0};
    struct ww_collect_options o = {
        .pool = args[0],
        .tasks = args[1],
        .cache = opt->cache,
        .top = (unsigned)opt->top,
        .connections = (unsigned)opt->connections,
        .tries = (unsigned)opt->tries,
    };
    if (!opt->cache) {
        return cli_usage(verb, "--cache DIR is needed: where answers are kept");
    }
    if (opt->top < 0 || opt->connections < 0 || opt->tries < 0) {
        return cli_usage(verb, "--top, --connections and --tries are not negative");
    }
    if (!evo_level(opt->level, &o.level)) {
        return cli_choice(verb, "--level", "tokens, options or bytes", opt->level);
    }
    int status = evo_take_limits(&opt->limits, verb, &o);
    status = status ? status : cli_run_options(&opt->common, &o.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_evo_collect(&o, &report, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(CLI_EVO, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_collect_json(&report, &json, &err);
        status = cli_answer_json(CLI_EVO, &opt->common, rc, json, &err);
        status = status || report.complete ? status : STOPPED;
    } else {
        status = tell(&report);
    }
    ww_collect_report_release(&report);
    return status;
}

int evo_collect(int argc, const char **argv)
{
    struct collect opt = {.limits = EVO_NO_LIMITS};
    const struct poptOption table[] = {
        {"cache", 0, POPT_ARG_STRING, &opt.cache, 0, "folder that keeps every answer",
         "DIR"},
        {"top", 0, POPT_ARG_INT, &opt.top, 0, "likeliest tokens at each position (20)",
         "K"},
        {"level", 0, POPT_ARG_STRING, &opt.level, 0,
         "compare members by tokens (as is), options or bytes", "NAME"},
        {"connections", 0, POPT_ARG_INT, &opt.connections, 0, "at once (4)", "N"},
        {"tries", 0, POPT_ARG_INT, &opt.tries, 0, "of a call (6)", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)evo_limits_table(&opt.limits), 0, "Limits:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "POOL TASKS --cache DIR", 2, 2, run_collect, &opt);
}
