/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe whose plans are looked at: the sources can be exchanged, nothing is made. */
#include <string.h>

#include "merge/peer.h"
#include "merge/predict.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_recipe_view_open(struct ww_recipe_view *view, const char *text,
                                const char *name, const char *dir, uint64_t seed,
                                const struct ww_run_options *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(view, 0, sizeof(*view));
    view->options.run = *run;
    view->options.seed = seed;
    view->options.allow_mixed = true;
    const struct ww_recipe_text recipe = {
        .bytes = text, .len = strlen(text), .name = name, .dir = dir};
    rc = ww_work_open(&view->work, &recipe, &view->options, &view->report, err);
    view->work.looked_at = true;
    view->work.decodes = true;
    if (!rc && view->work.file.n_recipes > 1) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "recipe '%s' holds %u recipes that take each other's results; merge "
                     "those before the last and name their folders",
                     name, view->work.file.n_recipes);
    }
    return rc;
}

void ww_recipe_view_release(struct ww_recipe_view *view)
{
    ww_work_close(&view->work);
    ww_merge_report_release(&view->report);
    memset(view, 0, sizeof(*view));
}

void ww_recipe_view_lend(struct ww_recipe_view *view, const struct ww_open_models *open)
{
    view->work.open = *open;
}

enum ww_err ww_recipe_view_place(struct ww_recipe_view *view, const char *name,
                                 const char *path, struct ww_error *err)
{
    struct ww_recipe *recipe = &view->work.file.recipes[view->work.file.last];

    for (uint32_t m = 0; m < recipe->n_models; m++) {
        if (strcmp(recipe->models[m].text, name) == 0) {
            char *own = ww_strdup(path);
            if (!own) {
                return WW_FAIL_MEMORY(err, "a recipe");
            }
            ww_free(recipe->models[m].path);
            recipe->models[m].path = own;
        }
    }
    return WW_OK;
}

const struct ww_recipe *ww_recipe_view_recipe(const struct ww_recipe_view *view)
{
    return &view->work.file.recipes[view->work.file.last];
}

enum ww_err ww_recipe_view_plan(struct ww_recipe_view *view, uint32_t instead,
                                const char *path, struct ww_merge_plan *out,
                                struct ww_error *err)
{
    struct ww_work *work = &view->work;
    struct ww_recipe *recipe = &work->file.recipes[work->file.last];
    char *kept = NULL;
    char *adapter = NULL;
    enum ww_err rc = WW_OK;

    if (instead == WW_NONE) {
        return ww_work_plan(work, work->file.last, out, err);
    }
    /* The control is a model as it lies there: no adapter is added to it. */
    kept = recipe->models[instead].path;
    adapter = recipe->models[instead].adapter;
    recipe->models[instead].path = (char *)(uintptr_t)path;
    recipe->models[instead].adapter = NULL;
    rc = ww_work_plan(work, work->file.last, out, err);
    recipe->models[instead].path = kept;
    recipe->models[instead].adapter = adapter;
    return rc;
}

enum ww_err ww_recipe_view_peer(struct ww_recipe_view *view, bool *known,
                                struct ww_merge_plan *out, struct ww_error *err)
{
    struct ww_work *work = &view->work;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    *known = ww_peer_knows(work->file.recipes[work->file.last].method);
    if (*known) {
        view->options.peer_arithmetic = true;
        rc = ww_work_plan(work, work->file.last, out, err);
        view->options.peer_arithmetic = false;
    }
    return rc;
}
