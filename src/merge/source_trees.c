/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots of the sources' tensors from the reading that merges them. A model that a recipe
 * names twice is recorded once, and hashed once.
 */
#include <string.h>

#include "merge/merge_work.h"
#include "stream/tree.h"
#include "util/fail.h"
#include "util/num.h"

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Will the record have it, and not by an earlier model of the recipe? */
static bool is_recorded(const struct ww_work *work, const struct ww_recipe *r, uint32_t i)
{
    const struct ww_recipe_model *m = &r->models[i];

    if (m->recipe != WW_NONE) {
        return false;
    }
    for (uint32_t k = 0; k < i; k++) {
        if (r->models[k].recipe == WW_NONE && same_text(r->models[k].path, m->path) &&
            same_text(r->models[k].revision, m->revision)) {
            return false;
        }
    }
    return !ww_work_knows(work, m);
}

static enum ww_err want(struct ww_merge_plan *plan, uint32_t i, uint32_t first,
                        struct ww_error *err)
{
    struct ww_plan_impl *impl = plan->impl;
    const struct ww_model *model = plan->models[i];
    struct ww_plan_roots *roots = &impl->roots[i];
    uint32_t *ranks = NULL;
    enum ww_err rc = ww_tree_order(model, &roots->order, &ranks, err);

    if (rc) {
        return rc;
    }
    roots->order = ww_pool_keep(&impl->pool, roots->order);
    ranks = ww_pool_keep(&impl->pool, ranks);
    roots->roots = ww_pool_calloc(&impl->pool, ww_max_u64(1, model->n_tensors),
                                  sizeof(*roots->roots));
    struct ww_input_tree *trees =
        ww_pool_calloc(&impl->pool, model->n_files, sizeof(*trees));
    if (!roots->order || !ranks || !roots->roots || !trees) {
        return WW_FAIL_MEMORY(err, "the digests of a source");
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        const struct ww_weight_file *file = &model->files[f];
        trees[f] = (struct ww_input_tree){&model->tensors[file->first_tensor],
                                          ranks + file->first_tensor, file->n_tensors,
                                          roots->roots + file->first_tensor};
        plan->inputs[first + f].tree = &trees[f];
    }
    return WW_OK;
}

enum ww_err ww_work_want_trees(struct ww_work *work, uint32_t recipe,
                               struct ww_merge_plan *plan, struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[recipe];
    struct ww_plan_impl *impl = plan->impl;
    uint32_t first = 0;
    enum ww_err rc = WW_OK;

    impl->roots = ww_pool_calloc(&impl->pool, plan->n_models, sizeof(*impl->roots));
    if (!impl->roots) {
        return WW_FAIL_MEMORY(err, "the digests of a source");
    }
    for (uint32_t i = 0; i < plan->n_models && !rc; i++) {
        if (is_recorded(work, r, i) && !ww_source_digests_tree(plan, i)) {
            rc = want(plan, i, first, err);
        }
        first += plan->models[i]->n_files;
    }
    return rc;
}
