/* SPDX-License-Identifier: Apache-2.0 */
/* weightward trace: whose copy did this model come from? */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>

struct trace {
    struct cli_common common;
    struct cli_lockkey key;
    char *ledger;
    char *signed_by;
    char *anchor;
    double bound;
    char *descriptor;
    char *descriptor_dir;
};

static void tell(const struct trace *opt, const struct ww_trace_report *report,
                 const char *suspect)
{
    const struct ww_trace_row *first = &report->best[0];
    if (opt->common.json) {
        return;
    }
    if (report->found) {
        printf("MATCH: '%s' comes from the copy of '%s' (%s): %" PRIu64 " of %" PRIu64
               " signs agree; the chance of that by accident, over %" PRIu64
               " copies, is at most %.2g (bound %.2g)\n",
               suspect, first->recipient, first->date, first->agree, first->votes,
               report->entries, report->p_value, report->bound);
    } else {
        printf("NO MATCH: '%s' shows none of %" PRIu64
               " copies; closest is '%s' with %" PRIu64 " of %" PRIu64
               " signs, chance %.2g (bound %.2g)\n",
               suspect, report->compared, first->recipient, first->agree, first->votes,
               report->p_value, report->bound);
    }
    for (size_t i = 1; i < report->n_best && !opt->common.quiet; i++) {
        const struct ww_trace_row *row = &report->best[i];
        printf("  %s: '%s', %" PRIu64 " of %" PRIu64 " signs, chance %.2g alone%s\n",
               row->found ? "also" : "next", row->recipient, row->agree, row->votes,
               row->p_value,
               row->found ? ", within the bound too: a merge of copies" : "");
    }
    printf(
        "note: a deliberate new lock over a copy, or unlocking it, erases the trace: no "
        "match is no proof of innocence\n");
}

static int answer(const struct trace *opt, const char *verb,
                  const struct ww_trace_report *report, const char *suspect)
{
    struct ww_error err = {0};
    int status = 0;
    cli_warn(&opt->common, report->warnings, report->n_warnings);
    tell(opt, report, suspect);
    if (opt->common.json) {
        char *json = NULL;
        enum ww_err rc = ww_report_trace_json(report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
    }
    return status || report->found ? status : ww_err_exit_status(WW_E_NO_MATCH);
}

static int run_trace(const void *given, const char *verb, const char *const *args)
{
    const struct trace *opt = given;
    struct ww_error err = {0};
    struct ww_trace_report report = {0};
    struct ww_trace_options options = {
        .ledger = opt->ledger,
        .public_key = opt->signed_by,
        .anchor = opt->anchor,
        .bound = opt->bound,
        .layout = {opt->descriptor_dir, opt->descriptor},
    };
    if (!opt->key.path || !opt->ledger) {
        return cli_usage(verb, "--ledger FILE and --key LOCKKEY are needed");
    }
    if (!(opt->bound > 0 && opt->bound < 1)) {
        return cli_usage(verb, "--bound takes a chance between 0 and 1");
    }
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = cli_lockkey(&opt->key, &options.secret, &err);
    if (rc == WW_OK) {
        rc = ww_trace_model(args[0], &options, &report, &err);
    }
    cli_progress_done();
    status =
        rc ? cli_fail(verb, &opt->common, &err) : answer(opt, verb, &report, args[0]);
    ww_trace_report_release(&report);
    ww_secret_free(options.secret);
    return status;
}

int cmd_trace(int argc, const char **argv)
{
    struct trace opt = {.key = CLI_LOCKKEY, .bound = 1e-6};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_lockkey_table(&opt.key),
         0, NULL, NULL},
        {"ledger", 0, POPT_ARG_STRING, &opt.ledger, 0, "ledger of the copies", "FILE"},
        {"signed-by", 0, POPT_ARG_STRING, &opt.signed_by, 0,
         "public key of who signs the ledger (default: the one that it states)", "PUB"},
        {"anchor", 0, POPT_ARG_STRING, &opt.anchor, 0,
         "source or base; more is compared than with the samples in the ledger", "MODEL"},
        {"bound", 0, POPT_ARG_DOUBLE, &opt.bound, 0,
         "chance of a false accusation that is accepted (default 1e-6)", "P"},
        {"descriptor", 0, POPT_ARG_STRING, &opt.descriptor, 0,
         "use this architecture descriptor", "ID"},
        {"descriptor-dir", 0, POPT_ARG_STRING, &opt.descriptor_dir, 0,
         "folder with more descriptors", "DIR"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "SUSPECT", 1, 1, run_trace, &opt);
}
