/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage find: sources of a model among those of a catalogue. */
#include "cli_lineage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOSTLY_UNKNOWN 0.5 /* of the difference from the root */

struct find {
    struct cli_common common;
    char *root;
    int no_confirm;
};

static void tell_match(const struct ww_find_match *m)
{
    printf("  '%s': %s", m->name, m->kind);
    if (m->share >= 0) {
        printf(", share %.4f", m->share);
    }
    if (m->low >= 0) {
        printf(", 95 %% interval %.4f to %.4f", m->low, m->high);
    }
    printf(" (%s%s)\n", m->evidence,
           !m->confirmed                     ? ""
           : strcmp(m->kind, "similar") == 0 ? "; included on the files, which do not "
                                               "settle that it is a source"
                                             : "; confirmed on the files");
}

static void tell(const struct ww_find_report *report, const char *suspect)
{
    size_t n = 0;
    char found[48];

    for (size_t i = 0; i < report->n_matches; i++) {
        n += strcmp(report->matches[i].kind, "similar") != 0;
    }
    if (report->incomplete && n) {
        printf(
            "SUPPORTS IN PART: the weights of '%s' support that %s catalogued model%s "
            "went into it, and something else: training, or a model that is not in the "
            "catalogue, whose relatives look like sources\n",
            suspect, cli_found_of(n, report->n_models, found), cli_s(report->n_models));
    } else if (report->incomplete && report->unexplained <= MOSTLY_UNKNOWN) {
        printf("SUPPORTS IN PART: '%s' is mostly like catalogued models, and something "
               "else went in: training, or a model that is not in the catalogue, whose "
               "relatives look like sources\n",
               suspect);
    } else {
        printf("%s: the weights of '%s' %s that %s catalogued model%s went into it\n",
               n ? "SUPPORTS" : "DOES NOT SUPPORT", suspect,
               n ? "support" : "do not support", cli_found_of(n, report->n_models, found),
               cli_s(report->n_models));
    }
    if (report->disguise) {
        printf("suspect: %s%s\n", report->disguise,
               report->tensors > 0
                   ? ""
                   : "; its bytes are its own, so no hashes were compared");
    }
    if (report->root) {
        printf("root: '%s' (%s)\n", report->root, report->root_evidence);
    } else {
        printf("root: none in the catalogue is related\n");
    }
    for (size_t i = 0; i < report->n_matches; i++) {
        tell_match(&report->matches[i]);
    }
    for (size_t i = 0; i < report->n_layers; i++) {
        const struct ww_find_layer *l = &report->layers[i];
        printf("  layer %" PRIu32 " is layer %" PRIu32 " of '%s' (%" PRIu32 " of %" PRIu32
               " tensors)\n",
               l->layer, l->of, l->name, l->tensors, l->tensors_all);
    }
    for (size_t i = 0; i < report->n_row_parts; i++) {
        const struct ww_find_rows *r = &report->row_parts[i];
        printf("  %" PRIu64 " of %" PRIu64 " rows of '%s' are rows of '%s' in '%s'\n",
               r->shared, r->rows, r->tensor, r->of, r->name);
    }
    if (report->root && report->tensors > 0) {
        printf("unchanged from the root: %" PRIu32 " of %" PRIu32 " tensors, %" PRIu64
               " of %" PRIu64 " rows in the others\n",
               report->frozen, report->tensors, report->rows_shared, report->rows);
    }
    if (report->unexplained >= 0) {
        printf("unexplained: %.4f of the difference from the root, by the %s\n",
               report->unexplained, report->by_files ? "files" : "sketches");
    }
    printf("note: exploratory; models that are not in the catalogue cannot be found\n");
}

static int run_find(const void *given, const char *verb, const char *const *args)
{
    const struct find *opt = given;
    struct ww_find_options options = {.root = opt->root,
                                      .no_confirm = opt->no_confirm != 0};
    struct ww_find_report report = {0};
    struct ww_error err = {0};
    (void)verb;

    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_catalogue_find(args[0], args[1], &options, &report, &err);
    cli_progress_done();
    cli_warn(&opt->common, report.warnings, report.n_warnings);
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_find_json(&report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    } else {
        tell(&report, args[1]);
    }
    ww_find_report_release(&report);
    return status;
}

int lineage_find(int argc, const char **argv)
{
    struct find opt = {0};
    const struct poptOption table[] = {
        {"root", 0, POPT_ARG_STRING, &opt.root, 0,
         "the catalogued model that all descend from", "NAME"},
        {"no-confirm", 0, POPT_ARG_NONE, &opt.no_confirm, 0,
         "do not compare with the files of what was found", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "CATALOGUE SUSPECT", 2, 2, run_find, &opt);
}
