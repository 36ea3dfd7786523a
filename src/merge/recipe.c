/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recipe's outline. Three ways of writing inputs become one; keys are tables, so that a
 * slip is met with the name that was meant.
 */
#include "merge/recipe.h"

#include <stdio.h>
#include <string.h>

#include "merge/recipe_value.h"
#include "model/dtype.h"
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
    enum ww_err rc = ww_yonly(node, keys, sliced ? 4 : 3, WW_E_RECIPE,
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
    if (!rc && sliced) {
        rc = read_range(ww_yget(node, "layer_range"), out, err);
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
    static const char *const keys[] = {"sources", "parameters", "base_model",
                                       "residual_weight"};
    enum ww_err rc = ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "a slice", err);

    *out = (struct ww_recipe_slice){.base = WW_NONE,
                                    .parameters = ww_yget(node, "parameters"),
                                    .line = ww_yline(node)};
    if (!rc && ww_yget(node, "residual_weight")) {
        rc = ww_strlist_add(&recipe->warnings,
                            "residual_weight has no effect, here as in mergekit", err);
    }
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
        rc = ww_yonly(n, keys, WW_LEN(keys), WW_E_RECIPE, "a module", err);
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

static enum ww_err read_body(struct ww_recipe *recipe, struct ww_error *err)
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

static enum ww_err read_method(struct ww_recipe *recipe, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(recipe->root, "merge_method");
    const char *names[128];
    const char *name = NULL;
    const char *nearest = NULL;
    size_t n = 0;
    const struct ww_method *methods = ww_methods(&n);

    if (!ww_ytext(node, &name)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: the recipe has no merge_method",
                       ww_yline(recipe->root));
    }
    recipe->method = ww_method_find(name);
    if (recipe->method) {
        return WW_OK;
    }
    n = n < WW_LEN(names) ? n : WW_LEN(names);
    for (size_t i = 0; i < n; i++) {
        names[i] = methods[i].name;
    }
    nearest = ww_str_nearest(name, names, n);
    return WW_FAIL(err, WW_E_RULE, "line %zu: merge method '%s' is not known%s%s%s",
                   ww_yline(node), name, nearest ? "; is '" : "", nearest ? nearest : "",
                   nearest ? "' meant?" : "");
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

/* The peer appends a base that is no input of whole models, and only there. */
static enum ww_err check_base(const struct ww_recipe *recipe,
                              const struct ww_recipe_slice *slice, bool sliced,
                              struct ww_error *err)
{
    const struct ww_method *method = recipe->method;
    const uint32_t base = ww_recipe_base(recipe, slice);
    uint32_t n = slice->n_inputs;
    bool listed = false;

    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        listed = listed || slice->inputs[i].model == base;
    }
    if (method->base == WW_BASE_REQUIRED && base == WW_NONE) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: method '%s' needs a base_model",
                       ww_yline(recipe->root), method->name);
    }
    if (method->base == WW_BASE_IGNORED) {
        n += base != WW_NONE && !listed && !sliced;
    } else {
        if (sliced && base != WW_NONE && !listed) {
            return WW_FAIL(
                err, WW_E_RECIPE,
                "line %zu: the base '%s' is no input of this slice; list it with "
                "its layer_range",
                slice->line, recipe->models[base].text);
        }
        n -= listed;
    }
    if (n < method->min_sources || n > method->max_sources) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: method '%s' takes %u to %u models%s, here are %u",
                       slice->line, method->name, method->min_sources,
                       method->max_sources,
                       method->base == WW_BASE_IGNORED ? "" : " beside the base", n);
    }
    return WW_OK;
}

/* Methods that import something need it beside every source, others take none. */
static enum ww_err check_statistics(const struct ww_recipe *recipe,
                                    const struct ww_recipe_slice *slice,
                                    struct ww_error *err)
{
    const struct ww_method *method = recipe->method;
    const uint32_t base = ww_recipe_base(recipe, slice);
    bool listed = base == WW_NONE;

    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        const struct ww_recipe_input *in = &slice->inputs[i];
        const bool is_source = method->base == WW_BASE_IGNORED || in->model != base;
        listed = listed || in->model == base;
        if ((in->statistics != WW_NONE) !=
            (is_source && method->stats != WW_STATS_NONE)) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "line %zu: model '%s' %s statistics; method '%s' %s", in->line,
                           recipe->models[in->model].text,
                           in->statistics != WW_NONE ? "has" : "has no", method->name,
                           method->stats == WW_STATS_NONE ? "takes none"
                           : is_source                    ? "needs some beside each model"
                                                          : "takes none of its base");
        }
    }
    if (method->stats != WW_STATS_NONE && method->base == WW_BASE_IGNORED && !listed) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: the base '%s' would be one more model without statistics; "
            "list it with some, or leave base_model away",
            slice->line, recipe->models[base].text);
    }
    if (method->stats != WW_STATS_NONE && recipe->vocab.source != WW_VOCAB_DONOR) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "method '%s' imports statistics in the order of the models' own "
                       "vocabularies; it cannot be combined with another tokenizer",
                       method->name);
    }
    return WW_OK;
}

/* A folder of statistics is no model, unless it is named as one as well. */
static void mark_statistics(struct ww_recipe *recipe, const struct ww_recipe_slice *slice,
                            bool is_statistics)
{
    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        const struct ww_recipe_input *in = &slice->inputs[i];
        const uint32_t at = is_statistics ? in->statistics : in->model;
        if (at != WW_NONE) {
            recipe->models[at].is_statistics = is_statistics;
        }
    }
    if (!is_statistics && ww_recipe_base(recipe, slice) != WW_NONE) {
        recipe->models[ww_recipe_base(recipe, slice)].is_statistics = false;
    }
}

static enum ww_err read_statistics(struct ww_recipe *recipe, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (int round = 0; round < 2; round++) {
        for (uint32_t m = 0; m < recipe->n_modules; m++) {
            for (uint32_t s = 0; s < recipe->modules[m].n_slices && !rc; s++) {
                mark_statistics(recipe, &recipe->modules[m].slices[s], round == 0);
                rc = check_statistics(recipe, &recipe->modules[m].slices[s], err);
            }
        }
    }
    return rc;
}

static enum ww_err check_bases(const struct ww_recipe *recipe, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t m = 0; m < recipe->n_modules && !rc; m++) {
        for (uint32_t s = 0; s < recipe->modules[m].n_slices && !rc; s++) {
            rc = check_base(recipe, &recipe->modules[m].slices[s],
                            recipe->modules[m].is_sliced, err);
        }
    }
    return rc;
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

/* The word's place among those allowed; 0 where there is none. */
static enum ww_err read_word(const struct ww_ynode *adapter, const char *key,
                             const char *const *words, size_t n_words,
                             const char *allowed, size_t *out, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(adapter, key);
    const char *text = "";

    *out = 0;
    if (!node) {
        return WW_OK;
    }
    if (ww_ytext(node, &text)) {
        while (*out < n_words && strcmp(words[*out], text) != 0) {
            ++*out;
        }
    } else {
        *out = n_words;
    }
    return *out < n_words ? WW_OK
                          : WW_FAIL(err, WW_E_RECIPE, "line %zu: %s of an adapter is %s",
                                    ww_yline(node), key, allowed);
}

/* adapter: {combine: sum | factors | whole, sign: total | frequency, rank: N,
 * energy: SHARE} */
static enum ww_err read_adapter(struct ww_recipe *recipe, struct ww_error *err)
{
    static const char *const keys[] = {"combine", "sign", "rank", "energy"};
    const struct ww_ynode *node = ww_yget(recipe->root, "adapter");
    struct ww_recipe_adapter *out = &recipe->adapter;
    const struct ww_ynode *rank = ww_yget(node, "rank");
    const struct ww_ynode *energy = ww_yget(node, "energy");
    static const char *const ways[] = {"sum", "factors", "whole"};
    static const char *const signs[] = {"total", "frequency"};
    size_t way = 0;
    size_t sign = 0;
    int64_t n = 0;
    enum ww_err rc = WW_OK;

    if (!node) {
        return WW_OK;
    }
    out->given = true;
    out->line = ww_yline(node);
    rc = ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "adapter", err);
    if (!rc) {
        rc = read_word(node, "combine", ways, WW_LEN(ways), "'sum', 'factors' or 'whole'",
                       &way, err);
    }
    if (!rc) {
        rc = read_word(node, "sign", signs, WW_LEN(signs), "'total' or 'frequency'",
                       &sign, err);
    }
    if (rc) {
        return rc;
    }
    if (rank && (!ww_yi64(rank, &n) || n < 1 || n > 65536)) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: rank of an adapter is a whole number from 1 to 65536",
                       out->line);
    }
    if (energy &&
        (!ww_ynumber(energy, &out->energy) || !(out->energy > 0) || out->energy > 1)) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: energy of an adapter is a share above 0, at most 1",
                       out->line);
    }
    out->rank = (uint64_t)n;
    out->factors = way == 1;
    out->whole = way == 2;
    out->by_count = sign == 1;
    return WW_OK;
}

static enum ww_err read_recipe(struct ww_recipe *recipe, struct ww_error *err)
{
    static const char *const keys[] = {
        "models",     "slices",    "modules",          "merge_method", "base_model",
        "dtype",      "out_dtype", "tokenizer_source", "tokenizer",    "chat_template",
        "parameters", "name",      "adapter"};
    enum ww_err rc =
        ww_yonly(recipe->root, keys, WW_LEN(keys), WW_E_RECIPE, "the recipe", err);

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
        rc = read_body(recipe, err);
    }
    if (!rc) {
        rc = check_bases(recipe, err);
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
        rc = read_adapter(recipe, err);
    }
    if (!rc) {
        rc = ww_recipe_read_vocab(recipe, err);
    }
    return rc ? rc : read_statistics(recipe, err);
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
