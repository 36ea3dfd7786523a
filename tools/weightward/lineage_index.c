/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage index: prints of models into a catalogue. */
#include "cli_lineage.h"

#include <inttypes.h>
#include <stdio.h>

struct index {
    struct cli_common common;
    int sample;
    int fine;
    int root;
};

static void tell(const struct ww_index_report *report, const char *catalogue)
{
    for (size_t i = 0; i < report->n_entries; i++) {
        const struct ww_index_entry *e = &report->entries[i];
        if (e->known_as) {
            printf("known: '%s', as '%s'\n", e->name, e->known_as);
        } else {
            printf("added: '%s'\n", e->name);
        }
        if (e->note) {
            printf("  %s\n", e->note);
        }
    }
    printf("%" PRIu64 " model%s in '%s'\n", report->n_models, cli_s(report->n_models),
           catalogue);
}

static int run_index(const void *given, const char *verb, const char *const *args)
{
    const struct index *opt = given;
    struct ww_index_options options = {
        .sample = opt->sample != 0, .fine = opt->fine != 0, .root = opt->root != 0};
    struct ww_index_report report = {0};
    struct ww_error err = {0};
    size_t n = 0;
    (void)verb;

    while (args[1 + n]) {
        n++;
    }
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_catalogue_index(args[0], args + 1, n, &options, &report, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_index_json(args[0], &report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    } else {
        tell(&report, args[0]);
    }
    ww_index_report_release(&report);
    return status;
}

int lineage_index(int argc, const char **argv)
{
    struct index opt = {0};
    const struct poptOption table[] = {
        {"sample", 0, POPT_ARG_NONE, &opt.sample, 0, "read one row block in 64", NULL},
        {"fine", 0, POPT_ARG_NONE, &opt.fine, 0, "keep a sketch of 131072 buckets too",
         NULL},
        {"root", 0, POPT_ARG_NONE, &opt.root, 0,
         "these models are roots that others descend from", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "CATALOGUE MODEL...", 2, 100000, run_index, &opt);
}
