/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors of a suspect have bits that a recipe can give. */
#include "lineage/grid.h"
#include "lineage/halves.h"
#include "lineage/replay_work.h"
#include "util/alloc.h"
#include "util/fail.h"

/* A model that the suspect descends from by the recipe: the base, if there is one. */
static const struct ww_model *relative_of(const struct ww_merge_plan *plan)
{
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *of = &plan->tensors[t];
        if (of->base && of->base->model != WW_NONE) {
            return plan->models[of->base->model];
        }
    }
    return plan->n_models ? plan->models[0] : NULL;
}

/* Weights in other places have no bits to compare: a lock is undone first. */
enum ww_err ww_replay_undo_lock(struct ww_replaying *r, struct ww_error *err)
{
    const struct ww_model *relative = relative_of(&r->plan);
    struct ww_error why = {0};
    char *text = NULL;
    enum ww_err rc =
        relative ? ww_disguise_moved(relative, &r->options->run, &r->disguise, &why)
                 : WW_OK;

    /* NaN hides a lock, and has bits like any other number. */
    if (rc && rc != WW_E_NONFINITE) {
        return WW_FAIL(err, rc, "%s", why.text);
    }
    r->suspect = r->disguise.model;
    if (!r->disguise.undone) {
        return WW_OK;
    }
    text = ww_asprintf("the suspect is %s", r->disguise.undone);
    rc = text ? ww_strlist_add(&r->warnings, text, err) : WW_FAIL_MEMORY(err, "a replay");
    ww_free(text);
    return rc;
}

/* No bit survives a dense matrix. */
static enum ww_err leave_out_dense(struct ww_replaying *r, uint32_t *n_found,
                                   struct ww_error *err)
{
    uint32_t n = 0;
    char *text = NULL;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < r->plan.n_tensors && r->disguise.dense; t++) {
        if (r->tensor[t] != WW_NONE &&
            r->disguise.dense(r->disguise.payload, r->tensor[t])) {
            r->tensor[t] = WW_NONE;
            n++;
        }
    }
    *n_found -= n;
    if (n > 0) {
        text = ww_asprintf("%u tensors were mixed by dense matrices, which leave no bit "
                           "as it was, and are not replayed",
                           n);
        rc = text ? ww_strlist_add(&r->warnings, text, err)
                  : WW_FAIL_MEMORY(err, "a replay");
    }
    ww_free(text);
    return rc;
}

enum ww_err ww_replay_align(struct ww_replaying *r, struct ww_error *err)
{
    const uint32_t n = r->plan.n_tensors;
    enum ww_dtype *grids = NULL;
    uint32_t n_found = 0;
    enum ww_err rc = WW_OK;

    r->tensor = ww_calloc(n + (size_t)1, sizeof(*r->tensor));
    r->dtypes = ww_calloc(n + (size_t)1, sizeof(*r->dtypes));
    if (!r->tensor || !r->dtypes) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    rc = ww_grids_of(r->suspect, &grids, err);
    if (rc) {
        return rc;
    }
    ww_match_align(r->suspect, grids, &r->plan, r->tensor, r->dtypes, &n_found);
    ww_free(grids);
    if (n_found < r->suspect->n_tensors) {
        char *text = ww_asprintf("%u of %u tensors of the suspect are not replayed: the "
                                 "recipe makes none of that name and shape",
                                 r->suspect->n_tensors - n_found, r->suspect->n_tensors);
        rc = text ? ww_strlist_add(&r->warnings, text, err)
                  : WW_FAIL_MEMORY(err, "a replay");
        ww_free(text);
        if (rc) {
            return rc;
        }
    }
    if (r->disguise.dense) {
        rc = leave_out_dense(r, &n_found, err);
        if (rc) {
            return rc;
        }
    }
    if (r->report->inferred) {
        rc = ww_halves_draw(r->suspect, r->options->seed, &r->half, err);
        if (rc) {
            return rc;
        }
    }
    for (uint32_t t = 0; t < n && r->half; t++) {
        if (r->tensor[t] != WW_NONE && r->half[r->tensor[t]]) {
            r->tensor[t] = WW_NONE;
            n_found--;
            r->report->tensors_fit++;
        }
    }
    r->report->tensors = n_found;
    return n_found ? WW_OK
                   : WW_FAIL(err, WW_E_UNRELATED,
                             "the recipe makes no tensor that '%s' has in one name and "
                             "shape; a model of another architecture was not made by it",
                             r->suspect->path);
}
