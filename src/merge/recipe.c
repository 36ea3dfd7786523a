/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recipe's outline: keys, method, dtypes, and the parts that other files read
 * (recipe_inputs.c, recipe_adapter.c, recipe_vocab.c). Keys are tables, so that a slip is
 * met with the name that was meant.
 */
#include "merge/recipe.h"

#include <stdio.h>
#include <string.h>

#include "merge/recipe_value.h"
#include "model/dtype.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Methods that begin with the name, as dare_linear and dare_ties do with dare, or the one
 * that is nearest to it; what to read when there is none. */
static void say_meant(const char *given, char *text, size_t size)
{
    const char *names[128];
    char name[64];
    const char *nearest = NULL;
    size_t n = 0;
    size_t at = 0;
    const struct ww_method *methods = ww_methods(&n);

    n = n < WW_LEN(names) ? n : WW_LEN(names);
    snprintf(name, sizeof(name), "%s", given);
    for (size_t i = 0; name[i]; i++) {
        name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = methods[i].name;
        if (name[0] && ww_str_starts(names[i], name) && at < size) {
            at += (size_t)snprintf(text + at, size - at, "%s '%s'", at ? " or" : "; is",
                                   names[i]);
        }
    }
    nearest = at ? NULL : ww_str_nearest(name, names, n);
    if (nearest) {
        at = (size_t)snprintf(text, size, "; is '%s'", nearest);
    }
    snprintf(text + (at < size ? at : size - 1), size - (at < size ? at : size - 1), "%s",
             at ? " meant?" : "; weightward-merge(1) lists those that are");
}

static enum ww_err read_method(struct ww_recipe *recipe, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(recipe->root, "merge_method");
    const char *name = NULL;
    char meant[200];

    if (!ww_ytext(node, &name)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: the recipe has no merge_method",
                       ww_yline(recipe->root));
    }
    if (recipe->method) {
        return WW_OK;
    }
    say_meant(name, meant, sizeof(meant));
    return WW_FAIL(err, WW_E_RULE, "line %zu: merge method '%s' is not known%s",
                   ww_yline(node), name, meant);
}

static enum ww_err read_dtype(const struct ww_recipe *recipe, const char *key, bool *has,
                              enum ww_dtype *out, struct ww_error *err)
{
    static const struct {
        const char *name;
        enum ww_dtype dtype;
    } known[] = {{"bfloat16", WW_DTYPE_BF16},
                 {"float16", WW_DTYPE_F16},
                 {"float32", WW_DTYPE_F32},
                 {"float64", WW_DTYPE_F64}};
    const struct ww_ynode *node = ww_yget(recipe->root, key);
    const char *text = "";

    *has = node != NULL;
    if (!node) {
        return WW_OK;
    }
    (void)ww_ytext(node, &text);
    text += ww_str_starts(text, "torch.") ? strlen("torch.") : 0;
    for (size_t i = 0; i < WW_LEN(known); i++) {
        if (strcmp(text, known[i].name) == 0) {
            *out = known[i].dtype;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_RECIPE,
                   "line %zu: %s '%s' is none of bfloat16, float16, float32, float64",
                   ww_yline(node), key, text);
}

static enum ww_err read_text(const struct ww_recipe *recipe, const char *key,
                             const char **out, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(recipe->root, key);

    if (node && !ww_ytext(node, out)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: %s is %s, text is expected",
                       ww_yline(node), key, ww_ytype_name(node));
    }
    return WW_OK;
}

static enum ww_err read_recipe(struct ww_recipe *recipe, struct ww_error *err)
{
    static const char *const keys[] = {
        "models",     "slices",    "modules",          "merge_method", "base_model",
        "dtype",      "out_dtype", "tokenizer_source", "tokenizer",    "chat_template",
        "parameters", "name",      "adapter"};
    const char *method = "";
    enum ww_err rc = WW_OK;

    (void)ww_ytext(ww_yget(recipe->root, "merge_method"), &method);
    recipe->method = ww_method_find(method);
    rc = ww_recipe_only(recipe, recipe->root, keys, WW_LEN(keys), "the recipe", err);
    recipe->base = WW_NONE;
    recipe->parameters = ww_yget(recipe->root, "parameters");
    if (!rc) {
        rc = read_text(recipe, "name", &recipe->name, err);
    }
    if (!rc) {
        rc = read_method(recipe, err);
    }
    if (!rc) {
        rc = ww_recipe_check_parameters(recipe, recipe->parameters, "the recipe", err);
    }
    if (!rc) {
        rc = ww_recipe_read_inputs(recipe, err);
    }
    if (!rc) {
        rc = ww_recipe_check_bases(recipe, err);
    }
    if (!rc) {
        rc = read_dtype(recipe, "dtype", &recipe->has_dtype, &recipe->dtype, err);
    }
    if (!rc) {
        rc = read_dtype(recipe, "out_dtype", &recipe->has_out_dtype, &recipe->out_dtype,
                        err);
    }
    if (!rc) {
        rc = read_text(recipe, "chat_template", &recipe->chat_template, err);
    }
    if (!rc) {
        rc = ww_recipe_read_adapter(recipe, err);
    }
    if (!rc) {
        rc = ww_recipe_read_vocab(recipe, err);
    }
    return rc ? rc : ww_recipe_read_statistics(recipe, err);
}

uint32_t ww_recipe_base(const struct ww_recipe *recipe,
                        const struct ww_recipe_slice *slice)
{
    return slice->base != WW_NONE ? slice->base : recipe->base;
}

enum ww_err ww_recipe_parse(const uint8_t *text, size_t len, const char *name,
                            struct ww_recipe_file *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    size_t n = 0;

    *out = (struct ww_recipe_file){.label = ww_asprintf("recipe '%s'", name)};
    if (!out->label) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    rc = ww_yaml_parse(text, len, out->label, &ww_yaml_limits_recipe, &out->yaml, err);
    n = ww_yaml_count(out->yaml);
    if (!rc && n == 0) {
        rc = WW_FAIL(err, WW_E_RECIPE, "%s is empty", out->label);
    }
    if (!rc) {
        out->recipes = ww_calloc(n, sizeof(*out->recipes));
        rc = out->recipes ? WW_OK : WW_FAIL_MEMORY(err, "a recipe");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        out->recipes[i].root = ww_yaml_root(out->yaml, i);
        out->n_recipes++;
        rc = read_recipe(&out->recipes[i], err);
        if (rc) {
            ww_error_context(err, "%s", out->label);
        }
    }
    if (!rc) {
        rc = ww_recipe_graph(out, err);
    }
    if (rc) {
        ww_recipe_release(out);
    }
    return rc;
}

static void release_recipe(struct ww_recipe *recipe)
{
    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        for (uint32_t s = 0; s < recipe->modules[m].n_slices; s++) {
            ww_free(recipe->modules[m].slices[s].inputs);
        }
        ww_free(recipe->modules[m].slices);
    }
    ww_free(recipe->modules);
    for (uint32_t i = 0; i < recipe->n_models; i++) {
        ww_free(recipe->models[i].text);
        ww_free(recipe->models[i].path);
        ww_free(recipe->models[i].revision);
        ww_free(recipe->models[i].adapter);
        ww_free(recipe->models[i].adapter_revision);
    }
    ww_free(recipe->models);
    ww_free(recipe->vocab.tokens);
    ww_strlist_release(&recipe->warnings);
}

void ww_recipe_release(struct ww_recipe_file *file)
{
    for (uint32_t i = 0; i < file->n_recipes; i++) {
        release_recipe(&file->recipes[i]);
    }
    ww_free(file->recipes);
    ww_free(file->order);
    ww_free(file->label);
    ww_yaml_free(file->yaml);
    memset(file, 0, sizeof(*file));
}
