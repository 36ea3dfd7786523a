/* SPDX-License-Identifier: Apache-2.0 */
/* weightward inspect: what a folder holds, how it was resolved, what a lock would move.
 */
#include "cli.h"

#include <stdio.h>

struct inspect {
    struct cli_common common;
    int check;
    int count;
    char *descriptor;
    char *descriptor_dir;
};

/* Fill what can be found out; a model that cannot be resolved is an answer, not an error,
 * unless the check was asked for. */
static enum ww_err look(const struct inspect *opt, const char *path,
                        const struct ww_run_options *run, struct ww_inspection *in,
                        struct ww_model **model, struct ww_layout **layout,
                        struct ww_block_moves **moves, struct ww_check_report *check,
                        struct ww_error *why, struct ww_error *err)
{
    const struct ww_layout_options options = {opt->descriptor_dir, opt->descriptor};
    enum ww_err rc = ww_model_open(path, model, err);
    if (rc) {
        return rc;
    }
    in->model = *model;
    enum ww_err refused = ww_model_check_lockable(*model, why);
    struct ww_error unresolved = {0};
    rc = ww_layout_resolve(*model, &options, layout, &unresolved);
    if (rc && !refused) {
        *why = unresolved;
        refused = rc;
    }
    in->layout = *layout;
    in->why = refused ? why : NULL;
    if (rc && opt->check) {
        *err = unresolved;
        return rc;
    }
    if (*layout) {
        rc = ww_lock_moves(*layout, false, moves, &in->n_moves, err);
        if (rc) {
            return rc;
        }
        in->moves = *moves;
    }
    if (opt->check) {
        rc = ww_check_layout(*layout, run, check, err);
        if (rc) {
            return rc;
        }
        in->check = check;
    }
    if (opt->count) {
        rc = ww_inspect_nonfinite(*model, &in->nonfinite, err);
        in->nonfinite_counted = rc == WW_OK;
    }
    return opt->count ? rc : WW_OK;
}

static int run_inspect(const void *options, const char *verb, const char *const *args)
{
    const struct inspect *opt = options;
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    struct ww_block_moves *moves = NULL;
    struct ww_check_report check = {0};
    struct ww_inspection in = {0};
    struct ww_error why = {0};
    struct ww_error err = {0};
    struct ww_run_options run = {0};
    int status = cli_run_options(&opt->common, &run);
    if (status) {
        return status;
    }
    enum ww_err rc =
        look(opt, args[0], &run, &in, &model, &layout, &moves, &check, &why, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
        goto out;
    }
    char *text = NULL;
    rc = opt->common.json ? ww_report_inspect_json(&in, &text, &err)
                          : ww_report_inspect_text(&in, &text, &err);
    status = cli_answer_json(verb, &opt->common, rc, text, &err);
out:
    ww_block_moves_free(moves, in.n_moves);
    ww_layout_free(layout);
    ww_model_close(model);
    return status;
}

int cmd_inspect(int argc, const char **argv)
{
    struct inspect opt = {0};
    const struct poptOption table[] = {
        {"check", 0, POPT_ARG_NONE, &opt.check, 0,
         "run every block before and after a legal and an illegal transform", NULL},
        {"count-nan", 0, POPT_ARG_NONE, &opt.count, 0,
         "count NaN and infinite elements (reads all weights)", NULL},
        {"descriptor", 0, POPT_ARG_STRING, &opt.descriptor, 0,
         "use this architecture descriptor", "ID"},
        {"descriptor-dir", 0, POPT_ARG_STRING, &opt.descriptor_dir, 0,
         "folder with more descriptors", "DIR"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "MODEL", 1, 1, run_inspect, &opt);
}
