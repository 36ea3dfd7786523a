/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the inputs of a recipe are what its method takes: bases, numbers of models,
 * statistics beside them. */
#include "merge/recipe.h"

#include <stdio.h>

#include "util/fail.h"

/* Of a pair with a third model as their base one is most often meant to be it. */
static enum ww_err refuse_count(const struct ww_method *method,
                                const struct ww_recipe_slice *slice, uint32_t n,
                                bool third, struct ww_error *err)
{
    const bool exact = method->min_sources == method->max_sources;
    char most[16] = "";

    if (!exact) {
        snprintf(most, sizeof(most), " to %u", method->max_sources);
    }
    return WW_FAIL(
        err, WW_E_RECIPE, "line %zu: method '%s' takes %u%s model%s%s, here are %u%s",
        slice->line, method->name, method->min_sources, most,
        exact && method->max_sources == 1 ? "" : "s",
        method->base == WW_BASE_IGNORED ? "" : " beside the base", n,
        exact && third && n == method->max_sources + 1 ? "; one of them may be base_model"
                                                       : "");
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
        if (n == 0 && method->base_alone) {
            return WW_OK;
        }
    }
    return n < method->min_sources || n > method->max_sources
               ? refuse_count(method, slice, n, base != WW_NONE && !listed, err)
               : WW_OK;
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

enum ww_err ww_recipe_read_statistics(struct ww_recipe *recipe, struct ww_error *err)
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

enum ww_err ww_recipe_check_bases(const struct ww_recipe *recipe, struct ww_error *err)
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

const char *ww_recipe_of_base(const struct ww_recipe *recipe)
{
    const struct ww_recipe_vocab *vocab = &recipe->vocab;
    const bool same_words =
        (vocab->source == WW_VOCAB_DONOR || vocab->source == WW_VOCAB_BASE) &&
        vocab->n_tokens == 0 && vocab->pad_to_multiple_of == 0;
    bool whole = same_words;

    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        whole = whole && !recipe->modules[m].is_sliced;
    }
    return whole ? "the output is the base" : "the output is made of the base alone";
}
