/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of a merge say of its recipe. */
#include "merge/doubts.h"

#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

/* A tensor that is merged and has a base. */
static const struct ww_merge_tensor *first_merged(const struct ww_merge_plan *plan)
{
    uint32_t t = 0;

    while (t < plan->n_tensors && plan->tensors[t].is_limit) {
        t++;
    }
    return t < plan->n_tensors && plan->tensors[t].base ? &plan->tensors[t] : NULL;
}

/* Blocks of one part, or of what an earlier run left undone, do not tell for all. */
static bool sees_all(const struct ww_work *work)
{
    return !work->options->n_parts && !work->options->run.resume &&
           first_merged(&work->plan);
}

enum ww_err ww_doubts_watch(struct ww_work *work, struct ww_moved *moved,
                            struct ww_error *err)
{
    struct ww_merge_plan *plan = &work->plan;

    if (!sees_all(work)) {
        return WW_OK;
    }
    plan->moved = moved;
    if (!first_merged(plan)->method->ops->tells) {
        return WW_OK;
    }
    moved->took = ww_calloc(plan->n_models, sizeof(*moved->took));
    return moved->took ? WW_OK : WW_FAIL_MEMORY(err, "a merge");
}

/* A method that selected nothing, or sources that are the base: the numbers tell, not the
 * recipe. Where the recipe told, it has been said. */
static enum ww_err doubt_result(struct ww_work *work, const struct ww_moved *moved,
                                struct ww_error *err)
{
    const char *what = ww_recipe_of_base(&work->file.recipes[work->file.last]);
    char text[160];

    if (!work->plan.moved || atomic_load(&moved->any)) {
        return WW_OK;
    }
    for (size_t i = 0; i < work->warnings.n; i++) {
        if (strstr(work->warnings.items[i], what)) {
            return WW_OK;
        }
    }
    snprintf(text, sizeof(text),
             "every number is that of the base, nothing was taken from the models: %s",
             what);
    return ww_strlist_add(&work->warnings, text, err);
}

/* A model that goes into the plan, all of whose changes the method left out. */
static bool is_left_out(const struct ww_merge_plan *plan, const struct ww_moved *moved,
                        uint32_t model)
{
    bool is_source = false;

    for (uint32_t t = 0; t < plan->n_tensors && !is_source; t++) {
        for (uint32_t s = 0; s < plan->tensors[t].n_sources && !is_source; s++) {
            is_source = plan->tensors[t].sources[s].model == model;
        }
    }
    return is_source && !atomic_load(&moved->took[model]);
}

/* The same of one model beside others. */
static enum ww_err doubt_sources(struct ww_work *work, const struct ww_moved *moved,
                                 struct ww_error *err)
{
    const struct ww_recipe *recipe = &work->file.recipes[work->file.last];
    char text[600];
    enum ww_err rc = WW_OK;

    if (!moved->took || !atomic_load(&moved->any)) {
        return WW_OK;
    }
    for (uint32_t m = 0; m < work->plan.n_models && !rc; m++) {
        if (is_left_out(&work->plan, moved, m)) {
            snprintf(text, sizeof(text),
                     "nothing was taken from '%.400s': %s left all of its changes out as "
                     "too small",
                     recipe->models[m].text, recipe->method->name);
            rc = ww_strlist_add(&work->warnings, text, err);
        }
    }
    return rc;
}

enum ww_err ww_doubts_tell(struct ww_work *work, const struct ww_moved *moved,
                           struct ww_error *err)
{
    enum ww_err rc = doubt_result(work, moved, err);

    return rc ? rc : doubt_sources(work, moved, err);
}

void ww_doubts_release(struct ww_moved *moved)
{
    ww_free(moved->took);
    moved->took = NULL;
}
