/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which module of a model with several towers a tensor belongs to, by its name:
 * mergekit's architecture files list tensors one by one, under these names of modules. A
 * word in the name decides; what has none of the words is the text model of one that
 * sees, and what encoder and decoder share of one that has both.
 */
#include <string.h>

#include "merge/build.h"
#include "util/fail.h"
#include "util/str.h"

#define TEXT "text_decoder"
#define VISION "vision_tower"
#define PROJECTOR "multi_modal_projector"
#define ENCODER "encoder"
#define DECODER "decoder"
#define SHARED "shared"

static const struct {
    const char *word;
    const char *module;
} words[] = {
    {"multi_modal_projector.", PROJECTOR},
    {"visual.merger.", PROJECTOR},
    {"deepstack_merger_list.", PROJECTOR},
    {"mm_projector.", PROJECTOR},
    {"vision_tower.", VISION},
    {"vision_model.", VISION},
    {"visual.", VISION},
};

static const struct {
    const char *word;
    const char *module;
} halves[] = {{"encoder.", ENCODER}, {"decoder.", DECODER}};

static const char *const known[] = {TEXT, VISION, PROJECTOR, ENCODER, DECODER, SHARED};

/* The word begins the name, or follows a dot. */
static bool has_word(const char *name, const char *word)
{
    const char *at = strstr(name, word);

    while (at && at != name && at[-1] != '.') {
        at = strstr(at + 1, word);
    }
    return at != NULL;
}

static const char *tower_of(const char *name)
{
    for (size_t i = 0; i < WW_LEN(words); i++) {
        if (has_word(name, words[i].word)) {
            return words[i].module;
        }
    }
    return NULL;
}

static const char *half_of(const char *name)
{
    for (size_t i = 0; i < WW_LEN(halves); i++) {
        if (has_word(name, halves[i].word)) {
            return halves[i].module;
        }
    }
    return NULL;
}

static bool sees(const struct ww_model *model)
{
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        if (tower_of(model->tensors[t].name)) {
            return true;
        }
    }
    return false;
}

/* Llama 4's files call the tower by another name. */
static bool is_named(const struct ww_recipe_module *module, const char *name)
{
    return strcmp(module->name, name) == 0 ||
           (strcmp(name, VISION) == 0 && strcmp(module->name, "vision_model") == 0);
}

static enum ww_err check_names(const struct ww_recipe *recipe, struct ww_error *err)
{
    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        const struct ww_recipe_module *module = &recipe->modules[m];
        bool fits = false;
        for (size_t k = 0; k < WW_LEN(known); k++) {
            fits = fits || is_named(module, known[k]);
        }
        if (!fits) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "line %zu: module '%.100s' is not known; modules are " TEXT
                           ", " VISION " and " PROJECTOR ", or " ENCODER ", " DECODER
                           " and " SHARED ", or default",
                           module->slices[0].line, module->name);
        }
        if (module->is_sliced) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "line %zu: module '%.100s' has slices; of a model with several "
                "modules they are not cut, give models",
                module->slices[0].line, module->name);
        }
    }
    return WW_OK;
}

static bool has_modules(const struct ww_recipe *recipe)
{
    return recipe->n_modules > 1 ||
           (recipe->modules[0].name && strcmp(recipe->modules[0].name, "default") != 0);
}

uint32_t ww_build_module_of(const struct ww_build *build, const char *name)
{
    const struct ww_recipe *recipe = build->recipe;
    const char *module = NULL;

    if (!has_modules(recipe)) {
        return 0;
    }
    module = build->sees ? tower_of(name) : half_of(name);
    module = module ? module : build->sees ? TEXT : SHARED;
    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        if (is_named(&recipe->modules[m], module)) {
            return m;
        }
    }
    return WW_NONE;
}

/* Place in the list of mergers that take features of deeper layers. */
static bool merger_of(const char *name, uint64_t *index)
{
    static const char list[] = "deepstack_merger_list.";
    const char *at = has_word(name, list) ? strstr(name, list) + strlen(list) : NULL;
    const char *dot = at ? strchr(at, '.') : NULL;

    return dot && ww_parse_u64(at, (size_t)(dot - at), index);
}

bool ww_build_projector_t(const struct ww_build *build, const char *name, double *t)
{
    const struct ww_model *donor = build->models[build->donor].model;
    uint64_t index = 0;
    uint64_t last = 0;

    /* Of Qwen2-VL mergekit counts two layers that both have all of these; the last stays.
     */
    if (has_word(name, "merger.mlp.")) {
        *t = 1;
        return true;
    }
    if (!merger_of(name, &index)) {
        return false;
    }
    for (uint32_t i = 0; i < donor->n_tensors; i++) {
        uint64_t other = 0;
        last = merger_of(donor->tensors[i].name, &other) && other > last ? other : last;
    }
    *t = last > 0 ? (double)index / (double)last : 1;
    return true;
}

enum ww_err ww_build_modules(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    const struct ww_build_model *donor = &build->models[build->donor];
    enum ww_err rc = WW_OK;

    if (!has_modules(recipe)) {
        return WW_OK;
    }
    build->sees = sees(donor->model);
    rc = check_names(recipe, err);
    for (uint32_t m = 0; m < recipe->n_modules && !rc; m++) {
        bool used = false;
        for (uint32_t t = 0; t < donor->model->n_tensors && !used; t++) {
            used = ww_build_module_of(build, donor->model->tensors[t].name) == m;
        }
        if (!used) {
            rc = WW_FAIL(
                err, WW_E_RECIPE, "line %zu: no tensor of '%s' is in module '%.100s'",
                recipe->modules[m].slices[0].line, donor->text, recipe->modules[m].name);
        }
    }
    for (uint32_t t = 0; t < donor->model->n_tensors && !rc; t++) {
        const char *name = donor->model->tensors[t].name;
        if (ww_build_module_of(build, name) == WW_NONE) {
            const char *in = build->sees ? tower_of(name) : half_of(name);
            rc = WW_FAIL(
                err, WW_E_RECIPE,
                "tensor '%.160s' of '%s' is in module '%s', which the recipe does "
                "not have; the merge would lack it",
                name, donor->text,
                in            ? in
                : build->sees ? TEXT
                              : SHARED);
        }
    }
    return rc;
}
