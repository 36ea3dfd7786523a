/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of a recipe that are allowed and were hardly meant: nothing is selected,
 * everything is weighed by 0, or a number is of another scale than its meaning (a share
 * in per cent). What they give is what the formulas say, so the merge is made and the
 * person is told.
 */
#include <math.h>
#include <string.h>

#include "merge/build.h"
#include "util/fail.h"

/* Where numbers of a parameter usually lie. Below and above it is told. */
static const struct usual {
    const char *method; /* NULL: every method that has the parameter */
    const char *param;
    double low;
    double high;
    const char *what;
    bool but_zero; /* which leaves all out on purpose: a layer, by a gradient */
} usuals[] = {
    {"slerp", "t", 0, 1, "the result lies beyond one of the two models", false},
    {"nearswap", "t", 0, 1, "all but the largest differences are swapped", false},
    {"passthrough", "scale", -10, 10, "the weights are of another size than the model's",
     false},
    {"compeft", "alpha", 0, 10, "a change is ten times what changes are", false},
    {NULL, "lambda", -10, 10, "the changes are multiplied by it", false},
    {NULL, "weight", -10, 10, "the changes are multiplied by it, nothing divides them",
     false},
    {NULL, "steps", 1, INFINITY, "the descent does not begin", false},
    {"wudi", "learning_rate", 1e-300, 1, "the descent does not move", false},
    {"doge", "learning_rate", 1e-300, 1, "the descent does not move", false},
    {"doge", "eta", 1e-300, 10, "the changes are multiplied by it over their norm",
     false},
    {"doge", "keep", 1e-3, 1, "next to nothing is taken", false},
    {"pcb", "pcb_ratio", 1e-3, 1, "next to nothing is taken", false},
    {"sce", "select_topk", 1e-3, 1, "next to nothing is taken", true},
    {NULL, "density", 1e-3, 1, "next to nothing is taken", true},
};

/* Takes a density and uses none. */
static bool is_idle(const struct ww_method *method, const char *param)
{
    return strcmp(method->name, "task_arithmetic") == 0 && strcmp(param, "density") == 0;
}

/* Weights of which only the proportions count. */
static bool divides(const struct ww_method *method, const struct ww_merge_tensor *t)
{
    const uint32_t normalize = ww_method_param(method, "normalize");

    return method->base != WW_BASE_REQUIRED ||
           (normalize != WW_NONE && t->params[normalize] != 0);
}

/* The number of a tensor that lies furthest outside, NAN: none does. */
static double outside(const struct ww_method *method, const struct ww_merge_tensor *t,
                      const struct usual *usual, uint32_t param)
{
    const bool of_source = method->params[param].scope == WW_PARAM_SOURCE;
    const uint32_t n = of_source ? t->n_sources : 1;

    if (strcmp(usual->param, "weight") == 0 && divides(method, t)) {
        return NAN;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double v = of_source ? t->sources[i].params[param] : t->params[param];
        if ((v < usual->low || v > usual->high) && (v != 0 || !usual->but_zero)) {
            return v;
        }
    }
    return NAN;
}

static enum ww_err doubt_usual(struct ww_build *build, const struct usual *usual,
                               struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const uint32_t param = ww_method_param(method, usual->param);

    if (param == WW_NONE || is_idle(method, usual->param) ||
        (usual->method && strcmp(usual->method, method->name) != 0)) {
        return WW_OK;
    }
    for (size_t k = 0; k < build->n_tensors; k++) {
        const struct ww_merge_tensor *t = &build->tensors[k].tensor;
        const double v =
            t->method == method ? outside(method, t, usual, param) : (double)NAN;
        if (!isnan(v)) {
            return ww_build_warn(build, err, "%s is %g in tensor '%.160s', %s %g: %s",
                                 usual->param, v, t->name,
                                 v < usual->low ? "below" : "above",
                                 v < usual->low ? usual->low : usual->high, usual->what);
        }
    }
    return WW_OK;
}

/* Is the parameter this number in every tensor that takes something of the model, or of
 * any? */
static bool is_always(const struct ww_build *build, uint32_t param, uint32_t model,
                      double number)
{
    const bool of_source = build->recipe->method->params[param].scope == WW_PARAM_SOURCE;
    bool seen = false;

    for (size_t k = 0; k < build->n_tensors; k++) {
        const struct ww_merge_tensor *t = &build->tensors[k].tensor;
        for (uint32_t i = 0; i < t->n_sources && t->method == build->recipe->method;
             i++) {
            if (model == WW_NONE || t->sources[i].model == model) {
                seen = true;
                if ((of_source ? t->sources[i].params : t->params)[param] != number) {
                    return false;
                }
            }
        }
    }
    return seen;
}

/* Nothing may be selected of a tensor, as of layers by a gradient; nothing at all was
 * hardly meant. */
static enum ww_err doubt_selection(struct ww_build *build, struct ww_error *err)
{
    static const char *const names[] = {"density", "select_topk"};
    const struct ww_method *method = build->recipe->method;
    enum ww_err rc = WW_OK;

    for (size_t p = 0; p < WW_LEN(names); p++) {
        const uint32_t param = ww_method_param(method, names[p]);
        if (param == WW_NONE || is_idle(method, names[p])) {
            continue;
        }
        for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
            if (is_always(build, param, i, 0)) {
                rc = ww_build_warn(build, err,
                                   "%s is 0 in every tensor of '%s': nothing of it is in "
                                   "the output",
                                   names[p], build->models[i].text);
            }
        }
    }
    return rc;
}

/* A model of no weight may be one of several that are tried; all of them were hardly
 * meant to be. Where no base is left the kernels refuse, or 0 was asked for. */
static enum ww_err doubt_sum(struct ww_build *build, struct ww_error *err)
{
    static const struct {
        const char *name;
        const char *where;
    } factors[] = {{"weight", " of every model"}, {"lambda", ""}};
    const struct ww_method *method = build->recipe->method;
    enum ww_err rc = WW_OK;

    for (size_t p = 0; p < WW_LEN(factors) && method->base == WW_BASE_REQUIRED; p++) {
        const uint32_t param = ww_method_param(method, factors[p].name);
        const bool idle = p == 0 && strcmp(method->name, "opcm") == 0;
        /* opcm weighs what was merged before by its norm */
        if (!rc && param != WW_NONE && !idle && is_always(build, param, WW_NONE, 0)) {
            rc = ww_build_warn(build, err, "%s is 0 in every tensor%s: %s",
                               factors[p].name, factors[p].where,
                               ww_recipe_of_base(build->recipe));
        }
    }
    return rc;
}

/* A recipe without a model beside the base. */
static enum ww_err doubt_models(struct ww_build *build, struct ww_error *err)
{
    bool alone = build->recipe->method->base_alone;

    for (size_t k = 0; k < build->n_tensors && alone; k++) {
        alone = build->tensors[k].tensor.method != build->recipe->method;
    }
    return alone ? ww_build_warn(build, err, "there is no model beside the base: %s",
                                 ww_recipe_of_base(build->recipe))
                 : WW_OK;
}

/* Methods that are about what they drop, and drop nothing at their default density. */
static enum ww_err doubt_drops(struct ww_build *build, struct ww_error *err)
{
    static const char *const names[] = {"dare_", "breadcrumbs", "della"};
    const struct ww_method *method = build->recipe->method;
    bool drops = false;

    for (size_t i = 0; i < WW_LEN(names); i++) {
        drops = drops || strncmp(method->name, names[i], strlen(names[i])) == 0;
    }
    return drops && is_always(build, ww_method_param(method, "density"), WW_NONE, 1)
               ? ww_build_warn(build, err,
                               "density is 1 in every tensor of every model: %s drops "
                               "nothing",
                               method->name)
               : WW_OK;
}

/* As many as density asks for are kept, so outliers are among them. */
static enum ww_err doubt_outliers(struct ww_build *build, struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const uint32_t density = ww_method_param(method, "density");
    const uint32_t gamma = ww_method_param(method, "gamma");

    for (size_t k = 0; k < build->n_tensors && gamma != WW_NONE; k++) {
        const struct ww_merge_tensor *t = &build->tensors[k].tensor;
        for (uint32_t i = 0; i < t->n_sources && t->method == method; i++) {
            const double *p = t->sources[i].params;
            if (p[density] < 1 && p[density] + p[gamma] > 1 + 1e-12) {
                return ww_build_warn(
                    build, err,
                    "density %g and gamma %g of '%.200s' are more than 1 "
                    "together: fewer of the largest are dropped than "
                    "gamma says",
                    p[density], p[gamma], build->models[t->sources[i].model].text);
            }
        }
    }
    return WW_OK;
}

/* Of two weights the second's share is where between the models the result lies. */
static enum ww_err doubt_pair(struct ww_build *build, struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const uint32_t weight = ww_method_param(method, "weight");

    for (size_t k = 0; k < build->n_tensors && strcmp(method->name, "nuslerp") == 0;
         k++) {
        const struct ww_merge_tensor *t = &build->tensors[k].tensor;
        if (t->method != method || t->n_sources != 2) {
            continue;
        }
        const double a = t->sources[0].params[weight];
        const double b = t->sources[1].params[weight];
        const bool cancels = fabs(a + b) < 1e-6;
        if (cancels || a / (a + b) < 0 || b / (a + b) < 0) {
            return ww_build_warn(
                build, err, "weights %g and %g in tensor '%.160s': %s", a, b, t->name,
                cancels ? "their sum is 0, so the result lies halfway"
                        : "the result lies beyond one of the two models");
        }
    }
    return WW_OK;
}

enum ww_err ww_build_doubt_numbers(struct ww_build *build, struct ww_error *err)
{
    enum ww_err (*const doubts[])(struct ww_build *, struct ww_error *) = {
        doubt_selection, doubt_sum,  doubt_models,          doubt_drops,
        doubt_outliers,  doubt_pair, ww_build_doubt_filters};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(doubts) && !rc; i++) {
        rc = doubts[i](build, err);
    }
    for (size_t i = 0; i < WW_LEN(usuals) && !rc; i++) {
        rc = doubt_usual(build, &usuals[i], err);
    }
    return rc;
}
