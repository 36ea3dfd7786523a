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

/* What was found, and the answer that borrows it. */
struct found {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_block_moves *moves;
    struct ww_check_report check;
    struct ww_error why; /* a lock would refuse the model */
    struct ww_inspection answer;
};

static void release(struct found *f)
{
    ww_block_moves_free(f->moves, f->answer.n_moves);
    ww_layout_free(f->layout);
    ww_model_close(f->model);
}

/* Fill what can be found out; a model that cannot be resolved is an answer, not an error,
 * unless the check was asked for, or the descriptor was named. */
static enum ww_err look(const struct inspect *opt, const char *path,
                        const struct ww_run_options *run, struct found *f,
                        struct ww_error *err)
{
    const struct ww_layout_options options = {opt->descriptor_dir, opt->descriptor};
    struct ww_inspection *in = &f->answer;
    enum ww_err rc = ww_model_open(path, &f->model, err);
    if (rc) {
        return rc;
    }
    in->model = f->model;
    enum ww_err refused = ww_model_check_lockable(f->model, &f->why);
    struct ww_error unresolved = {0};
    rc = ww_layout_resolve(f->model, &options, &f->layout, &unresolved);
    if (rc && !refused) {
        f->why = unresolved;
        refused = rc;
    }
    in->layout = f->layout;
    in->why = refused ? &f->why : NULL;
    if (rc && (opt->check || opt->descriptor)) {
        *err = unresolved;
        return rc;
    }
    if (f->layout) {
        rc = ww_lock_moves(f->layout, false, &f->moves, &in->n_moves, err);
        if (rc) {
            return rc;
        }
        in->moves = f->moves;
    }
    if (opt->check) {
        rc = ww_check_layout(f->layout, run, &f->check, err);
        if (rc) {
            return rc;
        }
        in->check = &f->check;
    }
    if (opt->count) {
        rc = ww_inspect_nonfinite(f->model, &in->nonfinite, err);
        in->nonfinite_counted = rc == WW_OK;
    }
    return opt->count ? rc : WW_OK;
}

static int run_inspect(const void *options, const char *verb, const char *const *args)
{
    const struct inspect *opt = options;
    struct found found = {0};
    struct ww_error err = {0};
    char *text = NULL;
    struct ww_run_options run = {0};
    int status = cli_run_options(&opt->common, &run);
    if (status) {
        return status;
    }
    enum ww_err rc = look(opt, args[0], &run, &found, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    } else {
        rc = opt->common.json ? ww_report_inspect_json(&found.answer, &text, &err)
                              : ww_report_inspect_text(&found.answer, &text, &err);
        status = cli_answer_json(verb, &opt->common, rc, text, &err);
    }
    release(&found);
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
