/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage verify: does a model hold what its folder declares? */
#include "cli_lineage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISAGREES 1
#define UNTOLD 6
#define MAX_NAMES 64

struct verify {
    struct cli_common common;
    char **sources;
    char *base;
    char **candidates;
    long long seed;
};

static int read_names(const struct verify *opt, const char *verb,
                      struct ww_lineage_name *names, size_t *n)
{
    *n = cli_count(opt->sources);
    if (*n > MAX_NAMES) {
        return cli_usage(verb, "at most 64 --source NAME=PATH");
    }
    for (size_t i = 0; i < *n; i++) {
        char *equals = strrchr(opt->sources[i], '=');
        if (!equals || equals == opt->sources[i] || equals[1] == '\0') {
            return cli_usage(verb,
                             "--source takes NAME=PATH, the name as it is declared");
        }
        *equals = '\0';
        names[i] = (struct ww_lineage_name){opt->sources[i], equals + 1};
    }
    return 0;
}

/* What relatives of a source that is not here would look like is not supported yet. */
static const char *observed(const struct ww_verify_lineage_report *report)
{
    return report->decompose.incomplete && report->agreement == WW_LINEAGE_UNTOLD
               ? "looks like a source"
               : "supported by the weights";
}

static int tell(const struct ww_verify_lineage_report *report)
{
    static const char *const words[] = {"COULD NOT TELL", "AGREES", "DISAGREES"};
    static const int statuses[] = {UNTOLD, 0, DISAGREES};

    printf("%s: %s\n", words[report->agreement], report->why);
    for (size_t i = 0; i < report->n_declared; i++) {
        const struct ww_declared_source *d = &report->declared[i];
        printf("  '%s' is declared in %s: %s\n", d->name, report->declared_by,
               !d->found      ? "its folder is not known"
               : !d->compared ? "the weights say nothing of it"
               : d->observed  ? observed(report)
                              : "not supported by the weights");
    }
    if (report->replay.drawn && report->has_decompose) {
        printf("  its elements are drawn by chance: no bits were compared, its sources "
               "were looked for in the weights, and these held against a draw\n");
    }
    for (size_t i = 0; i < report->n_undeclared; i++) {
        printf("  '%s' is not declared, and %s\n", report->undeclared[i],
               observed(report));
    }
    return statuses[report->agreement];
}

static int run_verify(const void *given, const char *verb, const char *const *args)
{
    const struct verify *opt = given;
    struct ww_lineage_name names[MAX_NAMES];
    struct ww_verify_lineage_report report = {0};
    struct ww_error err = {0};
    struct ww_verify_lineage_options options = {
        .names = names,
        .base = opt->base,
        .candidates = (const char *const *)opt->candidates,
        .n_candidates = cli_count(opt->candidates),
        .seed = (uint64_t)opt->seed,
    };
    int status = read_names(opt, verb, names, &options.n_names);
    if (!status) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_lineage_verify(args[0], &options, &report, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_verify_lineage_json(&report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
        if (!status && report.agreement != WW_LINEAGE_AGREES) {
            status = report.agreement == WW_LINEAGE_UNTOLD ? UNTOLD : DISAGREES;
        }
    } else {
        status = tell(&report);
    }
    ww_verify_lineage_report_release(&report);
    return status;
}

int lineage_verify(int argc, const char **argv)
{
    struct verify opt = {0};
    const struct poptOption table[] = {
        {"source", 0, POPT_ARG_ARGV, &opt.sources, 0,
         "where a declared model lies (repeatable)", "NAME=PATH"},
        {"base", 0, POPT_ARG_STRING, &opt.base, 0,
         "of the models of a card: what all descend from", "MODEL"},
        {"candidate", 0, POPT_ARG_ARGV, &opt.candidates, 0,
         "a model that should not be in it (repeatable)", "MODEL"},
        {"seed", 0, POPT_ARG_LONGLONG, &opt.seed, 0,
         "of draws and random masks (default 0)", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "SUSPECT", 1, 1, run_verify, &opt);
}
