/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what a recipe names, and refusing what does not go together. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/lacks.h"
#include "merge/build.h"
#include "merge/hub_cache.h"
#include "model/config.h"
#include "model/decoded.h"
#include "model/packed.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_build_no_memory(struct ww_error *err)
{
    return WW_FAIL_MEMORY(err, "a merge plan");
}

enum ww_err ww_build_warn(struct ww_build *build, struct ww_error *err, const char *fmt,
                          ...)
{
    char text[600];
    char line[600];
    va_list args;

    if (!build->warnings) {
        return WW_OK;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ww_one_line(line, sizeof(line), text); /* names of others may be cut, too */
    return ww_strlist_has(build->warnings, line)
               ? WW_OK
               : ww_strlist_add(build->warnings, line, err);
}

/* A model has not got what its architecture has: an error, or with --allow-mixed told. */
static enum ww_err lacks(struct ww_build *build, const struct ww_build_model *m,
                         const char *what, struct ww_error *err)
{
    return build->options->allow_mixed
               ? ww_build_warn(build, err, "model '%s': %s", m->text, what)
               : WW_FAIL(err, WW_E_TENSOR,
                         "model '%s': %s (to merge without it say --allow-mixed)",
                         m->text, what);
}

/* How many layers config.json says that the model's only stack has: a decoder that was
 * saved alone may have another number than the encoder, whose the general word is. */
static enum ww_err count_of_config(const struct ww_config *config, const char *prefix,
                                   bool *present, uint64_t *layers)
{
    enum ww_err rc = WW_OK;

    *present = false;
    if (strstr(prefix, "decoder.")) {
        rc = ww_config_fact(config->text, WW_FACT_DECODER_LAYERS, present, layers, NULL);
    }
    return rc || *present
               ? rc
               : ww_config_fact(config->text, WW_FACT_LAYERS, present, layers, NULL);
}

uint64_t ww_build_count_layers(const struct ww_build_model *m)
{
    const struct ww_config *config = m->model->config;
    const struct ww_layer_stack *stack = &m->stacks[0];
    uint64_t counted = 0;
    bool present = false;
    const enum ww_err rc =
        config ? count_of_config(config, stack->prefix, &present, &counted) : WW_OK;

    return !rc && present && counted > 0 && counted < stack->n_layers ? counted
                                                                      : stack->n_layers;
}

/* Names are merged whatever the architecture is, so what all models lack, or the only
 * one, would be missed by nobody before the result is loaded. */
static enum ww_err check_whole(struct ww_build *build, const struct ww_build_model *m,
                               struct ww_error *err)
{
    const struct ww_config *config = m->model->config;
    struct ww_error found = {0};
    bool present = false;
    uint64_t layers = 0;
    char text[400];
    bool part = false;
    enum ww_err rc = config ? ww_layout_lacks(m->model, &part, &found) : WW_OK;

    if (rc == WW_E_NOMEM) {
        return ww_build_no_memory(err);
    }
    if (rc && part) { /* an encoder that was saved alone is whole */
        return ww_build_warn(build, err, "model '%s': %s", m->text, found.text);
    }
    if (rc) {
        return lacks(build, m, found.text, err);
    }
    if (config && m->n_stacks == 1) {
        rc = count_of_config(config, m->stacks[0].prefix, &present, &layers);
    }
    if (rc || !present || layers <= m->stacks[0].n_layers) {
        return WW_OK;
    }
    snprintf(text, sizeof(text),
             "the weights hold %llu layers ('%.200s'), config.json says %llu; is a shard "
             "missing?",
             (unsigned long long)m->stacks[0].n_layers, m->stacks[0].prefix,
             (unsigned long long)layers);
    return lacks(build, m, text, err);
}

static bool is_matrix(const struct ww_tensor *t)
{
    return t->rank == 2;
}

static enum ww_err check_floats(const struct ww_build *build, struct ww_build_model *m,
                                struct ww_error *err)
{
    uint32_t n = 0;

    if (!build->use->decodes) {
        return ww_model_plain(m->model, m->text, err);
    }
    enum ww_err rc = ww_model_decode(m->model, &n, err);
    return rc ? rc : ww_model_floats(m->model, m->text, err);
}

/* The one of that path, lent; NULL: nobody has it open. */
static struct ww_model *borrow(const struct ww_build *build, uint32_t i, const char *path)
{
    const struct ww_open_models *open = &build->use->open;
    struct ww_plan_impl *impl = build->plan->impl;
    struct ww_model *found = NULL;

    for (uint32_t k = 0; k < open->n && !found; k++) {
        found = strcmp(open->models[k]->path, path) == 0 ? open->models[k] : NULL;
    }
    impl->lent[i] = found != NULL;
    return found;
}

static enum ww_err open_one(struct ww_build *build, uint32_t i, const char *path,
                            struct ww_error *err)
{
    const struct ww_recipe_model *named = &build->recipe->models[i];
    struct ww_build_model *m = &build->models[i];
    enum ww_err rc = WW_OK;

    m->model = borrow(build, i, path);
    rc = m->model ? WW_OK : ww_model_open(path, &m->model, err);
    if (rc) {
        ww_error_context(err, "line %zu: model '%s'", named->line, named->text);
        return rc;
    }
    build->plan->models[i] = m->model;
    build->plan->n_models = i + 1;
    m->text = named->text;
    rc = check_floats(build, m, err);
    if (rc) {
        return rc;
    }
    if (named->revision && named->recipe == WW_NONE &&
        !ww_hub_has(build->options->hub_cache, m->model->path)) {
        rc = ww_build_warn(build, err,
                           "revision '%s' of '%s' is not checked: it is a folder here",
                           named->revision, named->path);
    }
    for (uint32_t f = 0; f < m->model->n_findings && !rc; f++) {
        rc = ww_build_warn(build, err, "model '%s': %s", m->text,
                           m->model->findings[f].text);
    }
    m->embed = ww_find_embedding(m->model, is_matrix);
    m->ties = m->embed != WW_NONE && ww_model_find(m->model, WW_HEAD) == WW_NONE &&
              m->model->config &&
              (m->model->config->tie || !m->model->config->tie_present);
    rc = rc ? rc : ww_build_layers(m, build->pool, err);
    return rc || named->is_statistics || !build->warnings ? rc
                                                          : check_whole(build, m, err);
}

static const char *architecture(const struct ww_build_model *m)
{
    const char *name = NULL;

    if (m->model->config) {
        name = ww_config_architecture(m->model->config, 0);
        name = name ? name : m->model->config->model_type;
    }
    return name ? name : "model of unknown make";
}

static enum ww_err compare_architectures(struct ww_build *build, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
        const struct ww_build_model *m = &build->models[i];
        if (build->recipe->models[i].is_statistics ||
            strcmp(architecture(m), architecture(donor)) == 0) {
            continue;
        }
        if (!build->options->allow_mixed) {
            return WW_FAIL(
                err, WW_E_RECIPE,
                "model '%s' is a %s and '%s' a %s; to merge what they share say "
                "--allow-mixed",
                donor->text, architecture(donor), m->text, architecture(m));
        }
        rc = ww_build_warn(build, err, "model '%s' is a %s and '%s' a %s", donor->text,
                           architecture(donor), m->text, architecture(m));
    }
    return rc;
}

static enum ww_err list_inputs(struct ww_build *build, struct ww_error *err)
{
    struct ww_merge_plan *plan = build->plan;
    uint32_t n = 0;

    for (uint32_t i = 0; i < plan->n_models; i++) {
        n += plan->models[i]->n_files;
        n += build->recipe->models[i].adapter ? 2 : 0; /* ww_build_adapters */
    }
    plan->inputs = ww_pool_calloc(build->pool, n, sizeof(*plan->inputs));
    if (!plan->inputs) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < plan->n_models; i++) {
        const struct ww_model *model = plan->models[i];
        build->models[i].first_input = plan->n_inputs;
        for (uint32_t f = 0; f < model->n_files; f++) {
            const struct ww_weight_file *file = &model->files[f];
            char *name = ww_pool_keep(
                build->pool, ww_asprintf("%s/%s", build->models[i].text, file->name));
            if (!name) {
                return ww_build_no_memory(err);
            }
            plan->inputs[plan->n_inputs++] =
                (struct ww_merge_input){.name = name,
                                        .fd = file->fd,
                                        .size_bytes = file->size_bytes,
                                        .reader = file->reader,
                                        .want_sha256 = !file->reader};
        }
    }
    return WW_OK;
}

enum ww_err ww_build_models(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    struct ww_plan_impl *impl = build->plan->impl;
    enum ww_err rc = WW_OK;

    build->models = ww_pool_calloc(build->pool, recipe->n_models, sizeof(*build->models));
    build->plan->models =
        ww_pool_calloc(build->pool, recipe->n_models, sizeof(*build->plan->models));
    impl->lent = ww_pool_calloc(build->pool, recipe->n_models, sizeof(*impl->lent));
    if (!build->models || !build->plan->models || !impl->lent) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < recipe->n_models && !rc; i++) {
        rc = open_one(build, i, build->use->paths[i], err);
    }
    build->donor = recipe->base != WW_NONE ? recipe->base
                                           : recipe->modules[0].slices[0].inputs[0].model;
    if (!rc) {
        rc = compare_architectures(build, err);
    }
    return rc ? rc : list_inputs(build, err);
}
