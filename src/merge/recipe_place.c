/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys at a place where they mean nothing. The peer passes over all of them in silence,
 * so published recipes have many: what changes nothing is a warning, what was meant to
 * change something is refused with its place.
 */
#include <stdio.h>
#include <string.h>

#include "merge/recipe_value.h"
#include "util/fail.h"

/* Known keys and what is to be said of them; idle ones change nothing in the peer either.
 */
static const struct {
    const char *key;
    const char *advice;
    bool idle;
} known[] = {
    {"random_seed", "has no effect, here as in mergekit; --seed is the seed of the masks",
     true},
    {"int8_mask", "has no effect, here as in mergekit", true},
    {"embed_slerp",
     "has no effect, here as in mergekit: rows of the vocabulary are brought into one "
     "order and merged by the method",
     true},
    {"residual_weight", "has no effect, here as in mergekit", true},
    {"layer_range", "belongs to a model; parts of models are the sources of slices",
     false},
    {"revision", "belongs behind the name of the model: NAME@REVISION", false},
    {"pad_to_multiple_of", "belongs under tokenizer", false},
    {"tokens", "belongs under tokenizer", false},
    {"filter", "belongs beside a value: NAME: [{filter: mlp, value: 0.5}, {value: 1}]",
     false},
    {"dtype", "is one for the whole recipe; put it beside merge_method", false},
    {"out_dtype", "is one for the whole recipe; put it beside merge_method", false},
    {"merge_method",
     "is one for the whole recipe; for several write documents that name each other's "
     "results",
     false},
    {"gate_mode", "is of a recipe for mergekit-moe; experts are not made of models here",
     false},
    {"experts", "is of a recipe for mergekit-moe; experts are not made of models here",
     false},
    {"genome", "is of a recipe for mergekit-evolve; give the recipe that it found",
     false},
    {"layer_slices", "is of a recipe for bakllama; here they are slices", false},
};

static enum ww_err warn(struct ww_recipe *recipe, const struct ww_ynode *node,
                        const char *advice, struct ww_error *err)
{
    char text[300];

    snprintf(text, sizeof(text), "line %zu: %.60s %s", ww_yline(node), ww_ykey(node),
             advice);
    return ww_strlist_has(&recipe->warnings, text)
               ? WW_OK
               : ww_strlist_add(&recipe->warnings, text, err);
}

enum ww_err ww_recipe_misplaced(struct ww_recipe *recipe, const struct ww_ynode *node,
                                bool *passed, struct ww_error *err)
{
    const char *key = ww_ykey(node);

    *passed = false;
    for (size_t i = 0; i < WW_LEN(known); i++) {
        if (strcmp(key, known[i].key) == 0) {
            *passed = known[i].idle;
            return known[i].idle ? warn(recipe, node, known[i].advice, err)
                                 : WW_FAIL(err, WW_E_RECIPE, "line %zu: %s %s",
                                           ww_yline(node), key, known[i].advice);
        }
    }
    return WW_OK;
}

/* A parameter beside the parameters. */
static enum ww_err stray_parameter(struct ww_recipe *recipe, const struct ww_ynode *node,
                                   bool *passed, struct ww_error *err)
{
    char text[100];

    if (ww_method_param(recipe->method, ww_ykey(node)) != WW_NONE) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: %s is a parameter; put it under "
                       "parameters",
                       ww_yline(node), ww_ykey(node));
    }
    *passed = ww_method_any_param(ww_ykey(node));
    snprintf(text, sizeof(text), "is no parameter of method '%s'; it is ignored",
             recipe->method->name);
    return *passed ? warn(recipe, node, text, err) : WW_OK;
}

enum ww_err ww_recipe_only(struct ww_recipe *recipe, const struct ww_ynode *map,
                           const char *const *keys, size_t n, const char *what,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_ytype(map) != WW_Y_MAP) {
        return ww_yonly(map, keys, n, WW_E_RECIPE, what, err);
    }
    for (const struct ww_ynode *m = ww_yfirst(map); m && !rc; m = ww_ynext(m)) {
        bool passed = false;
        for (size_t i = 0; i < n && !passed; i++) {
            passed = strcmp(ww_ykey(m), keys[i]) == 0;
        }
        if (!passed) {
            rc = ww_recipe_misplaced(recipe, m, &passed, err);
        }
        if (!passed && !rc && recipe->method) {
            rc = stray_parameter(recipe, m, &passed, err);
        }
        if (!passed && !rc) {
            rc = ww_yonly(map, keys, n, WW_E_RECIPE, what, err);
        }
    }
    return rc;
}
