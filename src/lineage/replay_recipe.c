/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of a recipe: does it give the suspect's bits? S = round(f(B, M)) holds one way
 * only, and other recipes fail at it.
 */
#include <string.h>

#include "lineage/prereg.h"
#include "lineage/replay_work.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_RECIPE ((size_t)1 << 20)

static enum ww_err take_recipe(struct ww_replaying *r, const char *text, const char *name,
                               const char *dir, struct ww_error *err)
{
    enum ww_err rc = ww_recipe_view_open(&r->view, text, name, dir, r->options->seed,
                                         &r->options->run, err);

    for (size_t i = 0; i < r->options->n_names && !rc; i++) {
        rc = ww_recipe_view_place(&r->view, r->options->names[i].name,
                                  r->options->names[i].path, err);
    }
    if (!rc) {
        r->report->recipe = ww_strdup(text);
        r->report->method = ww_strdup(r->view.report.method);
        rc = r->report->recipe && r->report->method ? WW_OK
                                                    : WW_FAIL_MEMORY(err, "a replay");
    }
    return rc;
}

/* Why there is no recipe. */
static const char *why_none(const struct ww_decompose_report *found)
{
    bool any = false;

    for (size_t i = 0; i < found->n_sources; i++) {
        any = any || found->sources[i].included;
    }
    return !any ? "no recipe can be inferred: no candidate is included"
           : found->disguise
               ? "no recipe can be inferred: the suspect is not stored as a "
                 "merge stores it, so that no bits can be compared"
               : "no recipe can be inferred: none that was tried gives any "
                 "of the bits";
}

/* From half of the tensors; the other half is what is replayed. */
static enum ww_err infer_recipe(struct ww_replaying *r, const char *suspect,
                                struct ww_error *err)
{
    const struct ww_replay_options *o = r->options;
    const struct ww_decompose_options options = {.base = o->base,
                                                 .candidates = o->candidates,
                                                 .n_candidates = o->n_candidates,
                                                 .seed = o->seed,
                                                 .halves = true,
                                                 .run = o->run};
    struct ww_decompose_report found = {0};
    enum ww_err rc = ww_lineage_decompose(suspect, &options, &found, err);

    r->report->inferred = true;
    r->report->run.bytes_read += found.run.bytes_read;
    for (size_t i = 0; i < found.n_warnings && !rc; i++) {
        rc = ww_strlist_add(&r->warnings, found.warnings[i], err);
    }
    if (!rc && !found.recipe) {
        rc = ww_strlist_add(&r->warnings, why_none(&found), err);
    } else if (!rc) {
        r->report->nearest = found.nearest;
        rc = take_recipe(r, found.recipe, "inferred", ".", err);
    }
    ww_decompose_report_release(&found);
    return rc;
}

static enum ww_err load_recipe(struct ww_replaying *r, struct ww_error *err)
{
    const char *path = r->options->recipe;
    char *dir = ww_path_folder(path);
    struct ww_buf text;
    enum ww_err rc = dir ? WW_OK : WW_FAIL_MEMORY(err, "a replay");

    ww_buf_init(&text, MAX_RECIPE);
    if (!rc) {
        rc = ww_file_read(path, &text, err);
    }
    if (!rc) {
        rc = take_recipe(r, ww_buf_cstr(&text), path, dir, err);
    }
    ww_buf_release(&text);
    ww_free(dir);
    return rc;
}

static enum ww_err compare(struct ww_replaying *r, struct ww_error *err)
{
    size_t at = 0;
    enum ww_err rc = ww_recipe_view_plan(&r->view, WW_NONE, NULL, &r->plan, err);

    if (!rc) {
        rc = ww_replay_undo_lock(r, err);
    }
    if (!rc) {
        rc = ww_replay_align(r, err);
    }
    if (!rc) {
        rc = ww_replay_list_controls(r, err);
    }
    if (!rc) {
        rc = ww_replay_open_drawn(r, err);
    }
    if (!rc) {
        rc = ww_replay_predict(r, err);
    }
    do {
        rc = rc ? rc : ww_replay_run_batch(r, &at, err);
    } while (!rc && at < r->report->n_controls);
    if (!rc) {
        rc = ww_disguise_unchanged(&r->disguise, err);
    }
    for (uint32_t m = 0; m < r->plan.n_models && !rc; m++) {
        rc = ww_model_unchanged(r->plan.models[m], err);
    }
    return rc ? rc : ww_replay_judge(r, err);
}

static void release(struct ww_replaying *r)
{
    ww_replay_close_drawn(r);
    ww_matches_release(&r->matches);
    ww_disguise_release(&r->disguise);
    ww_predictor_free(r->predictors[0]);
    ww_replay_drop_controls(r);
    ww_predictor_free(r->kept);
    ww_predictor_free(r->dropped);
    ww_predictor_free(r->peer);
    ww_merge_plan_release(&r->peer_plan);
    ww_merge_plan_release(&r->plan);
    ww_recipe_view_release(&r->view);
    ww_free(r->half);
    ww_free(r->tensor);
    ww_free(r->dtypes);
    ww_free(r->models);
    ww_free(r->others);
    r->report->warnings = r->warnings.items;
    r->report->n_warnings = r->warnings.n;
    ww_free(r);
}

static enum ww_err check_plan(struct ww_replaying *r, struct ww_error *err)
{
    const struct ww_replay_options *o = r->options;
    const struct ww_prereg_run run = {o->base,     o->candidates, o->n_candidates,
                                      o->controls, o->n_controls, o->seed,
                                      &o->run};

    if (!o->plan) {
        return WW_OK;
    }
    if (o->recipe) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "plan '%s' is of candidates, a recipe has its own models; give one "
            "of the two",
            o->plan);
    }
    r->report->confirmatory = true;
    return ww_prereg_check(o->plan, o->plan_key, &run, err);
}

enum ww_err ww_lineage_replay(const char *suspect,
                              const struct ww_replay_options *options,
                              struct ww_replay_report *report, struct ww_error *err)
{
    struct ww_replaying *r = ww_calloc(1, sizeof(*r));
    const double start = ww_now();
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    if (!r) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    r->options = options;
    r->report = report;
    rc = check_plan(r, err);
    if (!rc) {
        rc = ww_model_open(suspect, &r->suspect, err);
        r->disguise.model = r->suspect;
    }
    if (!rc) {
        rc = options->recipe ? load_recipe(r, err) : infer_recipe(r, suspect, err);
    }
    if (!rc && report->recipe) {
        rc = compare(r, err);
    }
    report->run.seconds = ww_now() - start;
    release(r);
    return rc;
}

void ww_replay_report_release(struct ww_replay_report *report)
{
    struct ww_strlist warnings = {report->warnings, report->n_warnings,
                                  report->n_warnings};

    for (size_t i = 0; i < report->n_controls; i++) {
        ww_free(report->controls[i].source);
        ww_free(report->controls[i].path);
        ww_free(report->controls[i].control);
    }
    ww_free(report->controls);
    ww_free(report->kinds);
    ww_free(report->recipe);
    ww_free(report->method);
    ww_free(report->base);
    ww_free(report->apart);
    ww_strlist_release(&warnings);
    memset(report, 0, sizeof(*report));
}
