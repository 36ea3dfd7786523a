/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of models: "path@revision+adapter@revision", or the map that stands for it. A
 * model is the same model wherever the same text names it.
 */
#include <string.h>

#include "merge/recipe.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err refuse(const struct ww_ynode *node, struct ww_error *err,
                          const char *text, const char *why)
{
    return WW_FAIL(err, WW_E_RECIPE, "line %zu: model '%s' %s", ww_yline(node), text,
                   why);
}

/* Cut "a@b" in two; *after is NULL without a mark. False for two marks or an empty part.
 */
static bool cut(const char *text, char mark, char **before, char **after, bool *oom)
{
    const char *at = strchr(text, mark);

    *before = NULL;
    *after = NULL;
    if (at && (strchr(at + 1, mark) || at == text || at[1] == '\0')) {
        return false;
    }
    *before = at ? ww_strndup(text, (size_t)(at - text)) : ww_strdup(text);
    *after = at ? ww_strdup(at + 1) : NULL;
    *oom = !*before || (at && !*after);
    return true;
}

static enum ww_err read_text(const struct ww_ynode *node, const char *text,
                             struct ww_recipe_model *out, struct ww_error *err)
{
    char *model = NULL;
    char *adapter = NULL;
    bool oom = false;
    enum ww_err rc = WW_OK;

    if (text[0] == '\0') {
        return refuse(node, err, text, "has no name");
    }
    if (!cut(text, '+', &model, &adapter, &oom) ||
        (!oom && !cut(model, '@', &out->path, &out->revision, &oom)) ||
        (!oom && adapter &&
         !cut(adapter, '@', &out->adapter, &out->adapter_revision, &oom))) {
        rc = refuse(node, err, text, "is not PATH[@REVISION][+ADAPTER[@REVISION]]");
    }
    ww_free(model);
    ww_free(adapter);
    return !rc && oom ? WW_FAIL_MEMORY(err, "a recipe") : rc;
}

/* {path: P, revision: R} or text, as the peer writes model and lora. */
static enum ww_err read_path(const struct ww_ynode *node, const char *what, char **out,
                             struct ww_error *err)
{
    static const char *const keys[] = {"path", "revision"};
    const char *path = NULL;
    const char *revision = NULL;
    enum ww_err rc = WW_OK;

    if (ww_ytext(node, &path)) {
        *out = ww_strdup(path);
        return *out ? WW_OK : WW_FAIL_MEMORY(err, "a recipe");
    }
    rc = ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, what, err);
    if (rc) {
        return rc;
    }
    if (!ww_ytext(ww_yget(node, "path"), &path)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: %s has no path", ww_yline(node),
                       what);
    }
    if (ww_yget(node, "revision") && !ww_ytext(ww_yget(node, "revision"), &revision)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: the revision of %s is %s, not text",
                       ww_yline(node), what, ww_ytype_name(ww_yget(node, "revision")));
    }
    *out = ww_asprintf("%s%s%s", path, revision ? "@" : "", revision ? revision : "");
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a recipe");
}

static enum ww_err text_of_map(const struct ww_ynode *node, char **out,
                               struct ww_error *err)
{
    static const char *const keys[] = {"model", "lora", "override_architecture"};
    const struct ww_ynode *lora = ww_yget(node, "lora");
    char *model = NULL;
    char *adapter = NULL;
    enum ww_err rc = ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "a model", err);

    if (!rc && ww_yget(node, "override_architecture")) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "line %zu: override_architecture chooses the names that mergekit looks for, "
            "and here all tensors of the files are merged: leave it away, say "
            "--allow-mixed if the models are of different make",
            ww_yline(node));
    }
    if (!rc) {
        rc = read_path(ww_yget(node, "model"), "a model", &model, err);
    }
    if (!rc && lora) {
        rc = read_path(lora, "a lora", &adapter, err);
    }
    if (!rc) {
        *out = ww_asprintf("%s%s%s", model, adapter ? "+" : "", adapter ? adapter : "");
        rc = *out ? WW_OK : WW_FAIL_MEMORY(err, "a recipe");
    }
    ww_free(model);
    ww_free(adapter);
    return rc;
}

static enum ww_err add(struct ww_recipe *recipe, const struct ww_ynode *node,
                       const char *text, struct ww_error *err)
{
    struct ww_recipe_model *models = ww_realloc_array(
        recipe->models, (size_t)recipe->n_models + 1, sizeof(*recipe->models));
    struct ww_recipe_model *m = NULL;

    if (!models) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    recipe->models = models;
    m = &models[recipe->n_models++];
    *m = (struct ww_recipe_model){.recipe = WW_NONE, .line = ww_yline(node)};
    m->text = ww_strdup(text);
    if (!m->text) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    return read_text(node, text, m, err);
}

enum ww_err ww_recipe_model_of(struct ww_recipe *recipe, const struct ww_ynode *node,
                               uint32_t *out, struct ww_error *err)
{
    char *made = NULL;
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    if (ww_ytype(node) == WW_Y_MAP) {
        rc = text_of_map(node, &made, err);
        text = made;
    } else if (!ww_ytext(node, &text)) {
        rc = WW_FAIL(err, WW_E_RECIPE, "line %zu: a model is a path, not %s",
                     ww_yline(node), ww_ytype_name(node));
    }
    *out = WW_NONE;
    for (uint32_t i = 0; !rc && i < recipe->n_models && *out == WW_NONE; i++) {
        *out = strcmp(recipe->models[i].text, text) == 0 ? i : WW_NONE;
    }
    if (!rc && *out == WW_NONE) {
        *out = recipe->n_models;
        rc = add(recipe, node, text, err);
    }
    ww_free(made);
    return rc;
}
