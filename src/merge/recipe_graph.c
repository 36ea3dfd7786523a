/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several recipes in one file, as mergekit-multi reads them: a recipe with a name can be
 * a model of another; the one without a name, or the one that no other takes, makes the
 * output. Whoever is taken comes first; a circle is refused.
 */
#include <string.h>

#include "merge/recipe.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static uint32_t find_name(const struct ww_recipe_file *file, const char *name)
{
    for (uint32_t i = 0; i < file->n_recipes; i++) {
        if (file->recipes[i].name && strcmp(file->recipes[i].name, name) == 0) {
            return i;
        }
    }
    return WW_NONE;
}

static enum ww_err check_names(const struct ww_recipe_file *file, struct ww_error *err)
{
    uint32_t unnamed = 0;

    for (uint32_t i = 0; i < file->n_recipes; i++) {
        const struct ww_recipe *r = &file->recipes[i];
        if (!r->name) {
            unnamed++;
            continue;
        }
        if (!ww_path_is_bare(r->name)) {
            return WW_FAIL(err, WW_E_RECIPE, "%s line %zu: '%s' is no name for a recipe",
                           file->label, ww_yline(r->root), r->name);
        }
        if (find_name(file, r->name) != i) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "%s line %zu: there are two recipes named '%s'", file->label,
                           ww_yline(r->root), r->name);
        }
    }
    if (unnamed > 1) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "%s has %u recipes without a name: only the one that makes the "
                       "output can do without",
                       file->label, unnamed);
    }
    return WW_OK;
}

/* Depth-first: state 0 not seen, 1 being visited, 2 done. The chain is as long as there
 * are documents, which the YAML limits bound; the stack is an array of that length. */
static enum ww_err visit(struct ww_recipe_file *file, uint32_t start, uint8_t *state,
                         uint32_t *stack, uint32_t *n_order, struct ww_error *err)
{
    uint32_t depth = 0;

    stack[depth++] = start;
    while (depth > 0) {
        const uint32_t at = stack[depth - 1];
        const struct ww_recipe *r = &file->recipes[at];
        uint32_t next = WW_NONE;
        state[at] = 1;
        for (uint32_t i = 0; i < r->n_models && next == WW_NONE; i++) {
            const uint32_t from = r->models[i].recipe;
            if (from == WW_NONE || state[from] == 2) {
                continue;
            }
            if (state[from] == 1) {
                return WW_FAIL(err, WW_E_RECIPE,
                               "%s line %zu: recipe '%s' takes its own result, by way of "
                               "'%s'",
                               file->label, r->models[i].line, file->recipes[from].name,
                               r->name ? r->name : r->models[i].text);
            }
            next = from;
        }
        if (next != WW_NONE) {
            stack[depth++] = next;
        } else {
            state[at] = 2;
            file->order[(*n_order)++] = at;
            depth--;
        }
    }
    return WW_OK;
}

/* The unnamed recipe, or the only one whose result no other takes. */
static enum ww_err find_last(struct ww_recipe_file *file, uint8_t *taken,
                             struct ww_error *err)
{
    uint32_t n_free = 0;

    file->last = WW_NONE;
    for (uint32_t i = 0; i < file->n_recipes; i++) {
        if (!file->recipes[i].name) {
            file->last = i;
            return WW_OK;
        }
        if (!taken[i]) {
            file->last = i;
            n_free++;
        }
    }
    if (n_free > 1) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "%s: %u recipes are taken by no other; leave the name away of the "
                       "one that makes the output",
                       file->label, n_free);
    }
    return n_free == 1 ? WW_OK
                       : WW_FAIL(err, WW_E_RECIPE,
                                 "%s: each recipe takes another's result", file->label);
}

static void link_models(struct ww_recipe_file *file, uint8_t *taken)
{
    for (uint32_t i = 0; i < file->n_recipes; i++) {
        for (uint32_t m = 0; m < file->recipes[i].n_models; m++) {
            struct ww_recipe_model *model = &file->recipes[i].models[m];
            model->recipe = find_name(file, model->path);
            if (model->recipe != WW_NONE) {
                taken[model->recipe] = 1;
            }
        }
    }
}

enum ww_err ww_recipe_graph(struct ww_recipe_file *file, struct ww_error *err)
{
    uint8_t *state = ww_calloc(file->n_recipes, 1);
    uint8_t *taken = ww_calloc(file->n_recipes, 1);
    uint32_t *stack = ww_calloc(file->n_recipes, sizeof(*stack));
    uint32_t n_order = 0;
    enum ww_err rc = check_names(file, err);

    file->order = ww_calloc(file->n_recipes, sizeof(*file->order));
    if (!rc && (!state || !taken || !stack || !file->order)) {
        rc = WW_FAIL_MEMORY(err, "a recipe");
    }
    if (!rc) {
        link_models(file, taken);
    }
    for (uint32_t i = 0; i < file->n_recipes && !rc; i++) {
        if (state[i] == 0) {
            rc = visit(file, i, state, stack, &n_order, err);
        }
    }
    if (!rc) {
        rc = find_last(file, taken, err);
    }
    ww_free(state);
    ww_free(taken);
    ww_free(stack);
    return rc;
}
