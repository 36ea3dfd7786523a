/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a recipe merges. Three ways of writing inputs (models, slices, modules of either)
 * become one: modules of slices of inputs.
 */
#include <stdio.h>
#include <string.h>

#include "merge/recipe_value.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err read_range(const struct ww_ynode *node, struct ww_recipe_input *out,
                              struct ww_error *err)
{
    int64_t first = -1;
    int64_t end = -1;

    if (!node) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: an input of a slice has no layer_range", out->line);
    }
    if (ww_ysize(node) != 2 || !ww_yi64(ww_yfirst(node), &first) ||
        !ww_yi64(ww_ynext(ww_yfirst(node)), &end) || first < 0 || end <= first ||
        end > UINT32_MAX) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: layer_range is not [FIRST, END] with END behind FIRST; "
                       "END is not part of it",
                       ww_yline(node));
    }
    out->has_range = true;
    out->first_layer = (uint64_t)first;
    out->end_layer = (uint64_t)end;
    return WW_OK;
}

static enum ww_err read_input(struct ww_recipe *recipe, const struct ww_ynode *node,
                              bool sliced, struct ww_recipe_input *out,
                              struct ww_error *err)
{
    static const char *const keys[] = {"model", "parameters", "statistics",
                                       "layer_range"};
    char where[200];
    const struct ww_ynode *range = ww_yget(node, "layer_range");
    enum ww_err rc = ww_recipe_only(recipe, node, keys, WW_LEN(keys),
                                    sliced ? "an input of a slice" : "an input", err);

    out->line = ww_yline(node);
    out->parameters = ww_yget(node, "parameters");
    out->statistics = WW_NONE;
    if (!rc && !ww_yget(node, "model")) {
        rc = WW_FAIL(err, WW_E_RECIPE, "line %zu: an input names no model", out->line);
    }
    if (!rc) {
        rc = ww_recipe_model_of(recipe, ww_yget(node, "model"), &out->model, err);
    }
    if (!rc && ww_yget(node, "statistics")) {
        rc = ww_recipe_model_of(recipe, ww_yget(node, "statistics"), &out->statistics,
                                err);
    }
    if (!rc && (sliced || range)) {
        rc = read_range(range, out, err);
    }
    if (!rc) {
        snprintf(where, sizeof(where), "model '%.150s'", recipe->models[out->model].text);
        rc = ww_recipe_check_parameters(recipe, out->parameters, where, err);
    }
    return rc;
}

/* The same model twice in a slice is a slip: the peer silently keeps one of the two. */
static enum ww_err refuse_twins(const struct ww_recipe *recipe,
                                const struct ww_recipe_slice *slice, struct ww_error *err)
{
    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (slice->inputs[i].model == slice->inputs[k].model) {
                return WW_FAIL(err, WW_E_RECIPE,
                               "line %zu: model '%s' is an input already, in line %zu",
                               slice->inputs[i].line,
                               recipe->models[slice->inputs[i].model].text,
                               slice->inputs[k].line);
            }
        }
    }
    return WW_OK;
}

static enum ww_err read_inputs(struct ww_recipe *recipe, const struct ww_ynode *list,
                               const char *what, bool sliced, struct ww_recipe_slice *out,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_ytype(list) != WW_Y_LIST || ww_ysize(list) == 0) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: %s is no list of inputs",
                       list ? ww_yline(list) : out->line, what);
    }
    out->inputs = ww_calloc(ww_ysize(list), sizeof(*out->inputs));
    if (!out->inputs) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    for (const struct ww_ynode *n = ww_yfirst(list); n && !rc; n = ww_ynext(n)) {
        rc = read_input(recipe, n, sliced, &out->inputs[out->n_inputs++], err);
    }
    return rc ? rc : refuse_twins(recipe, out, err);
}

static enum ww_err read_slice(struct ww_recipe *recipe, const struct ww_ynode *node,
                              struct ww_recipe_slice *out, struct ww_error *err)
{
    static const char *const keys[] = {"sources", "parameters", "base_model"};
    enum ww_err rc = ww_recipe_only(recipe, node, keys, WW_LEN(keys), "a slice", err);

    *out = (struct ww_recipe_slice){.base = WW_NONE,
                                    .parameters = ww_yget(node, "parameters"),
                                    .line = ww_yline(node)};
    if (!rc) {
        rc = ww_recipe_check_parameters(recipe, out->parameters, "a slice", err);
    }
    if (!rc) {
        rc = read_inputs(recipe, ww_yget(node, "sources"), "sources", true, out, err);
    }
    if (!rc && ww_yget(node, "base_model")) {
        rc = ww_recipe_model_of(recipe, ww_yget(node, "base_model"), &out->base, err);
    }
    for (uint32_t i = 1; i < out->n_inputs && !rc; i++) {
        const struct ww_recipe_input *a = &out->inputs[0];
        const struct ww_recipe_input *b = &out->inputs[i];
        if (a->end_layer - a->first_layer != b->end_layer - b->first_layer) {
            rc = WW_FAIL(
                err, WW_E_RECIPE,
                "line %zu: the inputs of a slice have different numbers of layers",
                b->line);
        }
    }
    return rc;
}

static enum ww_err read_slices(struct ww_recipe *recipe, const struct ww_ynode *list,
                               struct ww_recipe_module *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_ytype(list) != WW_Y_LIST || ww_ysize(list) == 0) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: slices is no list of slices",
                       ww_yline(list));
    }
    out->is_sliced = true;
    out->slices = ww_calloc(ww_ysize(list), sizeof(*out->slices));
    if (!out->slices) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    for (const struct ww_ynode *n = ww_yfirst(list); n && !rc; n = ww_ynext(n)) {
        rc = read_slice(recipe, n, &out->slices[out->n_slices++], err);
    }
    return rc;
}

/* models or slices of a node, which is the recipe or one of its modules. */
static enum ww_err read_module(struct ww_recipe *recipe, const struct ww_ynode *node,
                               struct ww_recipe_module *out, struct ww_error *err)
{
    if (ww_yget(node, "slices")) {
        return read_slices(recipe, ww_yget(node, "slices"), out, err);
    }
    out->slices = ww_calloc(1, sizeof(*out->slices));
    if (!out->slices) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    out->n_slices = 1;
    out->slices[0] = (struct ww_recipe_slice){.base = WW_NONE, .line = ww_yline(node)};
    return read_inputs(recipe, ww_yget(node, "models"), "models", false, &out->slices[0],
                       err);
}

static enum ww_err read_modules(struct ww_recipe *recipe, const struct ww_ynode *map,
                                struct ww_error *err)
{
    static const char *const keys[] = {"models", "slices", "parameters"};
    enum ww_err rc = WW_OK;

    if (ww_ytype(map) != WW_Y_MAP || ww_ysize(map) == 0) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: modules is no map of modules",
                       ww_yline(map));
    }
    recipe->modules = ww_calloc(ww_ysize(map), sizeof(*recipe->modules));
    if (!recipe->modules) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    for (const struct ww_ynode *n = ww_yfirst(map); n && !rc; n = ww_ynext(n)) {
        struct ww_recipe_module *m = &recipe->modules[recipe->n_modules++];
        m->name = ww_ykey(n);
        m->parameters = ww_yget(n, "parameters");
        rc = ww_recipe_only(recipe, n, keys, WW_LEN(keys), "a module", err);
        if (!rc && !ww_yget(n, "models") == !ww_yget(n, "slices")) {
            rc = WW_FAIL(err, WW_E_RECIPE,
                         "line %zu: module '%s' needs models or slices, one of them",
                         ww_yline(n), m->name);
        }
        if (!rc) {
            rc = ww_recipe_check_parameters(recipe, m->parameters, "a module", err);
        }
        if (!rc) {
            rc = read_module(recipe, n, m, err);
        }
    }
    return rc;
}

enum ww_err ww_recipe_read_inputs(struct ww_recipe *recipe, struct ww_error *err)
{
    const struct ww_ynode *root = recipe->root;
    const int n = (ww_yget(root, "models") != NULL) + (ww_yget(root, "slices") != NULL) +
                  (ww_yget(root, "modules") != NULL);
    enum ww_err rc = WW_OK;

    if (n != 1) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: a recipe has exactly one of models, slices and modules, "
            "this one has %d",
            ww_yline(root), n);
    }
    if (ww_yget(root, "modules")) {
        rc = read_modules(recipe, ww_yget(root, "modules"), err);
    } else {
        recipe->modules = ww_calloc(1, sizeof(*recipe->modules));
        if (!recipe->modules) {
            return WW_FAIL_MEMORY(err, "a recipe");
        }
        recipe->n_modules = 1;
        rc = read_module(recipe, root, &recipe->modules[0], err);
    }
    if (!rc && ww_yget(root, "base_model")) {
        rc = ww_recipe_model_of(recipe, ww_yget(root, "base_model"), &recipe->base, err);
    }
    return rc;
}
