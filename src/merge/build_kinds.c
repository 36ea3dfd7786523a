/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of several kinds, put into other places. A kind is what a layer stores: names
 * and shapes. Programs take the kind of a place from config.json: from lists, which move
 * with the layers, or by its number: the first so many are dense, every fourth attends.
 * A layer in a place of another kind would be read with weights made up for those that
 * it has not, in silence. The rule is not known here; it is found as the shortest that
 * explains the model: so many first layers as they are, then a period.
 */
#include <string.h>

#include "crypto/hash.h"
#include "merge/build.h"
#include "merge/layer_lists.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MOST_PERIOD 16

/* A model's layers. Kinds, and what lists say, are numbers, equal for what is the same.
 */
struct kinds {
    const struct ww_build_model *model;
    uint64_t n; /* 0: not read yet */
    uint64_t *kind;
    uint64_t *said; /* in any model the same */
    uint64_t first; /* so many layers, then */
    uint64_t period;
};

/* Of a tensor: its name in the layer and its shape. */
static uint64_t kind_of(const struct ww_tensor *t, const char *name)
{
    struct {
        uint8_t name[WW_SHA256_BYTES];
        uint64_t rank;
        uint64_t shape[WW_MAX_RANK];
    } all = {.rank = t->rank};
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(name, strlen(name), all.name);
    memcpy(all.shape, t->shape, t->rank * sizeof(*t->shape));
    ww_sha256_of(&all, sizeof(all), digest);
    return ww_get_u64le(digest);
}

/* A layer behind the first of which the rule of a period says the same as of one in place
 * i of which lists say so much; n: none is. */
static uint64_t witness(const struct kinds *k, uint64_t first, uint64_t period,
                        uint64_t said, uint64_t i)
{
    for (uint64_t j = first; j < k->n; j++) {
        if (j % period == i % period && k->said[j] == said) {
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
        const uint64_t j = witness(k, first, period, k->said[first - 1], first - 1);
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

/* Is layer l of the kind that place i asks for, where lists say so much of it? unknown:
 * of a place that none of the model's layers explains. */
static bool fits(const struct kinds *k, uint64_t l, uint64_t said, uint64_t i,
                 bool unknown)
{
    if (i < k->first) {
        return k->kind[l] == k->kind[i] && (unknown || said == k->said[i]);
    }
    const uint64_t j = witness(k, k->first, k->period, said, i);
    return j < k->n ? k->kind[j] == k->kind[l] : unknown;
}

static enum ww_err read_kinds(struct ww_build *build, uint32_t model, struct kinds *k,
                              struct ww_error *err)
{
    const struct ww_model *of = build->models[model].model;

    k->model = &build->models[model];
    k->n = ww_build_count_layers(k->model);
    k->kind = ww_pool_calloc(build->pool, k->n, sizeof(*k->kind));
    k->said = ww_pool_calloc(build->pool, k->n, sizeof(*k->said));
    if (!k->kind || !k->said) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < of->n_tensors; i++) {
        const struct ww_layer_place *place = &k->model->places[i];
        if (place->stack == 0 && place->layer < k->n) {
            k->kind[place->layer] +=
                kind_of(&of->tensors[i], of->tensors[i].name + place->rest);
        }
    }
    if (of->config) {
        ww_layer_lists_say(of->config, k->n, k->said);
    }
    explain(k);
    return WW_OK;
}

/* What the output's lists, which are the donor's, say of a layer. */
static uint64_t said_there(const struct kinds *donor, uint64_t layer)
{
    return donor->said[ww_min_u64(layer, donor->n - 1)];
}

/* Why a layer cannot stand in its place; NULL: it can. */
static const char *why_not(const struct kinds *donor, const struct kinds *k,
                           uint64_t layer, uint64_t place)
{
    const uint32_t embed = k->model->embed;

    if (embed != WW_NONE && k->model->places[embed].stack != WW_NONE &&
        k->model->places[embed].layer == layer) {
        return "holds the embedding, so what is numbered are not layers alone";
    }
    if (layer >= k->n) {
        return "stands behind those that config.json counts";
    }
    if (!fits(k, layer, k->said[layer], place, false)) {
        return "is of another kind than the one that belongs there, which config.json "
               "tells by its number";
    }
    return fits(k, layer, said_there(donor, layer), place, true)
               ? NULL
               : "is of another kind than the lists say in the config.json that the "
                 "output has";
}

static enum ww_err refuse(struct ww_build *build, const struct kinds *k, uint64_t layer,
                          uint64_t place, const char *why, struct ww_error *err)
{
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

/* Where the architecture is known ww_build_stacked sees what the layer makes of it. */
static enum ww_err doubt_lists(struct ww_build *build, const struct kinds *donor,
                               const struct kinds *k, uint64_t layer, uint64_t place,
                               struct ww_error *err)
{
    struct ww_error unknown = {0};
    struct ww_layout *layout = NULL;
    const enum ww_err rc =
        ww_layout_resolve(donor->model->model, NULL, &layout, &unknown);

    ww_layout_free(layout);
    return !rc ? WW_OK
               : ww_build_warn(build, err,
                               "layer %llu of the output, layer %llu of '%.200s', is "
                               "another one by the lists in its config.json than by "
                               "those of '%.200s', which the output has",
                               (unsigned long long)place, (unsigned long long)layer,
                               k->model->text, donor->model->text);
}

enum ww_err ww_build_kinds(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe_module *module = &build->recipe->modules[0];
    struct kinds *kinds =
        ww_pool_calloc(build->pool, build->recipe->n_models, sizeof(*kinds));
    const struct kinds *donor = kinds ? &kinds[build->donor] : NULL;
    uint64_t place = 0;
    bool refused = false;
    bool doubted = false;
    enum ww_err rc = kinds ? read_kinds(build, build->donor, &kinds[build->donor], err)
                           : ww_build_no_memory(err);

    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        const struct ww_recipe_input *in = &module->slices[s].inputs[0];
        struct kinds *k = &kinds[in->model];
        rc = k->n ? WW_OK : read_kinds(build, in->model, k, err);
        for (uint64_t l = in->first_layer; l < in->end_layer && !rc; l++, place++) {
            const char *why = refused ? NULL : why_not(donor, k, l, place);
            if (why) {
                refused = true;
                rc = refuse(build, k, l, place, why, err);
            } else if (!doubted && l < k->n && k->said[l] != said_there(donor, l)) {
                doubted = true;
                rc = doubt_lists(build, donor, k, l, place, err);
            }
        }
    }
    return rc;
}
