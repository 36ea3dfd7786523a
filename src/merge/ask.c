/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy has to be asked about a recipe: its models by folder and the largest
 * share of each in any tensor, from the plan, which has parameters as numbers. Where a
 * share cannot be told (a method without weights or with statistics, a recipe of several)
 * it counts as the whole.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "merge/merge_work.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define WHOLE INT64_C(1000000)
#define MOST INT64_C(999999000000)

void ww_merge_ask_release(struct ww_merge_ask *ask)
{
    for (size_t i = 0; i < ask->n_sources; i++) {
        ww_free(ask->sources[i].path);
    }
    ww_free(ask->sources);
    ww_free(ask->added);
    ww_free(ask->method);
    *ask = (struct ww_merge_ask){0};
}

/* *place: where it is among the sources. */
static enum ww_err add_source(struct ww_merge_ask *ask, const char *path, size_t *place,
                              struct ww_error *err)
{
    struct ww_policy_source *grown = NULL;

    for (*place = 0; *place < ask->n_sources; (*place)++) {
        if (strcmp(ask->sources[*place].path, path) == 0) {
            return WW_OK;
        }
    }
    grown = ww_realloc_array(ask->sources, ask->n_sources + 1, sizeof(*grown));
    if (!grown) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    ask->sources = grown;
    grown[ask->n_sources] =
        (struct ww_policy_source){.path = ww_strdup(path), .weight = WHOLE};
    if (!grown[ask->n_sources].path) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    ask->n_sources++;
    return WW_OK;
}

static enum ww_err add_added(struct ww_merge_ask *ask, struct ww_merge_added added,
                             struct ww_error *err)
{
    struct ww_merge_added *grown =
        ww_realloc_array(ask->added, ask->n_added + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    ask->added = grown;
    grown[ask->n_added++] = added;
    return WW_OK;
}

static bool is_input(const struct ww_recipe *recipe, uint32_t model)
{
    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        for (uint32_t s = 0; s < recipe->modules[m].n_slices; s++) {
            const struct ww_recipe_slice *slice = &recipe->modules[m].slices[s];
            for (uint32_t i = 0; i < slice->n_inputs; i++) {
                if (slice->inputs[i].model == model) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Which of the sources listed is the base alone? */
static enum ww_err find_base(struct ww_work *work, struct ww_merge_ask *ask,
                             struct ww_error *err)
{
    const struct ww_recipe *recipe = &work->file.recipes[work->file.last];
    const uint32_t base = recipe->base;
    const char *path = NULL;
    enum ww_err rc = WW_OK;

    if (base == WW_NONE || recipe->models[base].recipe != WW_NONE ||
        is_input(recipe, base)) {
        return WW_OK;
    }
    rc = ww_work_find_model(work, &recipe->models[base], &path, err);
    for (size_t i = 0; i < ask->n_sources && !rc; i++) {
        if (strcmp(ask->sources[i].path, path) == 0) {
            ask->base = ask->sources[i].path;
        }
    }
    return rc;
}

/* The folder of a model, and of the adapter that is added to it. */
static enum ww_err list_model(struct ww_work *work, const struct ww_recipe_model *model,
                              struct ww_merge_ask *ask, struct ww_error *err)
{
    struct ww_merge_added added = {0};
    const char *path = NULL;
    enum ww_err rc = ww_work_find_model(work, model, &path, err);

    if (!rc) {
        rc = add_source(ask, path, &added.base, err);
    }
    if (rc || !model->adapter) {
        return rc;
    }
    rc = ww_work_find_folder(work, model, model->adapter, "adapter", &path, err);
    if (!rc) {
        rc = add_source(ask, path, &added.adapter, err);
    }
    return rc ? rc : add_added(ask, added, err);
}

static enum ww_err list_models(struct ww_work *work, struct ww_merge_ask *ask,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t r = 0; r < work->file.n_recipes && !rc; r++) {
        const struct ww_recipe *recipe = &work->file.recipes[r];
        for (uint32_t i = 0; i < recipe->n_models && !rc; i++) {
            if (recipe->models[i].recipe == WW_NONE) {
                rc = list_model(work, &recipe->models[i], ask, err);
            }
        }
    }
    return rc;
}

static int64_t millionths(double share)
{
    const double up = ceil(fabs(share) * (double)WHOLE - 1e-3);

    return up < (double)MOST ? (int64_t)up : MOST;
}

/* Are weights divided by their sum? */
static bool is_divided(const struct ww_merge_tensor *t)
{
    static const char *const flags[] = {"normalize", "normalize_weights"};
    bool divided = t->method->share == WW_SHARE_OF_SUM;

    for (size_t i = 0; i < WW_LEN(flags); i++) {
        const uint32_t at = ww_method_param(t->method, flags[i]);
        divided = divided || (at != WW_NONE && t->params[at] != 0);
    }
    return divided;
}

/* The share of source s in a tensor, whose method need not be the recipe's: what one
 * model alone has is copied. A limit is nobody's. */
static double share_in(const struct ww_merge_tensor *t, uint32_t s)
{
    const uint32_t weight = ww_method_param(t->method, "weight");
    const uint32_t lambda = ww_method_param(t->method, "lambda");
    const double scale = lambda == WW_NONE ? 1 : t->params[lambda];
    double sum = 0;

    if (weight == WW_NONE || t->method->share == WW_SHARE_UNTOLD ||
        t->method->params[weight].scope != WW_PARAM_SOURCE) {
        return 1;
    }
    if (!is_divided(t)) {
        return scale * t->sources[s].params[weight];
    }
    if (t->method->share == WW_SHARE_ELECTED) {
        return scale;
    }
    for (uint32_t i = 0; i < t->n_sources; i++) {
        sum += t->sources[i].params[weight];
    }
    return scale * (sum != 0 ? t->sources[s].params[weight] / sum : 1);
}

/* Sources of the ask stand in the order of the plan's models here. */
static enum ww_err take_weights(const struct ww_merge_plan *plan,
                                struct ww_merge_ask *ask, struct ww_error *err)
{
    bool *weighed = NULL;

    if (plan->n_models != ask->n_sources) {
        return WW_OK;
    }
    weighed = ww_calloc(ask->n_sources, sizeof(*weighed));
    if (!weighed) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *tensor = &plan->tensors[t];
        for (uint32_t s = 0; s < tensor->n_sources && !tensor->is_limit; s++) {
            const uint32_t m = tensor->sources[s].model;
            int64_t share = 0;
            if (m == WW_NONE || m >= ask->n_sources) {
                continue;
            }
            share = millionths(share_in(tensor, s));
            if (!weighed[m] || share > ask->sources[m].weight) {
                ask->sources[m].weight = share;
            }
            weighed[m] = true;
        }
    }
    ww_free(weighed);
    return WW_OK;
}

enum ww_err ww_merge_ask(const char *recipe_path, const struct ww_merge_options *options,
                         bool shares, struct ww_merge_ask *out, struct ww_error *err)
{
    struct ww_merge_report report = {0};
    struct ww_merge_plan plan = {0};
    struct ww_work work;
    enum ww_err rc = ww_work_open_file(&work, recipe_path, options, &report, err);

    *out = (struct ww_merge_ask){0};
    if (!rc) {
        rc = list_models(&work, out, err);
        rc = rc ? rc : find_base(&work, out, err);
        if (rc) {
            ww_error_context(err, "%s", work.file.label);
        }
    }
    if (!rc && shares && work.file.n_recipes == 1) {
        rc = ww_work_plan(&work, 0, &plan, err);
        if (!rc) {
            out->locked = plan.locked;
            rc = take_weights(&plan, out, err);
        }
        ww_merge_plan_release(&plan);
    }
    if (!rc) {
        out->method = ww_strdup(work.file.recipes[work.file.last].method->name);
        rc = out->method ? WW_OK : WW_FAIL_MEMORY(err, "a merge");
    }
    ww_work_close(&work);
    ww_merge_report_release(&report);
    if (rc) {
        ww_merge_ask_release(out);
    }
    return rc;
}
