/* SPDX-License-Identifier: Apache-2.0 */
/* Plans over three small models of zeros, m0 to m2. */
#ifndef PLAN_FIXTURE_H
#define PLAN_FIXTURE_H

#include "ww_model_fixture.h"

#include "merge/build.h"
#include "util/fail.h"

#define CONFIG                                                                           \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"plain\","                \
    "\"num_hidden_layers\":%d,\"vocab_size\":10,\"rope_theta\":10000.0,"                 \
    "\"layer_types\":[\"a\",\"b\",\"c\"],\"tie_word_embeddings\":%s}"

struct pm {
    struct ww_fx *model[3];
    char config[3][400];
    struct ww_recipe_file file;
    struct ww_strlist warnings;
    struct ww_merge_plan plan;
    struct ww_merge_options options;
    struct ww_error err;
};

static inline struct pm *pm_new(void)
{
    struct pm *pm = calloc(1, sizeof(*pm));
    assert_non_null(pm);
    for (int m = 0; m < 3; m++) {
        snprintf(pm->config[m], sizeof(pm->config[m]), CONFIG, 3, "false");
        pm->model[m] = ww_fx_new(pm->config[m]);
        ww_fx_add(pm->model[m], "10,4", "model.embed_tokens.weight");
        ww_fx_add(pm->model[m], "4", "model.norm.weight");
        ww_fx_add(pm->model[m], "10,4", "lm_head.weight");
        for (unsigned l = 0; l < 3; l++) {
            ww_fx_add(pm->model[m], "4,4", "model.layers.%u.mlp.weight", l);
            ww_fx_add(pm->model[m], "4", "model.layers.%u.norm.weight", l);
        }
    }
    return pm;
}

static inline enum ww_err pm_make(struct pm *pm, const char *recipe)
{
    const char *paths[3] = {NULL};
    for (int m = 0; m < 3; m++) {
        if (!pm->model[m]->model) {
            ww_fx_open(pm->model[m]);
        }
    }
    ww_error_clear(&pm->err);
    enum ww_err rc = ww_recipe_parse((const uint8_t *)recipe, strlen(recipe), "t",
                                     &pm->file, &pm->err);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < pm->file.recipes[0].n_models; i++) {
        const char *name = pm->file.recipes[0].models[i].path;
        paths[i] = pm->model[name[1] - '0']->path; /* m0, m1, m2 */
    }
    const struct ww_recipe_use use = {.recipe = &pm->file.recipes[0],
                                      .text = recipe,
                                      .len = strlen(recipe),
                                      .paths = paths};
    return ww_merge_plan_make(&use, &pm->options, &pm->warnings, &pm->plan, &pm->err);
}

static inline void pm_free(struct pm *pm)
{
    ww_merge_plan_release(&pm->plan);
    ww_recipe_release(&pm->file);
    ww_strlist_release(&pm->warnings);
    for (int m = 0; m < 3; m++) {
        ww_fx_free(pm->model[m]);
    }
    free(pm);
}

#define PM_OK(recipe)                                                                    \
    do {                                                                                 \
        if (pm_make(pm, recipe)) {                                                       \
            fail_msg("%s", pm->err.text);                                                \
        }                                                                                \
    } while (0)
#define PM_FAILS(recipe, code, part)                                                     \
    do {                                                                                 \
        assert_int_equal(pm_make(pm, recipe), code);                                     \
        if (!strstr(pm->err.text, part)) {                                               \
            fail_msg("'%s' does not say '%s'", pm->err.text, part);                      \
        }                                                                                \
    } while (0)

static inline const struct ww_merge_tensor *find(const struct pm *pm, const char *name)
{
    for (uint32_t i = 0; i < pm->plan.n_tensors; i++) {
        if (strcmp(pm->plan.tensors[i].name, name) == 0) {
            return &pm->plan.tensors[i];
        }
    }
    return NULL;
}

static inline const struct ww_merge_file *find_file(const struct pm *pm, const char *name)
{
    for (uint32_t i = 0; i < pm->plan.n_files; i++) {
        if (strcmp(pm->plan.files[i].name, name) == 0) {
            return &pm->plan.files[i];
        }
    }
    return NULL;
}

static inline bool file_has(const struct pm *pm, const char *name, const char *part)
{
    const struct ww_merge_file *f = find_file(pm, name);
    return f && memmem(f->header, f->header_bytes, part, strlen(part)) != NULL;
}

static inline bool warned(const struct pm *pm, const char *part)
{
    for (size_t i = 0; i < pm->warnings.n; i++) {
        if (strstr(pm->warnings.items[i], part)) {
            return true;
        }
    }
    return false;
}

#define LINEAR                                                                           \
    "merge_method: linear\nmodels:\n- {model: m0, parameters: {weight: 1}}\n"            \
    "- {model: m1, parameters: {weight: [0, 1]}}\n"

#endif
