/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a recipe that no tensor gets: their filter is part of no name, or a value
 * before them is for every tensor. mergekit passes over them in silence. */
#include <string.h>

#include "merge/build.h"

/* Of the output, or of any model: layers may have other numbers, or stay behind. */
static bool is_in_a_name(const struct ww_build *build, const char *filter)
{
    bool found = strstr(WW_HEAD, filter) != NULL;

    for (size_t k = 0; k < build->n_tensors && !found; k++) {
        found = strstr(build->tensors[k].tensor.name, filter) != NULL;
    }
    for (uint32_t m = 0; m < build->recipe->n_models && !found; m++) {
        const struct ww_model *model = build->models[m].model;
        for (uint32_t t = 0; t < model->n_tensors && !found; t++) {
            found = strstr(model->tensors[t].name, filter) != NULL;
        }
    }
    return found;
}

static enum ww_err doubt_setting(struct ww_build *build, const struct ww_ynode *setting,
                                 struct ww_error *err)
{
    const bool single = ww_ytype(setting) == WW_Y_MAP;
    const struct ww_ynode *value = single ? setting : ww_yfirst(setting);
    bool has_all = false;
    enum ww_err rc = WW_OK;

    for (; value && ww_ytype(value) == WW_Y_MAP && !rc; value = ww_ynext(value)) {
        const char *filter = "*";
        (void)ww_ytext(ww_yget(value, "filter"), &filter);
        if (has_all) {
            return ww_build_warn(build, err,
                                 "line %zu: the value of %s before this one is for every "
                                 "tensor: this one is used nowhere",
                                 ww_yline(value), ww_ykey(setting));
        }
        has_all = strcmp(filter, "*") == 0;
        if (!has_all && !is_in_a_name(build, filter)) {
            rc = ww_build_warn(build, err,
                               "line %zu: '%.100s' is part of no tensor's name: this "
                               "value of %s is used nowhere",
                               ww_yline(value), filter, ww_ykey(setting));
        }
        if (single) {
            break; /* what follows it are other parameters */
        }
    }
    return rc;
}

static enum ww_err doubt_scope(struct ww_build *build, const struct ww_ynode *parameters,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (const struct ww_ynode *p = ww_yfirst(parameters); p && !rc; p = ww_ynext(p)) {
        if (ww_method_param(build->recipe->method, ww_ykey(p)) != WW_NONE) {
            rc = doubt_setting(build, p, err);
        }
    }
    return rc;
}

enum ww_err ww_build_doubt_filters(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    enum ww_err rc =
        build->warnings ? doubt_scope(build, recipe->parameters, err) : WW_OK;

    for (uint32_t m = 0; m < recipe->n_modules && build->warnings && !rc; m++) {
        const struct ww_recipe_module *module = &recipe->modules[m];
        rc = doubt_scope(build, module->parameters, err);
        for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
            const struct ww_recipe_slice *slice = &module->slices[s];
            rc = doubt_scope(build, slice->parameters, err);
            for (uint32_t i = 0; i < slice->n_inputs && !rc; i++) {
                rc = doubt_scope(build, slice->inputs[i].parameters, err);
            }
        }
    }
    return rc;
}
