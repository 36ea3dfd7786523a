/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of several kinds, put into other places. A kind is what a layer stores: names
 * and shapes. Programs take the kind of a place from config.json: from lists, which move
 * with the layers, or by its number: the first so many are dense, every fourth attends.
 * A layer in a place of another kind would be read with weights made up for those that
 * it has not, in silence. The rule is not known here; it is found as the shortest that
 * explains the model: so many first layers as they are, then a period.
 */
#include <stdio.h>
#include <string.h>

#include "merge/build.h"
#include "merge/layer_lists.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_PERIOD 16

/* A model's layers. */
struct kinds {
    const struct ww_build_model *model;
    uint64_t n;
    uint32_t *count; /* per layer, of tensors */
    uint32_t *kind;
    uint32_t *said; /* class of what the lists say */
    uint64_t first; /* so many layers, then */
    uint64_t period;
};

static bool is_in(const struct ww_build_model *m, uint32_t tensor, uint64_t layer)
{
    return m->places[tensor].stack == 0 && m->places[tensor].layer == layer;
}

static bool same_shape(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, sizeof(a->shape)) == 0;
}

static bool same_kind(const struct kinds *k, uint64_t a, uint64_t b)
{
    const struct ww_model *model = k->model->model;
    char name[1024];

    if (k->count[a] != k->count[b]) {
        return false;
    }
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        if (!is_in(k->model, i, a)) {
            continue;
        }
        snprintf(name, sizeof(name), "%s%llu%s", k->model->stacks[0].prefix,
                 (unsigned long long)b,
                 model->tensors[i].name + k->model->places[i].rest);
        const uint32_t t = ww_model_find(model, name);
        if (t == WW_NONE || !same_shape(&model->tensors[i], &model->tensors[t])) {
            return false;
        }
    }
    return true;
}

static bool same_said(const struct kinds *k, uint64_t a, uint64_t b)
{
    const struct ww_config *config = k->model->model->config;
    return !config || ww_layer_lists_agree(config, k->n, a, b);
}

/* Classes are numbered by the first layer that is of them. */
static void classify(const struct kinds *k, uint32_t *classes,
                     bool (*same)(const struct kinds *k, uint64_t a, uint64_t b))
{
    for (uint32_t l = 0; l < k->n; l++) {
        classes[l] = l;
        for (uint32_t r = 0; r < l; r++) {
            if (classes[r] == r && same(k, r, l)) {
                classes[l] = r;
                break;
            }
        }
    }
}

/* A layer behind the first of which the rule of a period says what it says of layer l in
 * place i; n: none is. */
static uint64_t witness(const struct kinds *k, uint64_t first, uint64_t period,
                        uint64_t l, uint64_t i)
{
    for (uint64_t j = first; j < k->n; j++) {
        if (j % period == i % period && k->said[j] == k->said[l]) {
            return j;
        }
    }
    return k->n;
}

/* How many first layers a period leaves out. */
static uint64_t left_out(const struct kinds *k, uint64_t period)
{
    uint64_t first = k->n;

    while (first > 0) {
        const uint64_t j = witness(k, first, period, first - 1, first - 1);
        if (j < k->n && k->kind[j] != k->kind[first - 1]) {
            break;
        }
        first--;
    }
    return first;
}

static void explain(struct kinds *k)
{
    k->first = left_out(k, 1);
    k->period = 1;
    for (uint64_t p = 2; p <= MOST_PERIOD && 2 * p <= k->n; p++) {
        const uint64_t first = left_out(k, p);
        if (k->n - first >= 2 * p && first + p < k->first + k->period) {
            k->first = first;
            k->period = p;
        }
    }
}

/* Is layer l of the kind that place i asks for? */
static bool fits(const struct kinds *k, uint64_t l, uint64_t i)
{
    if (i < k->first) {
        return k->kind[l] == k->kind[i] && k->said[l] == k->said[i];
    }
    const uint64_t j = witness(k, k->first, k->period, l, i);
    return j < k->n && k->kind[j] == k->kind[l];
}

static enum ww_err read_kinds(struct ww_build *build, uint32_t model, struct kinds *k,
                              struct ww_error *err)
{
    k->model = &build->models[model];
    k->n = ww_build_count_layers(k->model);
    k->count = ww_pool_calloc(build->pool, k->n, sizeof(*k->count));
    k->kind = ww_pool_calloc(build->pool, k->n, sizeof(*k->kind));
    k->said = ww_pool_calloc(build->pool, k->n, sizeof(*k->said));
    if (!k->count || !k->kind || !k->said) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < k->model->model->n_tensors; i++) {
        const struct ww_layer_place *place = &k->model->places[i];
        if (place->stack == 0 && place->layer < k->n) {
            k->count[place->layer]++;
        }
    }
    classify(k, k->kind, same_kind);
    classify(k, k->said, same_said);
    explain(k);
    return WW_OK;
}

static enum ww_err refuse(struct ww_build *build, const struct kinds *k, uint64_t layer,
                          uint64_t place, struct ww_error *err)
{
    const char *why = layer >= k->n
                          ? "stands behind those that config.json counts"
                          : "is of another kind than the one that belongs there, which "
                            "config.json tells by its number";

    return build->options->allow_mixed
               ? ww_build_warn(build, err,
                               "layer %llu of the output, layer %llu of '%.200s', %s",
                               (unsigned long long)place, (unsigned long long)layer,
                               k->model->text, why)
               : WW_FAIL(
                     err, WW_E_UNSUPPORTED,
                     "layer %llu of the output, layer %llu of '%.200s', %s: a program "
                     "would make its weights up (to merge it so say --allow-mixed)",
                     (unsigned long long)place, (unsigned long long)layer, k->model->text,
                     why);
}

enum ww_err ww_build_kinds(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe_module *module = &build->recipe->modules[0];
    uint64_t place = 0;
    bool told = false;
    enum ww_err rc = WW_OK;

    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        const struct ww_recipe_input *in = &module->slices[s].inputs[0];
        struct kinds k = {0};
        rc = read_kinds(build, in->model, &k, err);
        for (uint64_t l = in->first_layer; l < in->end_layer && !rc; l++, place++) {
            if (!told && (l >= k.n || !fits(&k, l, place))) {
                told = true;
                rc = refuse(build, &k, l, place, err);
            }
        }
    }
    return rc;
}
