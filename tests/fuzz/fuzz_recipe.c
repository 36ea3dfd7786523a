/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe that is accepted has resolved everything: indices in range, ranges not empty,
 * and each parameter gives a number inside its bounds or none at all. */
#include "fuzz.h"

#include <string.h>

#include "merge/recipe_value.h"

static void check_parameters(const struct ww_recipe *r, const struct ww_ynode *parameters)
{
    for (size_t p = 0; p < r->method->n_params; p++) {
        const struct ww_method_param *param = &r->method->params[p];
        struct ww_error err = {0};
        double v = 0;
        bool found = false;
        const struct ww_recipe_place at = {&parameters, 1, "model.layers.0.mlp", 0.3};
        enum ww_err rc = ww_recipe_value(param, &at, &v, &found, &err);
        FUZZ_CHECK(rc == WW_OK || param->kind == WW_PARAM_INT);
        FUZZ_CHECK(rc || !found || (v >= param->min && v <= param->max));
    }
}

static void check_recipe(const struct ww_recipe *r)
{
    FUZZ_CHECK(r->method && r->n_models > 0 && r->n_modules > 0);
    FUZZ_CHECK(r->base == WW_NONE || r->base < r->n_models);
    check_parameters(r, r->parameters);
    for (uint32_t m = 0; m < r->n_modules; m++) {
        FUZZ_CHECK(r->modules[m].n_slices > 0);
        check_parameters(r, r->modules[m].parameters);
        for (uint32_t s = 0; s < r->modules[m].n_slices; s++) {
            const struct ww_recipe_slice *slice = &r->modules[m].slices[s];
            FUZZ_CHECK(slice->n_inputs > 0);
            check_parameters(r, slice->parameters);
            for (uint32_t i = 0; i < slice->n_inputs; i++) {
                const struct ww_recipe_input *in = &slice->inputs[i];
                FUZZ_CHECK(in->model < r->n_models);
                FUZZ_CHECK(in->has_range == r->modules[m].is_sliced);
                FUZZ_CHECK(!in->has_range || in->first_layer < in->end_layer);
                check_parameters(r, in->parameters);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_recipe_file file;
    enum ww_err rc = WW_OK;
    if (size > 1u << 16) {
        return 0;
    }
    rc = ww_recipe_parse(data, size, "input", &file, &err);
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc == WW_OK) {
        FUZZ_CHECK(file.n_recipes > 0 && file.last < file.n_recipes);
        for (uint32_t i = 0; i < file.n_recipes; i++) {
            FUZZ_CHECK(file.order[i] < file.n_recipes);
            check_recipe(&file.recipes[i]);
        }
    }
    ww_recipe_release(&file);
    return 0;
}
