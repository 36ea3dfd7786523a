/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A weighted sum solved for one of its terms. With W the sum of the weights w and D what
 * the recipe divides by,
 *
 *   linear:          m = (sum w_i x_i) / D
 *   task_arithmetic: m = b + lambda (sum w_i (x_i - b)) / D
 *
 * give x_a = (D m - sum of the other w_i x_i) / w_a, and with D / lambda instead of D and
 * (W - D / lambda) b more for the second. Only numbers are found here; what a merge
 * rounded away is for whoever uses them.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "merge/predict.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define NO_DIVISOR 1e-8 /* as task_arithmetic has it */

struct invert {
    const char *merged;
    const char *const *sources;
    size_t n;
    uint8_t (*trees)[WW_SHA256_BYTES];
    uint32_t *place; /* per source: in the recipe's models */
    struct ww_record_view record;
    struct ww_recipe_view view;
    bool opened; /* the view */
    struct ww_merge_plan plan;
    /* of_merged * m = sum of weights[i] * models[i] */
    double of_merged;
    double *weights;
};

void ww_merge_inverse_release(struct ww_merge_inverse *inverse)
{
    ww_free((void *)(uintptr_t)inverse->others);
    ww_free(inverse->weights);
    ww_free(inverse->trees);
    memset(inverse, 0, sizeof(*inverse));
}

static enum ww_err read_trees(struct invert *v, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    v->trees = ww_calloc(v->n, sizeof(*v->trees));
    v->place = ww_calloc(v->n, sizeof(*v->place));
    if (!v->trees || !v->place) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (size_t i = 0; i < v->n && !rc; i++) {
        struct ww_model *model = NULL;
        rc = ww_model_open(v->sources[i], &model, err);
        if (!rc) {
            rc = ww_tree_model_read(model, v->trees[i], err);
        }
        ww_model_close(model);
        v->place[i] = WW_NONE;
    }
    return rc;
}

static enum ww_err open_recipe(struct invert *v, const struct ww_run_options *run,
                               struct ww_error *err)
{
    int dirfd = -1;
    enum ww_err rc = ww_dir_open(v->merged, &dirfd, err);

    if (rc) {
        return rc;
    }
    rc = ww_record_read(dirfd, &v->record, err);
    close(dirfd);
    if (rc) {
        ww_error_context(err, "'%s'", v->merged);
        return rc;
    }
    v->opened = true;
    return ww_recipe_view_open(&v->view, v->record.recipe, strlen(v->record.recipe),
                               WW_MERGE_RECIPE_FILE, v->merged, v->record.seed, run, err);
}

/* Which of the given folders is the source of this name, by what the record says. */
static enum ww_err find_source(const struct invert *v, const char *name, size_t *out,
                               struct ww_error *err)
{
    const struct ww_jnode *stated = ww_record_named(v->record.sources, name);
    const char *hex = NULL;
    uint8_t tree[WW_SHA256_BYTES];

    if (!ww_jstr(ww_jget(ww_jget(stated, "annotations"), "tensor_tree"), &hex) ||
        !ww_unhex(tree, sizeof(tree), hex, strlen(hex))) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the record of '%s' has no tensor tree of source '%s'; merge "
                       "without --no-source-trees, and models without adapters",
                       v->merged, name);
    }
    for (size_t i = 0; i < v->n; i++) {
        if (memcmp(v->trees[i], tree, sizeof(tree)) == 0) {
            *out = i;
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_UNRELATED,
        "none of the given models is source '%s' of '%s' (tensor tree %.16s...);"
        " name all of its sources",
        name, v->merged, hex);
}

static enum ww_err place_sources(struct invert *v, struct ww_error *err)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&v->view);
    enum ww_err rc = WW_OK;

    for (uint32_t m = 0; m < recipe->n_models && !rc; m++) {
        size_t i = 0;
        if (recipe->models[m].adapter || recipe->models[m].is_statistics) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "'%s' was merged of more than models: '%s'", v->merged,
                         recipe->models[m].text);
        }
        if (!rc) {
            rc = find_source(v, recipe->models[m].text, &i, err);
        }
        if (!rc) {
            v->place[i] = m;
            rc = ww_recipe_view_place(&v->view, recipe->models[m].text, v->sources[i],
                                      err);
        }
    }
    for (size_t i = 0; i < v->n && !rc; i++) {
        if (v->place[i] == WW_NONE) {
            rc = WW_FAIL(
                err, WW_E_UNRELATED,
                "model '%s' is not one that '%s' was merged of, or is given twice",
                v->sources[i], v->merged);
        }
    }
    return rc;
}

/* The sum of one tensor as weights of the plan's models; false: it is none. */
static bool solve(const struct ww_merge_tensor *t, double *weights, double *of_merged)
{
    const struct ww_method *method = t->method;
    const bool task = strcmp(method->name, "task_arithmetic") == 0;
    const uint32_t weight = ww_method_param(method, "weight");
    double sum = 0;

    if (!task && strcmp(method->name, "linear") != 0) {
        return false;
    }
    for (uint32_t s = 0; s < t->n_sources; s++) {
        if (t->sources[s].model == WW_NONE) {
            return false;
        }
        weights[t->sources[s].model] += t->sources[s].params[weight];
        sum += t->sources[s].params[weight];
    }
    *of_merged = t->params[ww_method_param(method, "normalize")] != 0 ? sum : 1;
    if (!task) {
        return *of_merged != 0;
    }
    if (fabs(*of_merged) < NO_DIVISOR) {
        *of_merged = 1;
    }
    *of_merged /= t->params[ww_method_param(method, "lambda")];
    if (t->base && t->base->model != WW_NONE) {
        weights[t->base->model] += *of_merged - sum;
    }
    return isfinite(*of_merged) && t->base && t->base->model != WW_NONE;
}

static enum ww_err unsupported(const struct invert *v, const struct ww_merge_tensor *t,
                               const char *why, struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "tensor '%s' of '%s' %s: only linear and task_arithmetic with the same "
        "weights for all tensors can be solved for a source",
        t->name, v->merged, why);
}

/* Rows of a new vocabulary are made beforehand and may belong to no model. */
static bool is_made(const struct ww_merge_tensor *t)
{
    bool made = t->base && (t->base->model == WW_NONE || t->base->rows);

    for (uint32_t s = 0; s < t->n_sources; s++) {
        made = made || t->sources[s].model == WW_NONE || t->sources[s].rows;
    }
    return made;
}

static enum ww_err find_weights(struct invert *v, struct ww_error *err)
{
    const uint32_t n = v->plan.n_models;
    double *these = ww_calloc(n, sizeof(*these));
    bool first = true;
    enum ww_err rc = WW_OK;

    v->weights = ww_calloc(n, sizeof(*v->weights));
    if (!these || !v->weights) {
        rc = WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (uint32_t t = 0; t < v->plan.n_tensors && !rc; t++) {
        const struct ww_merge_tensor *tensor = &v->plan.tensors[t];
        double of_merged = 0;
        if (is_made(tensor)) {
            continue;
        }
        memset(these, 0, n * sizeof(*these));
        if (!solve(tensor, these, &of_merged)) {
            rc = unsupported(v, tensor, "is no sum of that kind", err);
        } else if (first) {
            memcpy(v->weights, these, n * sizeof(*these));
            v->of_merged = of_merged;
            first = false;
        } else if (v->of_merged != of_merged ||
                   memcmp(v->weights, these, n * sizeof(*these)) != 0) {
            rc = unsupported(v, tensor, "has weights of its own", err);
        }
    }
    if (!rc && first) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "'%s' has no merged tensor", v->merged);
    }
    ww_free(these);
    return rc;
}

static enum ww_err make_inverse(const struct invert *v, size_t wanted,
                                struct ww_merge_inverse *out, struct ww_error *err)
{
    const double w = v->weights[v->place[wanted]];

    if (!(fabs(w) > 0) || !isfinite(v->of_merged / w)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "source '%s' has weight %g in '%s': nothing of it is in there",
                       v->sources[wanted], w, v->merged);
    }
    out->of_merged = v->of_merged / w;
    out->others = ww_calloc(v->n, sizeof(*out->others));
    out->weights = ww_calloc(v->n, sizeof(*out->weights));
    out->trees = ww_calloc(v->n, sizeof(*out->trees));
    if (!out->others || !out->weights || !out->trees) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (size_t i = 0; i < v->n; i++) {
        const double other = v->weights[v->place[i]];
        if (i == wanted || other == 0) {
            continue;
        }
        out->others[out->n] = v->sources[i];
        out->weights[out->n] = -other / w;
        memcpy(out->trees[out->n], v->trees[i], WW_SHA256_BYTES);
        out->n++;
    }
    return WW_OK;
}

static void release(struct invert *v)
{
    ww_merge_plan_release(&v->plan);
    if (v->opened) {
        ww_recipe_view_release(&v->view);
    }
    ww_record_release(&v->record);
    ww_free(v->trees);
    ww_free(v->place);
    ww_free(v->weights);
}

enum ww_err ww_merge_invert(const char *merged, const char *const *sources,
                            size_t n_sources, size_t n_wanted,
                            const struct ww_run_options *run,
                            struct ww_merge_inverse *out, struct ww_error *err)
{
    struct invert v = {.merged = merged, .sources = sources, .n = n_sources};
    enum ww_err rc = open_recipe(&v, run, err);

    memset(out, 0, n_wanted * sizeof(*out));
    if (!rc) {
        rc = read_trees(&v, err);
    }
    if (!rc) {
        rc = place_sources(&v, err);
    }
    if (!rc) {
        rc = ww_recipe_view_plan(&v.view, WW_NONE, NULL, &v.plan, err);
    }
    if (!rc && v.plan.locked) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "'%s' was merged of locked models; unlock them first", merged);
    }
    if (!rc) {
        rc = find_weights(&v, err);
    }
    for (size_t i = 0; i < n_wanted && !rc; i++) {
        rc = make_inverse(&v, i, &out[i], err);
    }
    for (size_t i = 0; i < n_wanted && rc; i++) {
        ww_merge_inverse_release(&out[i]);
    }
    release(&v);
    return rc;
}
